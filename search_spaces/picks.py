"""Picks as plain values: 8 for a precision of 8 bits, where a space holds a spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.choice import is_open
from search_spaces.formats import Format, Int
from search_spaces.labels import Label, labels
from search_spaces.notebook import html_table
from search_spaces.quant import Granularity, Quant

FULL = "float"


class Picks(dict[str, Label]):
    """The picks of one network: name of an open choice -> the picked option as a plain value."""

    def _repr_html_(self) -> str:
        return html_table("The picks of one network", ("choice", "pick"), self.items())


def plain_options(options: Sequence[Any]) -> list[Label]:
    """A distinct plain value for each option of a choice.

    Numbers and texts stand for themselves. A precision is told by its bits, `float` for full
    precision; by the name of its format and granularity where two options have the same bits. Any
    other spec is told as a text of its differing fields.
    """
    if any(isinstance(option, Quant | Format) for option in options):
        for told in (_bits, _named):
            found = [told(option) for option in options]
            if len(set(found)) == len(found):
                return found
    if all(isinstance(option, Granularity) and not is_open(option) for option in options):
        return [option.name for option in options]
    return labels(options)


def _bits(option: Any) -> Label:
    """The bits of integers, or the name of other formats."""
    held = option.format if isinstance(option, Quant) else option
    if held is None:
        return FULL
    if isinstance(held, Int) and not is_open(held.bits):
        return held.bits
    return held.name if isinstance(held, Format) and not is_open(held) else repr(option)


def _named(option: Any) -> Label:
    """The name of a format, with that of the granularity where it is picked already."""
    held = option.format if isinstance(option, Quant) else option
    if not isinstance(held, Format) or is_open(held):
        return _bits(option)
    if isinstance(option, Quant) and not is_open(option.granularity):
        return f"{held.name}-{option.granularity.name}"
    return held.name
