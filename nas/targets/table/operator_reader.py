"""Reading operators that `operator_text` wrote, or that a person wrote by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from nas.targets.operator_names import below, operator_types
from nas.targets.table.operator_text import (
    CONSTANTS,
    PRECISIONS,
    WORD,
    default_of,
    operator_text,
    written_fields,
)
from search_spaces.choice import Spec
from search_spaces.documents import MOST_DEPTH, shortened
from search_spaces.fields import declared, misfit
from search_spaces.ops import Op

_TOKEN = re.compile(
    r'"(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*"|-?(?:inf|[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,3})?)\b'
    r"|[A-Za-z_]\w*|[][(),=+@]",
    re.ASCII,
)
_WIRE = re.compile(r"(in|op)[0-9]{1,4}", re.ASCII)
_END = ""


@dataclass(frozen=True)
class Behind:
    """An operator behind the first of a kernel.

    Attributes:
        op: The operator, in full precision.
        reads: Where its inputs come from, if not from the operator before it: `in1`, `op0`.
    """

    op: Op
    reads: tuple[str, ...] = ()

    def __str__(self) -> str:
        return operator_text(self.op) + "".join(f"@{name}" for name in self.reads)


class OperatorReader:
    """Reads the operators of many rows, each text once; knows the classes imported by now."""

    def __init__(self) -> None:
        self.operators = operator_types()
        self._specs = {kind.__name__: kind for kind in below(Spec)}
        self._ops: dict[tuple[str, str], Op] = {}
        self._fused: dict[str, tuple[Behind, ...]] = {}

    def operator(self, name: str, fields: str) -> Op:
        """The operator of a class with the given fields, in full precision.

        Raises:
            ValueError: Saying what is wrong, what is allowed and what to do.
        """
        if (name, fields) not in self._ops:
            parser = _Parser(fields, self._specs)
            given = parser.fields(end=_END, depth=0)
            self._ops[name, fields] = _made(self.kind(name), given)
        return self._ops[name, fields]

    def behind(self, text: str) -> tuple[Behind, ...]:
        """The operators that `Activation(function=relu)+Add@in1` names; raises as `operator`."""
        if text not in self._fused:
            parser, found = _Parser(text, self._specs), list[Behind]()
            while text and (not found or parser.skips("+")):
                name = parser.word("an operator")
                given = parser.fields(end=")", depth=0) if parser.skips("(") else {}
                found.append(Behind(_made(self.kind(name), given), parser.wires()))
            parser.require(_END)
            self._fused[text] = tuple(found)
        return self._fused[text]

    def kind(self, name: str) -> type[Op]:
        """The class of that name; raises as `operator` does."""
        if name not in self.operators:
            raise ValueError(
                f"operator = {name!r}: no such operator; known are "
                f"{', '.join(sorted(self.operators))}; one of your own must be imported first"
            )
        return self.operators[name]


def _made(kind: type[Any], given: Mapping[str, object]) -> Any:
    """The spec of a class with the given values."""
    known = written_fields(kind)
    needed = {name for name, field in known.items() if default_of(field) is MISSING}
    for what, wrong in (
        ("no field", sorted(given.keys() - known.keys())),
        ("no value for", sorted(needed - given.keys())),
    ):
        if wrong:
            raise ValueError(
                f"{kind.__name__} has {what} {', '.join(wrong)}; a row gives "
                f"{', '.join(known) or 'none'} of it, and bits in columns of their own"
            )
    try:
        kinds = declared(kind)
        for name, value in given.items():
            if (fault := misfit(value, kinds[name])) is not None:
                raise ValueError(f"{name} {fault}")
        full = dict.fromkeys(PRECISIONS & kind.__dataclass_fields__.keys(), None)
        return kind(**({**full, **given} if issubclass(kind, Op) else given))
    except (ValueError, TypeError, NameError) as error:
        raise ValueError(f"{kind.__name__} cannot be made: {error}") from error


class _Parser:
    """Walks over the words of a text."""

    def __init__(self, text: str, specs: Mapping[str, type[Spec]]) -> None:
        self._text, self._specs = text, specs
        self._tokens = [*_tokens(text), _END]
        self._at = 0

    def fields(self, *, end: str, depth: int) -> dict[str, object]:
        """`name=value,name=value` and the `end` behind it."""
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

    def wires(self) -> tuple[str, ...]:
        """`@in1@op0`, as many as there are."""
        found: list[str] = []
        while self.skips("@"):
            found.append(self.word("in0, op0 or the like"))
            if not _WIRE.fullmatch(found[-1]):
                raise self._error("in0, op0 or the like", found[-1])
        return tuple(found)

    def word(self, meant: str) -> str:
        """The next word, which must be a name."""
        token = self._next()
        if not WORD.fullmatch(token):
            raise self._error(meant, token)
        return token

    def skips(self, token: str) -> bool:
        """Whether the next word is `token`, which is then passed over."""
        found = self._tokens[self._at] == token
        self._at += found
        return found

    def require(self, token: str) -> None:
        """Pass over `token`, which must come next."""
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
            return self._spec(token, depth) if self.skips("(") else token
        if token[:1] == "-" or token[:1].isdecimal():
            return float(token) if {".", "e"} & set(token) else int(token)
        raise self._error("a value", token)

    def _items(self, depth: int) -> Iterable[object]:
        if self.skips("]"):
            return
        while True:
            yield self._value(depth + 1)
            if not self.skips(","):
                self.require("]")
                return

    def _spec(self, name: str, depth: int) -> Spec:
        given = self.fields(end=")", depth=depth)
        if name not in self._specs:
            raise ValueError(f"{name!r}: no such spec; import the module that defines it first")
        return _made(self._specs[name], given)

    def _error(self, meant: str, token: str) -> ValueError:
        found = shortened(token) if token else "its end"
        return ValueError(f"{shortened(self._text)} must have {meant} in place of {found}")


def _tokens(text: str) -> list[str]:
    found, at = list[str](), 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(
                f"{shortened(text)} must be fields such as 'out=16,kernel=3' or operators such as "
                f"'Activation(function=relu)+Add@in1'; {text[at]!r} has no meaning there"
            )
        found.append(token[0])
        at = token.end()
    return found
