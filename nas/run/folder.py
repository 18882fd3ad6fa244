"""The folder of one run: the paths of its files, its recipe, and its lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nas.files.durable import remove, remove_unfinished, write_atomic
from nas.settings.toml_file import RecipeError
from nas.targets.correction.correction import calibration_path
from nas.targets.seams.table import seams_path
from search_spaces.documents import MOST_TOML_BYTES, Source, parse_json, read_text
from search_spaces.space import SearchSpace

# What made the supernet, and what its evaluations mean: a resumed run may change anything else.
_MAKES_SUPERNET = ("seed", "task", "space", "training")
MAKES_EVALUATIONS = ("calibration_samples", "validation_samples")
_MAY_CHANGE = "checkpoint_seconds"  # of training: how often its state is written
_OTHER_FOLDER = "remove the folder, or choose another with --out"


class RunFolderError(ValueError):
    """A run folder that cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of all files that a run writes, and the claim of one process on the folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe, JSON."""
        return self.path / "recipe.json"

    @property
    def space(self) -> Path:
        """The search space, JSON."""
        return self.path / "space.json"

    @property
    def supernet(self) -> Path:
        """The trained supernet, safetensors."""
        return self.path / "supernet.safetensors"

    @property
    def training(self) -> Path:
        """The state of a training in progress, safetensors."""
        return self.path / "training.safetensors"

    @property
    def sources(self) -> Path:
        """What the run read beside its recipe, with digests, JSON."""
        return self.path / "sources.json"

    @property
    def history(self) -> Path:
        """Seconds and losses of the training, JSON."""
        return self.path / "training.json"

    @property
    def table(self) -> Path:
        """The latency table measured on this machine, CSV."""
        return self.path / "this-cpu.csv"

    @property
    def seams(self) -> Path:
        """What the tensors between kernels add to the latencies of the table, CSV."""
        return seams_path(self.table)

    @property
    def calibration(self) -> Path:
        """The calibration of the latency table by whole networks, JSON."""
        return calibration_path(self.table)

    @property
    def probe(self) -> Path:
        """Zero-cost scores of the probed subnets, JSON."""
        return self.path / "probe.json"

    @property
    def archive(self) -> Path:
        """The archive of all evaluations, an Optuna journal.

        In a run with a database, the journal holds only the evaluations from before.
        """
        return self.path / "archive.journal"

    @property
    def unfinished_archive(self) -> Path:
        """The unfinished archive of a run that copies the archive of another run."""
        return self.path / f".{self.archive.name}.part"

    @property
    def transfer(self) -> Path:
        """The evaluations of another space that this run's search learns from, JSON."""
        return self.path / "transfer.json"

    @property
    def results(self) -> Path:
        """The results of the run, JSON."""
        return self.path / "results.json"

    @property
    def report(self) -> Path:
        """The report on the results, HTML."""
        return self.path / "report.html"

    def trained_space(self) -> SearchSpace | None:
        """The space of the supernet in this folder; None if no supernet was trained yet.

        Raises:
            UnreadableFile: The supernet's file holds no space.
        """
        if not (self.supernet.exists() and self.space.exists()):
            return None
        return SearchSpace.read(self.space, remedy="delete it, and it is made from the recipe")

    @property
    def about_trained(self) -> bool:
        """Whether the run is about a network that was trained before, by `recipe.json` alone."""
        if not self.recipe.exists():
            return False
        source = Source(f"the run's recipe {self.recipe}", _OTHER_FOLDER)
        content = parse_json(read_text(self.recipe, source, at_most=MOST_TOML_BYTES), source)
        return isinstance(content, dict) and "model" in content

    def stored_recipe(self) -> dict[str, Any]:
        """The content of `recipe.json`, checked like any recipe.

        Raises:
            UnreadableFile: The file cannot be read, or holds no recipe.
            PartError: The recipe names modules that are not imported, and the folder is not
                trusted.
        """
        # Names of files are of use without all that recipes know: weights, searchers, tasks.
        from nas.recipe.table_recipe import validate_any_recipe

        source = Source(f"the run's recipe {self.recipe}", _OTHER_FOLDER)
        content = parse_json(read_text(self.recipe, source, at_most=MOST_TOML_BYTES), source)
        try:
            recipe = validate_any_recipe(content, source=str(self.recipe))
        except RecipeError as error:
            raise source.error(f"holds no recipe: {' '.join(str(error).split())}") from error
        return recipe.model_dump(mode="json")

    def front(self, target: str) -> Path:
        """The Pareto table of a target, CSV."""
        return self.path / f"front-{target}.csv"

    def exported(self, target: str, suffix: str = ".onnx") -> Path:
        """The file of the subnet chosen for a target, in the form with this `suffix`."""
        return self.path / f"{target}{suffix}"

    @property
    def predict(self) -> Path:
        """The script that asks an exported ONNX file about raw data."""
        return self.path / "predict.py"

    @contextlib.contextmanager
    def open(self, recipe: BaseModel, *, resume: bool) -> Iterator[RunFolder]:
        """A context in which the folder belongs to this process and to `recipe`.

        A folder in which nothing was trained yet belongs to no recipe.

        Raises:
            RunFolderError: The folder holds a run and `resume` is False, holds a run of
                another supernet, is used by another process, or cannot be written.
        """
        content = recipe.model_dump(mode="json")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.require_own()
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise RunFolderError(
                f"cannot write the run folder {self.path}: {error.strerror}; "
                "choose another with --out"
            ) from error
        try:
            self._claim(lock)
            self._check(content, resume=resume)
            self._remove_unfinished()
            write_atomic(self.recipe, json.dumps(content, indent=1).encode())
            yield self
        finally:
            os.close(lock)

    def require_own(self) -> None:
        """Refuse a folder that contains links to the outside or special files.

        Raises:
            RunFolderError: The folder contains a link that leads out of the folder, a pipe, a
                socket or a device.
        """
        if not self.path.exists():
            return
        try:
            held = list(self.path.iterdir())
        except OSError as error:
            raise RunFolderError(
                f"cannot read the run folder {self.path}: {error.strerror}; give a folder that "
                "you may read"
            ) from error
        home = self.path.resolve()
        for found in held:
            if found.is_symlink() and not Path(os.path.realpath(found)).is_relative_to(home):
                raise RunFolderError(
                    f"{found} is a link that leads out of its run folder; put a copy of what it "
                    "leads to in its place, or remove it"
                )
            if found.exists() and not (found.is_file() or found.is_dir()):
                raise RunFolderError(
                    f"{found} is neither a file nor a folder, so no run made it; remove it"
                )

    def _remove_unfinished(self) -> None:
        """Delete the unfinished files of killed writers.

        The last three kinds of files are written only by the process with the lock.
        """
        remove_unfinished(self.path)
        for left in (
            *(f".{path.name}.partial" for path in (self.supernet, self.training)),
            self.unfinished_archive.name,
        ):
            remove(self.path / left)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """A context in which the folder belongs to this process, with any recipe.

        Raises:
            RunFolderError: Another process uses the folder, or the folder cannot be written.
        """
        try:
            file = (self.path / ".lock").open("ab")
        except OSError as error:
            raise RunFolderError(
                f"cannot write the run folder {self.path}: {error.strerror}; copy it to a place "
                "where you may write"
            ) from error
        with file:
            self._claim(file.fileno())
            yield

    @property
    def begun(self) -> bool:
        """Whether the folder holds any result of a recipe's work."""
        made = (self.training, self.supernet, self.probe, self.archive, self.results)
        return any(path.exists() for path in made)

    def _check(self, content: dict[str, Any], *, resume: bool) -> None:
        if not self.begun:
            return
        if not resume:
            raise RunFolderError(
                f"the run folder {self.path} already holds a run; "
                "continue it with --resume or choose another with --out"
            )
        if changed := self.differing(content):
            raise RunFolderError(
                f"the run in {self.path} has another {' and '.join(changed)}, so what it trained "
                f"and measured does not fit this recipe; restore {' and '.join(changed)}, remove "
                "the folder, or choose another with --out"
            )

    def differing(self, content: dict[str, Any]) -> list[str]:
        """The keys by which a recipe would train or measure differently from the run here."""
        before = self._fixed(self.stored_recipe())
        now = self._fixed(content)
        return [key for key in now if before.get(key) != now[key]]

    def _fixed(self, content: dict[str, Any]) -> dict[str, Any]:
        """The parts of a recipe that a resumed run must not change."""
        for kind in ("table", "model"):
            if kind in content:  # what else evaluations depend on, their archive knows
                return {kind: content[kind]}
        fixed: dict[str, Any] = {key: content[key] for key in _MAKES_SUPERNET}
        fixed["training"] = {k: v for k, v in content["training"].items() if k != _MAY_CHANGE}
        if self.archive.exists():
            search = content["search"]
            fixed |= {f"search.{key}": search[key] for key in MAKES_EVALUATIONS}
        return fixed

    def _claim(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFolderError(
                f"another process is running in {self.path}; wait for it, or choose another folder "
                "with --out"
            ) from error
        except OSError as error:
            raise RunFolderError(
                f"cannot lock the run folder {self.path}: {error.strerror}; choose one on a file "
                "system with locks, with --out"
            ) from error
