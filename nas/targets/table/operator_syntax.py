"""The syntax of operators in rows of a latency table, independent of operator classes.

fields    = [field "=" value {"," field "=" value}]
operators = [operator {"+" operator}]
operator  = Class ["(" fields ")"] {"@" wire}
value     = number | constant | word | text in quotes | "[" values "]" | Class "(" fields ")"
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nas.targets.table.operator_text import CONSTANTS, WORD
from search_spaces.documents import MOST_DEPTH, shortened

_TOKEN = re.compile(
    r'"(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*"'
    r"|-?(?:inf|[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,3})?)\b"
    r"|[A-Za-z_]\w*|[][(),=+@]",
    re.ASCII,
)
_WIRE = re.compile(r"(in|op)[0-9]{1,4}", re.ASCII)
_WIRE_MEANT = "in0, op0 or the like"
_END = ""


@dataclass(frozen=True)
class Call:
    """The name of a class with field values, as parsed from a text.

    Attributes:
        name: The name of the class.
        fields: The values by field; a spec among the values is a `Call` itself.
        reads: The sources of inputs that do not come from the operator before: `in1`, `op0`.
    """

    name: str
    fields: dict[str, object]
    reads: tuple[str, ...] = ()


def parse_fields(text: str) -> dict[str, object]:
    """The values by field in a text such as `out=16,kernel=3`.

    Raises:
        ValueError: If the text does not have this syntax; the message says where.
    """
    return _Parser(text).fields(end=_END, depth=0)


def parse_operators(text: str) -> list[Call]:
    """The operators in a text such as `Activation(function=relu)+Add@in1`.

    Raises:
        ValueError: As `parse_fields` does.
    """
    parser, found = _Parser(text), list[Call]()
    while text and (not found or parser.skips("+")):
        name = parser.word("an operator")
        given = parser.fields(end=")", depth=0) if parser.skips("(") else {}
        found.append(Call(name, given, tuple(parser.wires())))
    parser.require(_END)
    return found


class _Parser:
    """A recursive-descent parser over the tokens of a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*_tokens(text), _END]
        self._at = 0

    def fields(self, *, end: str, depth: int) -> dict[str, object]:
        """Parse `name=value,name=value` and the token `end`; returns the values by name."""
        found: dict[str, object] = {}
        if self.skips(end):
            return found
        while True:
            name = self.word("a field")
            if name in found:
                raise ValueError(f"{name} stands twice in {shortened(self._text)}; give it once")
            self.require("=")
            found[name] = self._value(depth + 1)
            if not self.skips(","):
                self.require(end)
                return found

    def wires(self) -> Iterator[str]:
        """Parse any number of wires such as `@in1@op0`; yields `in1`, `op0`."""
        while self.skips("@"):
            name = self.word(_WIRE_MEANT)
            if not _WIRE.fullmatch(name):
                raise self._error(_WIRE_MEANT, name)
            yield name

    def word(self, meant: str) -> str:
        """Parse a name; `meant` says in error messages what the name stands for."""
        token = self._next()
        if not WORD.fullmatch(token):
            raise self._error(meant, token)
        return token

    def skips(self, token: str) -> bool:
        """Whether the next token is `token`; if so, the parser moves past it."""
        found = self._tokens[self._at] == token
        self._at += found
        return found

    def require(self, token: str) -> None:
        """Move past `token`; raises `ValueError` if another token comes next."""
        if not self.skips(token):
            raise self._error(repr(token) if token else "nothing", self._tokens[self._at])

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _value(self, depth: int) -> object:
        if depth > MOST_DEPTH:
            raise ValueError(f"values are nested more than {MOST_DEPTH} deep; nest fewer")
        token = self._next()
        if token in CONSTANTS:
            return CONSTANTS[token]
        if token == "[":
            return tuple(self._items(depth))
        if token.startswith('"'):
            return json.loads(token, strict=False)
        if WORD.fullmatch(token):
            called = self.skips("(")
            return Call(token, self.fields(end=")", depth=depth)) if called else token
        if token[:1] == "-" or token[:1].isdecimal():
            return float(token) if {".", "e"} & set(token) else int(token)
        raise self._error("a value", token)

    def _items(self, depth: int) -> Iterator[object]:
        if self.skips("]"):
            return
        while True:
            yield self._value(depth + 1)
            if not self.skips(","):
                self.require("]")
                return

    def _error(self, meant: str, token: str) -> ValueError:
        found = shortened(token) if token else "its end"
        return ValueError(f"{shortened(self._text)} must have {meant} in place of {found}")


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(
                f"{shortened(text)} must be fields such as 'out=16,kernel=3' or operators such as "
                f"'Activation(function=relu)+Add@in1'; {text[at]!r} has no meaning there"
            )
        yield token[0]
        at = token.end()
