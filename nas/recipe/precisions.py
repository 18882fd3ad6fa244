"""Precisions in a recipe: bits of integers, names of number formats, names of granularities."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from search_spaces.formats import FORMATS, MAXIMUM_BITS, MINIMUM_BITS, Format, format_named
from search_spaces.quant import granularity_named


def _checked(option: Any) -> Any:
    """Bits of integers, the name of a number format, or None for full precision."""
    if option is None or option in ("float", 16, 32):
        return None
    if isinstance(option, str):
        return format_named(option).name
    if not isinstance(option, int) or not MINIMUM_BITS <= option <= MAXIMUM_BITS:
        raise ValueError(
            f"must be {MINIMUM_BITS} to {MAXIMUM_BITS} bits of integers, 'float' for full "
            f"precision, or one of {', '.join(FORMATS)}"
        )
    return option


def precision_of(option: int | str | None) -> int | Format | None:
    """The option of a policy that an option of a recipe stands for."""
    return format_named(option) if isinstance(option, str) else option


def _no_fewer_bits(options: tuple[Any, ...]) -> tuple[Any, ...]:
    """Training relies on the last option of every choice being the largest."""
    made = [precision_of(option) for option in options]
    bits = [math.inf if m is None else m if isinstance(m, int) else m.bits for m in made]
    if not made or bits != sorted(bits) or len(set(made)) < len(made):
        raise ValueError("must hold at least one option, each once, and no fewer bits after more")
    return options


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError("must name at least one, each once")
    return names


Bits = Annotated[int | str | None, BeforeValidator(_checked)]
Precisions = Annotated[tuple[Bits, ...], AfterValidator(_no_fewer_bits)]
GranularityName = Annotated[str, AfterValidator(lambda name: granularity_named(name).name)]
Granularities = Annotated[tuple[GranularityName, ...], AfterValidator(_distinct)]
