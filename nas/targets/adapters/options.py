"""Adapters from the command line: by the name of their format, with options as texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nas.targets.adapters.adapter import Adapter
from nas.targets.errors import TargetError


def options(kind: type[Adapter]) -> dict[str, Any]:
    """The options of an adapter: name -> default."""
    given = {field.name: field.default for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    return {name: default for name, default in given.items() if default is not MISSING}


def adapter(
    adapters: Mapping[str, type[Adapter]], name: str, settings: Iterable[str] = ()
) -> Adapter:
    """The adapter of a format, with options.

    Args:
        adapters: Name of a format -> adapter.
        name: The name of the format.
        settings: Options as texts, such as `clock_mhz=200`.

    Raises:
        TargetError: If the format or an option is not known, or its value is wrong; names those
            that are allowed.
    """
    if name not in adapters:
        raise TargetError(f"format {name!r} is not known; there are {', '.join(adapters)}")
    kind, known = adapters[name], options(adapters[name])
    values: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in known:
            there = f"OPTION=VALUE with one of {', '.join(known)}" if known else "no options"
            raise TargetError(f"--set {setting!r}: format {name} takes {there}")
        values[key] = value
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        [first, *_] = error.errors()
        raise TargetError(
            f"option {'.'.join(map(str, first['loc']))} of format {name} = {first['input']!r}: "
            f"{first['msg']}"
        ) from error
