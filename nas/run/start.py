"""The float weights with which the training of a run starts, from a file that the recipe names."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from nas.recipe.recipe import RecipeError
from search_spaces.space import SearchSpace
from supernets.weight_files import read_weights
from supernets.weights import WeightsError


def start_weights(file: Path, space: SearchSpace) -> dict[str, Tensor]:
    """The largest parameters of a space, by `ADDRESS.NAME`, from the file of `training.start`.

    Raises:
        RecipeError: The file cannot be read, or its tensors are not those of the space.
    """
    try:
        return read_weights(file, space)
    except (OSError, WeightsError) as error:
        raise RecipeError(f"training.start = {str(file)!r}: {error}") from error
