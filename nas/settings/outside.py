"""What a recipe names beyond its run folder: files, databases, clusters, downloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

OUTSIDE = "leads out of a run folder"  # marks a key that is no path and still does


def outside(recipe: BaseModel, *, under: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a recipe, dotted, that hold a path or are marked with `OUTSIDE`, and values."""
    for name, field in type(recipe).model_fields.items():
        key, value = f"{under}{name}", getattr(recipe, name)
        if isinstance(value, BaseModel):
            yield from outside(value, under=f"{key}.")
        elif isinstance(value, Path) or (value is not None and OUTSIDE in field.metadata):
            yield key, value
