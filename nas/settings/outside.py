"""Keys of a recipe that refer to things outside its run folder: files, databases, clusters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

OUTSIDE = "leads out of a run folder"  # marks a key that is no path and refers outside anyway


def outside(recipe: BaseModel, *, under: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a recipe that refer to something outside its run folder, with their values.

    These are keys that hold a path and keys that are marked with `OUTSIDE`.

    Args:
        recipe: The recipe, or a section of it.
        under: The beginning of the keys, with a dot at its end.
    """
    for name, field in type(recipe).model_fields.items():
        key, value = f"{under}{name}", getattr(recipe, name)
        if isinstance(value, BaseModel):
            yield from outside(value, under=f"{key}.")
        elif isinstance(value, Path) or (value is not None and OUTSIDE in field.metadata):
            yield key, value
