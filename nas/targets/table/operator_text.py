"""The text of an operator in a row of a latency table: `Conv2d(out=16,kernel=3)`.

The text consists of the class and the fields of the operator's canonical form, in the order of
the dataclass. Precisions are left out, since they have columns of their own. Fields with their
default value are left out too, so that a new field with a default changes no row.

A value is a number, `true`, `false`, `null`, `inf`, a word, a text such as `"two words"`, a list
such as `[3,5]` for a tuple, or another spec such as `Window(size=3)`.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import MISSING, Field, fields
from typing import Any

from nas.targets.errors import TargetError
from search_spaces.choice import Spec, is_open
from search_spaces.ops import Op

PRECISIONS = frozenset({"weight", "activation"})
CONSTANTS: dict[str, object] = {
    "null": None,
    "true": True,
    "false": False,
    "inf": math.inf,
    "-inf": -math.inf,
}
WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
LARGEST = 1 << 63
_PLAIN = re.compile(r"[\w .-]", re.ASCII)


def fields_text(spec: Spec) -> str:
    """The text of the fields of a resolved spec, such as `out=16,kernel=3`.

    Raises:
        TargetError: If a field holds something that has no text.
    """
    return _written(spec, tuple([type(getattr(spec, name)) for name in written_fields(type(spec))]))


def operator_text(op: Op) -> str:
    """The text of an operator: its class, and its fields in brackets if there are any to write."""
    held = fields_text(op)
    return f"{type(op).__name__}({held})" if held else type(op).__name__


@functools.cache
def written_fields(kind: type[Spec]) -> dict[str, Field[Any]]:
    """The fields of a class that a row may contain, by name and in the order of the class."""
    hidden = PRECISIONS if issubclass(kind, Op) else frozenset[str]()
    return {f.name: f for f in fields(kind) if f.init and f.name not in hidden}


def default_of(field: Field[Any]) -> object:
    """The default value of a field; `MISSING` for a required field."""
    made = field.default_factory
    return field.default if made is MISSING else made()


@functools.lru_cache(maxsize=1 << 16)
def _written(spec: Spec, types: tuple[type, ...]) -> str:
    """The cached `fields_text` of a spec; `types` keeps specs apart that differ by True and 1."""
    del types
    if is_open(spec):
        raise TargetError(f"{spec} holds a choice that is still open; resolve it first")
    told = spec.canonical() if isinstance(spec, Op) else spec
    parts: list[str] = []
    for name, field in written_fields(type(told)).items():
        value = getattr(told, name)
        if value != default_of(field):
            try:
                parts.append(f"{name}={_text(value)}")
            except ValueError as error:
                raise TargetError(
                    f"{type(told).__name__}.{name} = {value!r} has no text in a latency table: "
                    f"{error}; give it a number, a text, true, false, nothing, or a tuple or a "
                    "spec of these"
                ) from error
    return ",".join(parts)


def _text(value: object) -> str:
    """The text of a value; equal numbers have the same text."""
    if isinstance(value, str):
        return value if WORD.fullmatch(value) and value not in CONSTANTS else _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Spec):
        return f"{type(value).__name__}({fields_text(value)})"
    raise ValueError(f"it is {type(value).__name__}")


def _number(value: float) -> str:
    if math.isnan(value):
        raise ValueError("it is not equal to itself")
    if abs(value) <= LARGEST and value == int(value):
        return str(int(value))
    if isinstance(value, int):
        raise ValueError("a whole number has at most 64 bits")
    return repr(value).replace("e+", "e")


def _quoted(text: str) -> str:
    """A text in quotes; characters with a meaning in CSV, spreadsheets or lists are escaped."""
    return f'"{"".join(c if _PLAIN.fullmatch(c) else _escaped(c) for c in text)}"'


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return re.sub("....", r"\\u\g<0>", units)
