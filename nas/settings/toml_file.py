"""Recipe files: reading, changing single keys, and checking against the allowed keys and values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nas.settings.problems import explained
from nas.settings.urls import without_secrets
from search_spaces.documents import (
    MOST_DEPTH,
    Source,
    UnreadableFile,
    parse_toml,
    read_toml,
    shortened,
)


class RecipeError(ValueError):
    """The error for a recipe that cannot be run.

    Its message names the file, the key, the value and what is allowed.
    """


Whole = TypeVar("Whole", bound=BaseModel)


def named_toml(path: Path, what: str) -> dict[str, Any]:
    """The content of a TOML file, whose key `name` is by default the name of the file.

    Args:
        path: The file.
        what: The kind of the file, for errors.

    Raises:
        UnreadableFile: If the file cannot be read or is no TOML.
    """
    content = read_toml(path, what=what, remedy="docs/formats.md shows one")
    content.setdefault("name", path.stem)
    return content


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The content of a recipe file with overrides applied.

    The key `name` is by default the name of the file.

    Args:
        path: The file.
        overrides: Texts such as `search.budget=400`.

    Raises:
        UnreadableFile: If the file cannot be read or is no TOML.
        RecipeError: If an override cannot be applied.
    """
    content = named_toml(path, "recipe")
    for override in overrides:
        apply_override(content, override)
    return content


def validated(kind: type[Whole], content: Mapping[str, Any], *, source: str) -> Whole:
    """The recipe of a kind with this content.

    Args:
        kind: The class of the recipe.
        content: The content of its file.
        source: The name of the file, for errors.

    Raises:
        RecipeError: If a key or value is not allowed; lists every problem.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {line}" for line in explained(error, kind))
        raise RecipeError(f"{source} cannot be run:\n{problems}") from error


def apply_override(content: dict[str, Any], override: str) -> None:
    """Set a key in the content of a recipe, as a text `KEY=VALUE` says.

    Raises:
        RecipeError: If the text has another form, or the key leads through a plain value.
    """
    key, separator, text = override.partition("=")
    steps = key.strip().split(".")
    if not separator or not all(steps) or len(steps) > MOST_DEPTH:
        raise RecipeError(
            f"--set {without_secrets(shortened(override))} is not KEY=VALUE, for example "
            "search.budget=400"
        )
    value = _value(text, override)
    place: Any = content
    for step in steps[:-1]:
        where = _index(place, step, key)
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[where]
        if not isinstance(place, dict | list):
            held = without_secrets(repr(place))
            raise RecipeError(f"--set {key}: {step!r} holds {held}, which has no parts to set")
    place[_index(place, steps[-1], key)] = value


def _value(text: str, override: str) -> Any:
    """The TOML value of a text, or the text itself if it is no TOML value."""
    try:
        source = Source(f"--set {shortened(override)}", "give another value")
        return parse_toml(f"value = {text}", source)["value"]
    except UnreadableFile as error:
        if isinstance(error.__cause__, tomllib.TOMLDecodeError):
            return text.strip()
        raise


def _index(place: dict[str, Any] | list[Any], step: str, key: str) -> Any:
    """The key of a dictionary or the index of a list that `step` means.

    Raises:
        RecipeError: If the list has no such index.
    """
    if isinstance(place, dict):
        return step
    if not (step.isascii() and step.isdecimal() and int(step) < len(place)):
        raise RecipeError(
            f"--set {key}: {step!r} names none of {len(place)} entries; give a number from 0 to "
            f"{len(place) - 1}, for example targets.0.name=edge-npu"
        )
    return int(step)
