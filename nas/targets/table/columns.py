"""The columns of a latency table, and the values that cells of each column may have."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from nas.targets.table.old_columns import BITS_COLUMNS, OLD_COLUMNS, OLD_KEY_COLUMNS
from nas.targets.table.rows import KernelKey, Row
from search_spaces.quant import FULL_PRECISION_BITS

KEY_COLUMNS = tuple(f.name for f in fields(KernelKey))
FIGURES = tuple(f.name for f in fields(Row))
COLUMNS = (*KEY_COLUMNS, *FIGURES)
ENERGY = "energy_mj"  # the only optional column
LATENCY = "latency_ms"
# The meaning of an empty cell beside a latency that was given without repetitions.
UNREPEATED: dict[str, float] = {"spread_ms": 0.0, "count": 1}
REQUIRED_COLUMNS = tuple(name for name in COLUMNS if name != ENERGY)
FIELDS = "fields"
_MINIMUM = {"kernel": 1, "stride": 1, "out": 1, "activation_bits": 1, "batch": 1}
_LARGEST_WHOLE = 10**9
_LARGEST_FIGURE = 1e7  # hours or kilojoules for a kernel: a larger figure has the wrong unit
_UNITS = {"ms": "milliseconds", "mj": "millijoules"}
_WRITTEN = r"([A-Za-z_][\w.,:()\[\]=+@\"\\ /-]*)?"
_FORMAT = r"[a-z][a-z0-9]{0,9}"
FORMS = {
    "operator": (re.compile(r"[A-Za-z_]\w*", re.ASCII), "an operator's name"),
    FIELDS: (re.compile(_WRITTEN, re.ASCII), "fields such as 'out=16,kernel=3'"),
    "inputs": (
        re.compile(r"\d{1,9}(x\d{1,9})*(\+\d{1,9}(x\d{1,9})*)*", re.ASCII),
        "shapes such as '16x8x8' or '16x8x8+16x8x8'",
    ),
    "fused": (
        re.compile(_WRITTEN, re.ASCII),
        "operators joined by '+' such as 'Activation(function=relu)+Add@in1'",
    ),
    "weight": (
        re.compile(rf"({_FORMAT}(-per-group-\d{{1,9}}(-[a-z0-9]{{1,9}})?)?)?", re.ASCII),
        "a format such as 'int8', 'float' or 'int4-per-group-32', or empty without a weight",
    ),
    "activation": (re.compile(_FORMAT, re.ASCII), "a format such as 'int8' or 'float'"),
}


def is_old(header: Sequence[str]) -> bool:
    """Whether a table has the older columns `out`, `kernel` and `stride` in place of `fields`."""
    return FIELDS not in header and any(name in OLD_COLUMNS for name in header)


def has_bits(header: Sequence[str]) -> bool:
    """Whether a table has bits of integers in place of the names of formats."""
    return any(name in header for name in BITS_COLUMNS)


def key_columns(header: Sequence[str]) -> tuple[str, ...]:
    """The columns of a key in a table with this header, in the order in which they are written."""
    if is_old(header):
        return OLD_KEY_COLUMNS
    named = {"weight": BITS_COLUMNS[0], "activation": BITS_COLUMNS[1]} if has_bits(header) else {}
    return tuple(named.get(name, name) for name in KEY_COLUMNS)


def header_problems(header: Sequence[str], number: int) -> Iterator[str]:
    """The problems of a header, in words; `number` is its line number."""
    known = [*key_columns(header), *FIGURES]
    missing = [name for name in known if name != ENERGY and name not in header]
    mixed = [name for name in header if FIELDS in header and name in OLD_COLUMNS]
    unknown = [name for name in header if name not in (*known, *mixed)]
    if mixed:
        yield (
            f"line {number}: columns {', '.join(mixed)} beside {FIELDS}, which stands in their "
            "place; a table has the one or the others, so take these columns out"
        )
    if missing:
        yield f"line {number}: columns missing: {', '.join(missing)}"
    if unknown:
        yield (
            f"line {number}: columns not known: {', '.join(map(repr, unknown))}; known are "
            f"{', '.join(known)}"
        )
    if not missing and not unknown and len(set(header)) < len(header):
        yield f"line {number}: columns repeated"


def value(name: str, text: str) -> Any:
    """The value of a cell of the column `name`.

    Raises:
        ValueError: If the column cannot hold such a text; the message says what is allowed.
    """
    if name in FORMS:
        form, meant = FORMS[name]
        if not form.fullmatch(text):
            raise ValueError(f"{name} = {shortened(text)} must be {meant}")
        return text
    if not text and name in UNREPEATED:
        return UNREPEATED[name]
    if (unit := name.rpartition("_")[2]) in _UNITS:
        return None if name == ENERGY and not text else _figure(name, text, unit=_UNITS[unit])
    least = _MINIMUM.get(name, 0)
    most = FULL_PRECISION_BITS if name.endswith("_bits") else _LARGEST_WHOLE
    short = text.isascii() and text.isdecimal() and len(text) <= len(str(_LARGEST_WHOLE))
    if not (short and least <= int(text) <= most):
        raise ValueError(
            f"{name} = {shortened(text)} must be a whole number from {least} to {most}"
        )
    return int(text)


def shortened(text: str) -> str:
    """The text of a cell, shortened for an error message."""
    return repr(text) if len(text) <= 60 else f"{text[:50]!r}... ({len(text)} characters)"


def _figure(name: str, text: str, *, unit: str) -> float:
    try:
        figure = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        figure = math.nan
    if not 0 <= figure <= _LARGEST_FIGURE:
        raise ValueError(
            f"{name} = {shortened(text)} must be a number of {unit} from 0 to {_LARGEST_FIGURE:.0e}"
        )
    return figure
