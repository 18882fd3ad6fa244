"""Reading JSON and TOML files of unknown origin safely; every fault is an `UnreadableFile`.

The functions here return nested dictionaries and lists of texts, numbers, booleans and None. These
are at most 64 levels deep. Whole numbers fit 64 bits, floats are finite (unless the caller allows
others), no object has a key twice, and no text has a NUL character or a lone surrogate. A byte
order mark at the beginning of a file is skipped.
"""

from __future__ import annotations

import json
import math
import re
import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

MOST_DEPTH = 64
MOST_BYTES = 1 << 26
MOST_TOML_BYTES = 1 << 20
_WHOLE = 1 << 63
_SHOWN = 60
_LONGEST_PLACE = 120
_OBJECTS = ("model_type", "model_attributes_type", "dataclass_type", "dict_type")
_DIGITS = re.compile(r"\d{400,}")
# tomllib needs time in proportion to the square of a dotted key's length.
_KEY = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_DOTTED = re.compile(rf"(?<![\w-])(?:{_KEY}){{{MOST_DEPTH}}}")
_TOML_PLACE = re.compile(r" \(at (.*)\)$")

Checked = TypeVar("Checked")


class UnreadableFile(ValueError):
    """The error for a file that cannot be used.

    Attributes:
        file: The kind of the file and its path, such as `search space runs/a/space.json`.
        place: The position of the fault, such as `line 3` or `nodes[2].op.out`; empty where the
            whole file is meant.
        fault: What is wrong there.
        remedy: What the user can do.
    """

    def __init__(self, file: str, place: str, fault: str, remedy: str) -> None:
        super().__init__(file, place, fault, remedy)
        self.file, self.place, self.fault, self.remedy = file, place, fault, remedy

    def __str__(self) -> str:
        where = f"{self.file}, {self.place}" if self.place else self.file
        return f"{where}: {self.fault}; {self.remedy}"


@dataclass(frozen=True)
class Source:
    """The origin of a text, for errors.

    Attributes:
        name: The kind of the file and its path.
        remedy: What the user can do where the text cannot be used.
    """

    name: str
    remedy: str

    def error(self, fault: str, *, place: str = "") -> UnreadableFile:
        """The error for a fault at a place of this text."""
        return UnreadableFile(self.name, place, fault, self.remedy)


def read_text(path: Path, source: Source, *, at_most: int) -> str:
    """The UTF-8 text of a regular file, without a byte order mark.

    Raises:
        UnreadableFile: If the file cannot be read, is no regular file, has more than `at_most`
            bytes or is not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise source.error("cannot be read: it is no regular file")
        with path.open("rb") as file:
            content = file.read(at_most + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableFile):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise source.error(f"cannot be read: {reason}") from error
    if len(content) > at_most:
        raise source.error(f"is too large: at most {at_most} bytes are read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise source.error("is not UTF-8 text", place=f"line {line}") from error


def read_json(
    path: Path,
    kind: TypeAdapter[Checked],
    *,
    what: str,
    remedy: str,
    finite: bool = True,
) -> Checked:
    """The content of a JSON file as the type of `kind`.

    Args:
        path: The file.
        kind: The type that the content must have.
        what: The kind of the file, such as `search space`, for errors.
        remedy: What the user can do about an error.
        finite: Whether NaN and infinite numbers are refused.

    Raises:
        UnreadableFile: If the file cannot be read, is no JSON, or does not fit `kind`.
    """
    source = Source(f"{what} {path}", remedy)
    text = read_text(path, source, at_most=MOST_BYTES)
    return checked(parse_json(text, source, finite=finite), kind, source)


def read_toml(path: Path, *, what: str, remedy: str) -> dict[str, Any]:
    """The content of a TOML file.

    Args:
        path: The file.
        what: The kind of the file, such as `recipe`, for errors.
        remedy: What the user can do about an error.

    Raises:
        UnreadableFile: If the file cannot be read or is no TOML.
    """
    source = Source(f"{what} {path}", remedy)
    return parse_toml(read_text(path, source, at_most=MOST_TOML_BYTES), source)


def parse_json(text: str, source: Source, *, finite: bool = True) -> Any:
    """The content of a JSON text; raises `UnreadableFile` with the name of `source`."""
    return _parsed(
        lambda: json.loads(text, object_pairs_hook=_distinct),
        text,
        source,
        language="JSON",
        finite=finite,
    )


def parse_toml(text: str, source: Source) -> dict[str, Any]:
    """The content of a TOML text; raises `UnreadableFile` with the name of `source`."""
    if (deep := _DOTTED.search(text)) is not None:
        raise source.error(_TOO_DEEP, place=_line(text, deep.start()))
    return _parsed(lambda: tomllib.loads(text), text, source, language="TOML")


def checked(content: object, kind: TypeAdapter[Checked], source: Source) -> Checked:
    """The value of type `kind` that `content` stands for.

    Raises:
        UnreadableFile: With the first place in `content` that does not fit.
    """
    try:
        return kind.validate_python(content)
    except ValidationError as error:
        raise source.error(fault_of(error), place=path_of(error.errors()[0]["loc"])) from error


def fault_of(error: ValidationError) -> str:
    """The first fault that pydantic has found, as a part of a sentence, and the number of others.

    For example `must be an object, given 3 (and 1 more)`.
    """
    first = error.errors()[0]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "missing":
        return f"is missing{more}"
    if first["type"] == "extra_forbidden":
        return f"is unknown{more}"
    said = "must be an object" if first["type"] in _OBJECTS else first["msg"]
    said = said.removeprefix("Value error, ").removeprefix("Input should ").removeprefix("must ")
    return f"must {said}, given {shortened(first['input'])}{more}"


def path_of(steps: tuple[int | str, ...]) -> str:
    """The path of keys and positions as text, such as `nodes[2].op.out`."""
    words = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step if step.isprintable() else ascii(step)}"
        for step in steps
    )
    words = words.removeprefix(".")
    return words if len(words) <= _LONGEST_PLACE else f"{words[:_LONGEST_PLACE]}..."


def shortened(value: object) -> str:
    """The `repr` of a value of unknown origin, in ASCII, on one line and of bounded length."""
    plain = isinstance(value, str | int | float | bool | None)
    words = ascii(value) if plain else f"a {type(value).__name__}"
    return words if len(words) <= _SHOWN else words[: _SHOWN - 3] + "..."


_TOO_DEEP = f"is nested more than {MOST_DEPTH} deep"


class _NotPlainError(ValueError):
    """The error for content that JSON or TOML allows and this module does not."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.steps: list[int | str] = []


