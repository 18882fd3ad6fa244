"""Explanations of faults in a recipe: the key as a user writes it, its value, allowed values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nas.settings.urls import UNSHOWN, shown, without_secrets

_SHOWN = 60
_PLAIN = {
    "tuple_type": "must be a list",
    "dict_type": "must be a section",
    "model_type": "must be a section",
    "model_attributes_type": "must be a section",
    "dataclass_type": "must be a section",
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
Schema = Mapping[str, Any]


def explained(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """One line per fault that pydantic has found.

    Args:
        error: The error of pydantic.
        model: The model that refused the content.
    """
    whole = model.model_json_schema()
    for problem in error.errors():
        steps, section = _place(problem["loc"], whole)
        yield _line(problem, ".".join(steps) or "the recipe", section)


def _line(problem: ErrorDetails, key: str, section: Schema) -> str:
    kind, given = problem["type"], problem["input"]
    if kind in _UNKNOWN:
        return f"{key}: unknown key; {_known(key.rpartition('.')[2], section)}"
    if kind == "missing":
        allowed = section.get("properties", {}).get(key.rpartition(".")[2], {}).get("enum", ())
        return f"{key}: missing; give " + (
            f"one of {', '.join(map(repr, allowed))}" if allowed else "a value"
        )
    if kind.startswith("union_tag"):
        name = section["discriminator"]["propertyName"]
        allowed = ", ".join(map(repr, section["discriminator"]["mapping"]))
        if name in given:
            return f"{key}.{name} = {given[name]!r}: must be one of {allowed}"
        return f"{key}.{name}: missing; give one of {allowed}"
    message = _PLAIN.get(kind, problem["msg"].removeprefix("Value error, "))
    value = without_secrets(repr(given))
    if isinstance(given, str) and "://" in given:
        value = repr(shown(given))
    held = f" = {value}" if len(value) <= _SHOWN and kind != UNSHOWN else ""
    return f"{key}{held}: {message[0].lower()}{message[1:]}"


def _known(name: str, section: Schema) -> str:
    known = list(section.get("properties", ()))
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known here are {', '.join(known)}"


def _place(loc: tuple[int | str, ...], whole: Schema) -> tuple[list[str], Schema]:
    """The steps to a key as a user writes them, and the schema of the section with that key.

    Pydantic adds the kind of a task and the family of a space to the steps; these are removed. If
    the key is such a section itself, the schema is that of the alternatives of the section.
    """
    steps: list[str] = []
    section, here = whole, whole
    for step in loc:
        section = here
        if "discriminator" in here and step in here["discriminator"]["mapping"]:
            here = _resolved({"$ref": here["discriminator"]["mapping"][step]}, whole)
            continue
        steps.append(str(step))
        inner = here.get("items", {}) if isinstance(step, int) else here.get("properties", {})
        here = _resolved(inner if isinstance(step, int) else inner.get(step, {}), whole)
    return steps, here if "discriminator" in here else section


def _resolved(schema: Schema, whole: Schema) -> Schema:
    """The definition to which a schema refers, or the schema itself if it refers to none.

    A section that may be left out refers to its definition among alternatives.
    """
    named = [one for one in (schema, *schema.get("anyOf", ())) if "$ref" in one]
    name = named[0]["$ref"].rpartition("/")[2] if len(named) == 1 else ""
    return whole["$defs"][name] if name else schema
