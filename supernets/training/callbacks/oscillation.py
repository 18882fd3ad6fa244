"""What additions against oscillating weights have in common: the weights, and their annealing.

A weight oscillates if its gradient drives it over a threshold of rounding and back, again and
again. This costs accuracy at 3 bits and fewer (Nagel et al. 2022, "Overcoming oscillations in
quantization-aware training", section 2). A weight of a supernet has an integer at each of its
precisions; it is judged by the integer at the fewest bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from search_spaces.formats import Int
from search_spaces.quant import Quant
from supernets.quantizers import Quantizer
from supernets.quantizers.grid import Grid
from supernets.supernet import Supernet

_MOST_BITS = 3
_START = 0.25  # of the quantized phase, as in the code of Nagel et al.


@dataclass(frozen=True, eq=False)
class Coarse:
    """A weight of few bits.

    Attributes:
        address: The address of the operator.
        weight: The largest weight, a parameter.
        quantizer: The quantizer of the weight.
        quant: The precision of the fewest bits.
    """

    address: str
    weight: Tensor
    quantizer: Quantizer
    quant: Quant

    def grid(self) -> Grid:
        """The grid of the present weight at the fewest bits."""
        return self.quantizer.grid(self.weight.detach(), self.quant)


def coarse_weights(supernet: Supernet) -> list[Coarse]:
    """The weights that have integers of at most 3 bits, in the order of the graph."""
    found: list[Coarse] = []
    for address in supernet.space.graph.nodes:
        node = supernet.node(address)
        quants = [q for q in (node.weight.quants if node.weight else ()) if is_coarse(q)]
        if node.weight is not None and quants:
            fewest = min(quants, key=lambda quant: quant.bits)
            found.append(Coarse(address, node.tensors["weight"], node.weight, fewest))
    return found


def is_coarse(quant: Quant) -> bool:
    """Whether a precision is one of integers of at most 3 bits."""
    return isinstance(quant.format, Int) and quant.bits <= _MOST_BITS


def annealed(share: float, first: float, last: float) -> float | None:
    """The value at a share of the quantized phase: half a cosine from `first` to `last`.

    None in the first quarter of the phase, in which the methods of Nagel et al. do nothing.
    """
    if share < _START:
        return None
    done = (share - _START) / (1 - _START)
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