def _parsed(
    read: Callable[[], Any], text: str, source: Source, *, language: str, finite: bool = True
) -> Any:
    try:
        content = read()
        _require_plain(content, MOST_DEPTH, finite=finite)
    except RecursionError as error:
        raise source.error(_TOO_DEEP) from error
    except _NotPlainError as error:
        raise source.error(str(error), place=path_of(tuple(reversed(error.steps)))) from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise source.error(f"is no {language}: {error.msg}", place=place) from error
    except tomllib.TOMLDecodeError as error:
        fault = _TOML_PLACE.sub("", str(error))
        found = _TOML_PLACE.search(str(error))
        raise source.error(f"is no TOML: {fault}", place=found[1] if found else "") from error
    except ValueError as error:  # Python reads no number of over 4,300 digits
        long = _DIGITS.search(text)
        place = "" if long is None else _line(text, long.start())
        fault = "holds a number that is too long" if long else f"is no {language}: {error}"
        raise source.error(fault, place=place) from error
    return content


def _line(text: str, position: int) -> str:
    return f"line {text.count(chr(10), 0, position) + 1}"


_NOTHING = object()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        left = {**found}
        repeated = next(key for key, _ in pairs if left.pop(key, _NOTHING) is _NOTHING)
        raise _NotPlainError(f"an object has the key {shortened(repeated)} twice")
    return found


def _require_plain(value: object, depth: int, *, finite: bool) -> None:
    """Raise `_NotPlainError` if `value` is too deep, too large or holds an invalid character.

    Args:
        value: A part of what was read.
        depth: How many more levels may lie inside `value`.
        finite: Whether NaN and infinite numbers are refused.
    """
    if isinstance(value, str):
        if "\0" in value or not (value.isascii() or _is_whole_text(value)):
            raise _NotPlainError(f"holds a NUL or half a character: {shortened(value)}")
    elif isinstance(value, int) and not -_WHOLE <= value < _WHOLE:
        raise _NotPlainError("holds a whole number of more than 64 bits")
    elif isinstance(value, float) and finite and not math.isfinite(value):
        raise _NotPlainError(f"holds {value}, where numbers must be finite")
    elif isinstance(value, dict | list):
        _require_plain_parts(value, depth, finite=finite)


def _require_plain_parts(value: dict[str, Any] | list[Any], depth: int, *, finite: bool) -> None:
    if depth == 0:
        raise _NotPlainError(_TOO_DEEP)
    for step, part in value.items() if isinstance(value, dict) else enumerate(value):
        try:
            _require_plain(step, 0, finite=finite)
            _require_plain(part, depth - 1, finite=finite)
        except _NotPlainError as error:
            error.steps.append(step)
            raise


def _is_whole_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
