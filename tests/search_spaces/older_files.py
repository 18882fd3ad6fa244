"""Space files as earlier versions wrote them."""

from __future__ import annotations

from typing import Any


def with_bits(value: Any) -> Any:
    """JSON of today in which every `Quant` of integers holds its bits and its symmetry itself."""
    if isinstance(value, list):
        return [with_bits(part) for part in value]
    if not isinstance(value, dict):
        return value
    content = {key: with_bits(part) for key, part in value.items()}
    moved = content.pop("format") if content.get("$spec") == "Quant" else {}
    return {**content, **{key: part for key, part in moved.items() if key != "$spec"}}
