"""The names of operators in target files and latency tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from search_spaces.choice import Spec
from search_spaces.ops import Op

Kind = TypeVar("Kind", bound=Spec)


def operator_types() -> dict[str, type[Op]]:
    """Every operator that a device can run, by class name."""
    return {kind.__name__: kind for kind in below(Op) if kind.arity != 0 and not kind.is_view}


def below(kind: type[Kind]) -> Iterator[type[Kind]]:
    """Every class that derives from `kind`, as far as its module is imported."""
    for lower in kind.__subclasses__():
        yield lower
        yield from below(lower)
