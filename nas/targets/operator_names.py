"""The names of operators in target files and latency tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from search_spaces.ops import Activation, Nonlinearity, Op


def operator_types() -> dict[str, type[Op]]:
    """Every operator that a device can run, by class name."""
    return {kind.__name__: kind for kind in _below(Op) if kind.arity != 0}


def row_names() -> frozenset[str]:
    """The names that a row of a latency table may use for an operator.

    These are the class names, but an activation has the name of its function, such as `relu`.
    """
    return frozenset(operator_types()) - {Activation.__name__} | {*get_args(Nonlinearity)}


def _below(kind: type[Op]) -> Iterator[type[Op]]:
    for lower in kind.__subclasses__():
        yield lower
        yield from _below(lower)
