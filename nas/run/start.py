"""The float weights with which the training of a run starts, from a file that the recipe names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter
from torch import Tensor

from nas.durable import write_atomic
from nas.recipe.recipe import RecipeError
from nas.run.folder import RunFolder, RunFolderError
from search_spaces.documents import read_json
from search_spaces.space import SearchSpace
from supernets.weight_files import read_weights
from supernets.weights import WeightsError


class _Noted(BaseModel):
    """The content of `start.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: str
    sha256: str


_NOTED = TypeAdapter(_Noted)


@dataclass(frozen=True, eq=False)
class Start:
    """The float weights of a file.

    Attributes:
        file: The file.
        sha256: The digest of the file, hexadecimal.
        weights: The largest parameters of the space, by `ADDRESS.NAME`.
    """

    file: Path
    sha256: str
    weights: dict[str, Tensor]

    def note(self, files: RunFolder) -> None:
        """Write file and digest to the run folder, so that a changed file is noticed."""
        content = {"file": str(self.file), "sha256": self.sha256}
        write_atomic(files.start, json.dumps(content).encode())


def start_of(file: Path, space: SearchSpace, files: RunFolder) -> Start:
    """The weights in `file` for the supernet of `space`.

    Raises:
        RecipeError: The file cannot be read, or its tensors are not those of the space.
        RunFolderError: A training in the run folder started from other weights.
    """
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        weights = read_weights(file, space)
    except (OSError, WeightsError) as error:
        raise RecipeError(f"training.start = {str(file)!r}: {error}") from error
    if files.training.exists():
        remedy = "restore it, or remove the run folder to train anew"
        noted = read_json(files.start, _NOTED, what="the record of float weights", remedy=remedy)
        if noted.sha256 != digest:
            raise RunFolderError(
                f"training.start = {str(file)!r} has changed since the training in {files.path} "
                f"started from it (SHA-256 {noted.sha256[:16]}, now {digest[:16]}); restore the "
                "file, or remove the run folder to train anew"
            )
    return Start(file, digest, weights)
