"""The choices of a space that decide precisions, and draws for the phase in full precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from search_spaces.choice import Choice, choices_in, variants
from search_spaces.quant import Quant, bits_of
from search_spaces.space import IntArray, SearchSpace


def bit_choices(space: SearchSpace) -> dict[int, tuple[int, ...]]:
    """The choices among precisions, at any operator: column of a choice -> bits of its options.

    An option is a `Quant` or None, which counts 32 bits. Where a choice inside an option decides
    its bits, the most count.
    """
    return {
        space.column[made.name]: tuple(max(map(bits_of, variants(one))) for one in made.options)
        for made in space.choices
        if _is_among_precisions(made)
    }


def layer_choices(space: SearchSpace) -> dict[str, frozenset[int]]:
    """The layers with a quantized weight: address -> columns of the choices of their precisions.

    A layer has choices among precisions of its weight, of its input, or of both. Layers without
    such a choice are left out.
    """
    found: dict[str, frozenset[int]] = {}
    for address, node in space.graph.nodes.items():
        held = (*choices_in(node.op.weight), *choices_in(node.op.activation))
        columns = frozenset(space.column[made.name] for made in held if _is_among_precisions(made))
        if columns and node.op.weight is not None:
            found[address] = columns
    return found


def drawn(space: SearchSpace, rng: np.random.Generator, count: int, *, quantized: bool) -> IntArray:
    """Uniform random genotypes, canonical, `(count, choices)`.

    Args:
        space: The space.
        rng: The source of random numbers.
        count: The number of genotypes.
        quantized: False for the phase in full precision. All precisions then have the most bits,
            so that a cost tells architectures apart and equal networks are equal genotypes.
    """
    rows = rng.integers(0, space.counts, size=(count, len(space.counts)))
    return space.canonical_array(rows if quantized else with_most_bits(space, rows))


def with_most_bits(space: SearchSpace, rows: IntArray) -> IntArray:
    """The rows `(n, choices)` with the last option of every choice among precisions."""
    columns = list(bit_choices(space))
    changed = rows.copy()
    changed[:, columns] = space.counts[columns] - 1
    return changed


def _is_among_precisions(made: Choice[Any]) -> bool:
    return all(isinstance(option, Quant | None) for option in made.options)
