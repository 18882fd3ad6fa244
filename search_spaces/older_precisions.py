"""Precisions in space files of formats 1 and 2, which knew integers only."""

from __future__ import annotations

from typing import Any

_OF_THE_FORMAT = ("bits", "symmetric")


def with_formats(value: Any) -> Any:
    """The JSON `value` with the bits and the symmetry of each `Quant` moved into an `Int`."""
    if isinstance(value, list):
        return [with_formats(part) for part in value]
    if not isinstance(value, dict):
        return value
    content = {key: with_formats(part) for key, part in value.items()}
    if content.get("$spec") != "Quant":
        return content
    moved = {key: content.pop(key) for key in _OF_THE_FORMAT if key in content}
    return {**content, "format": {"$spec": "Int", **moved}}
