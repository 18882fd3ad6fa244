"""Recipes that search a table instead of training anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from nas.parts import Parts
from nas.recipe.model_recipe import ModelRecipe, validate_model_recipe
from nas.recipe.names import SearcherName
from nas.recipe.recipe import (
    Recipe,
    RunName,
    Section,
    TargetSection,
    validate_recipe,
    with_modules,
)
from nas.settings.toml_file import read_recipe, validated


class TableSection(Section):
    """Which table."""

    description: str
    data: Path | None = None
    """The folder of the table's files, where they are not beside the description."""


class TableTargetSection(TargetSection):
    """A device of the table to search for, with hard limits on its costs."""

    objective: str | None = None
    """Without it, the device's first cost."""
    measured: tuple[str, ...] = ()
    """Costs that the search learns by evaluations only, beside those of the description."""


class TableSearchSection(Section):
    """Who searches, and how many networks may be looked up."""

    searcher: SearcherName = Parts("searcher").default
    budget: Annotated[int, Field(ge=1)] = 100
    batch: Annotated[int, Field(ge=1)] = 10


class TableRecipe(Section):
    """Everything that a search of a table needs."""

    name: RunName
    python: tuple[str, ...] = ()
    """The user's own modules, imported before anything else of the recipe is read."""
    seed: Annotated[int, Field(ge=0)] = 0
    table: TableSection
    targets: tuple[TableTargetSection, ...] = ()
    search: TableSearchSection = TableSearchSection()


AnyRecipe = Recipe | TableRecipe | ModelRecipe


def load_any_recipe(path: Path, overrides: Sequence[str] = ()) -> AnyRecipe:
    """The recipe in a TOML file: of a supernet, of a table, or of a network of the user's own.

    The latter two have a section `table` or `model`.

    Raises:
        RecipeError: As `load_recipe` does.
    """
    return validate_any_recipe(read_recipe(path, overrides), source=str(path), beside=path.parent)


def validate_any_recipe(
    content: Mapping[str, Any], *, source: str = "recipe", beside: Path | None = None
) -> AnyRecipe:
    """The recipe that `content` holds; the arguments and errors are those of `validate_recipe`."""
    if isinstance(content, Mapping) and "table" in content:
        return validated(TableRecipe, with_modules(content, source, beside), source=source)
    if isinstance(content, Mapping) and "model" in content:
        return validate_model_recipe(content, source=source, beside=beside)
    return validate_recipe(content, source=source, beside=beside)
