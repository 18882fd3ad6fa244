"""Uniform policies: one format of weights and one of activations wherever a network allows them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.choice import Choice
from search_spaces.compensation import unbranched
from search_spaces.formats import Int
from search_spaces.quant import Quant, bits_of
from search_spaces.space import Genotype, SearchSpace

FLOAT, USUAL = "float32", "int8"
"""The names of full precision, and of the policy that is good enough where nothing is asked."""
_HALF_BITS = 16


@dataclass(frozen=True)
class Uniform:
    """A uniform policy of a space.

    Attributes:
        name: Its name, such as `int8`, `int4 weights, int8 activations` or `float32`.
        genotype: The network with this policy, in its full width and without low-rank branches.
        bits: The bits of weights and of activations.
    """

    name: str
    genotype: Genotype
    bits: tuple[int, int]


def uniform_policies(space: SearchSpace) -> tuple[Uniform, ...]:
    """All uniform policies of a space, of the most bits first.

    Each pairs a format that some weight may have with one that some activation may have, full
    precision included. Activations in floats of 16 bits are paired with weights of the same format
    or of fewer bits, and weights in such floats with activations of the same format or in full
    precision. A choice without the format gets the next wider one that it offers, or its widest.
    """
    (weights, activations), fixed = _precisions(space), _fixed(space)
    formats = [
        sorted({_name(o): bits_of(o) for c in held for o in c.options}.items(), key=_width)
        for held in (weights.values(), activations.values())
    ]
    pairs = itertools.product(*(kinds or [one] for kinds, one in zip(formats, fixed, strict=True)))
    found: dict[Genotype, Uniform] = {}
    for (weight, wide), (read, deep) in pairs:
        if weight != read and _HALF_BITS in (wide, deep) and wide >= deep:
            continue
        picks = list(unbranched(space))
        for position, made in enumerate(space.choices):
            if made.name in weights:
                picks[position] = _nearest(made, weight, wide)
            elif made.name in activations:
                picks[position] = _nearest(made, read, deep)
        genotype = space.canonical(picks)
        found.setdefault(genotype, Uniform(_policy(weight, read), genotype, (wide, deep)))
    return tuple(found.values())


def uniform_names(space: SearchSpace) -> dict[Genotype, str]:
    """The name of every uniform policy of a space."""
    return {one.genotype: one.name for one in uniform_policies(space)}


def _width(named: tuple[str, int]) -> tuple[int, str]:
    return -named[1], named[0]


def _policy(weight: str, read: str) -> str:
    return weight if weight == read else f"{weight} weights, {read} activations"


def _precisions(space: SearchSpace) -> tuple[Mapping[str, Choice[Any]], Mapping[str, Choice[Any]]]:
    """The choices of formats of weights, and those of activations, by name."""
    found: tuple[dict[str, Choice[Any]], dict[str, Choice[Any]]] = ({}, {})
    for node in space.graph.nodes.values():
        for op in _options(node.op):
            for held, field in zip(found, (op.weight, op.activation), strict=True):
                if isinstance(field, Choice):
                    held[field.name] = field
    return found


def _fixed(space: SearchSpace) -> tuple[tuple[str, int], tuple[str, int]]:
    """The names and bits of the narrowest weight and of the narrowest activation."""
    ops = [op for node in space.graph.nodes.values() for op in _options(node.op)]
    held = [[op.weight for op in ops], [op.activation for op in ops]]
    narrow = [
        min((q for q in quants if isinstance(q, Quant)), key=bits_of, default=None)
        for quants in held
    ]
    weight, read = ((_name(quant), bits_of(quant)) for quant in narrow)
    return weight, read


def _options(op: Any) -> Iterator[Any]:
    """The operators that may stand at a node."""
    if isinstance(op, Choice):
        for option in op.options:
            yield from _options(option)
    else:
        yield op


def _name(option: Quant | None) -> str:
    """The format of a precision, `int8` for signed and unsigned integers alike."""
    if option is None:
        return FLOAT
    held = option.format
    return f"int{held.bits}" if isinstance(held, Int) else held.name


def _nearest(made: Choice[Any], name: str, bits: int) -> int:
    """The position of the option with this format, of the next wider one, or of the widest."""
    named = [_name(option) for option in made.options]
    if name in named:
        return named.index(name)
    widths = [bits_of(option) for option in made.options]
    wider = [place for place, width in enumerate(widths) if width >= bits]
    return min(wider, key=widths.__getitem__) if wider else widths.index(max(widths))
