"""Types for the options of spaces; the keys of a recipe are checked against them.

A function that makes a space annotates its keyword-only parameters, and these annotations are the
keys of the space in a recipe. Values in Python are not checked: they may be any numbers and tuples
that the functions take.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from search_spaces.formats import FORMATS, MAXIMUM_BITS, MINIMUM_BITS, Format, format_named
from search_spaces.quant import Granularity, granularity_named


def _ascending(options: tuple[Any, ...]) -> tuple[Any, ...]:
    """Training relies on the last option of every choice being the largest."""
    if not options or any(a >= b for a, b in pairwise(options)):
        raise ValueError("must hold at least one option, ascending, each once")
    return options


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("must be odd, so that it has a centre")
    return kernel


def _precision(option: Any) -> int | Format | None:
    """The option of a policy that a recipe gives as bits, by the name of a format, or as float."""
    if option is None or option in ("float", 32):
        return None
    if isinstance(option, Format):
        return option
    if isinstance(option, str):
        return format_named(option)
    if not isinstance(option, int) or not MINIMUM_BITS <= option <= MAXIMUM_BITS:
        raise ValueError(
            f"must be {MINIMUM_BITS} to {MAXIMUM_BITS} bits of integers, 'float' for full "
            f"precision, or one of {', '.join(FORMATS)}; 16 bits are float16 or bfloat16"
        )
    return option


def _written(option: Any) -> Any:
    """The option as a recipe gives it; several where pydantic tries this type of a union first."""
    if isinstance(option, tuple):
        return [*map(_written, option)]
    return option.name if isinstance(option, Format) else option


def _granularity(option: Any) -> Granularity:
    if isinstance(option, Granularity):
        return option
    if not isinstance(option, str):
        raise ValueError("must be the name of a granularity, such as per-channel")
    return granularity_named(option)


def no_fewer_bits(options: tuple[int | Format | None, ...]) -> tuple[int | Format | None, ...]:
    """The options of a precision, checked; a `ValueError` says what they must be.

    Training relies on the last option of every choice being the largest.
    """
    bits = [math.inf if o is None else o if isinstance(o, int) else o.bits for o in options]
    if not options or bits != sorted(bits) or len(set(options)) < len(options):
        raise ValueError("must hold at least one option, each once, and no fewer bits after more")
    return options


def _distinct(options: tuple[Any, ...]) -> tuple[Any, ...]:
    if not options or len(set(options)) < len(options):
        raise ValueError("must hold at least one, each once")
    return options


Ascending = AfterValidator(_ascending)
Distinct = AfterValidator(_distinct)
Size = Annotated[int, Field(ge=1, le=1 << 16)]
Sizes = Annotated[tuple[Size, ...], Ascending]
Kernels = Annotated[tuple[Annotated[Size, AfterValidator(_odd)], ...], Ascending]
Factors = Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Ascending]
Precision = Annotated[
    int | Format | None,
    PlainValidator(_precision),
    PlainSerializer(_written),
]
"""Bits of integers, a number format such as e4m3, or None, "float" or 32: full precision."""
Precisions = Annotated[tuple[Precision, ...], AfterValidator(no_fewer_bits)]
Granularities = Annotated[
    tuple[
        Annotated[
            Granularity, PlainValidator(_granularity), PlainSerializer(lambda option: option.name)
        ],
        ...,
    ],
    Distinct,
]
"""What elements of a tensor share a scale, by the names of granularities."""
