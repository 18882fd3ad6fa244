"""The memory that the other layers of a network read between two runs of a layer.

Kernels that run again and again find their weights in the cache. Within a network whose weights are
larger than the caches, weights come from memory, which takes up to half as long again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas.targets.numerics import Numerics
from search_spaces.costs import parameters, total
from search_spaces.kernels import Kernel
from search_spaces.space import SearchSpace


def weights_of(space: SearchSpace) -> int:
    """The number of weights of networks of a space: the mean of the smallest and the largest."""
    ends = (space.smallest, space.largest)
    return round(sum(total(parameters, space.decode(end)) for end in ends) / len(ends))


@dataclass(frozen=True)
class Room:
    """The room in the caches for a model of kernels: its copies, and the bytes read beside it."""

    copies: int
    beside: int


def room_for(
    kernels: Sequence[tuple[Kernel, Numerics]], network_weights: int, *, copies: tuple[int, int]
) -> Room:
    """The copies of kernels in a model, and the bytes that are read between two of its runs.

    Both together are as large as the weights of a network whose other layers have the formats of
    these kernels, as far as few copies allow. Without a network, there are many copies.

    Args:
        kernels: The kernels of the model with the formats in which they compute.
        network_weights: The number of weights of the whole network; 0 for kernels of no network.
        copies: Few and many copies; each has weights of its own.
    """
    bits = [numerics.weight_bits or numerics.activation_bits for _, numerics in kernels]
    own = sum(_weights(one) * held for (one, _), held in zip(kernels, bits, strict=True)) // 8
    whole = network_weights * sum(bits) // len(bits) // 8
    few, many = copies
    count = few if whole and own * many > whole else many
    return Room(count, max(0, whole - own * count))


def _weights(kernel: Kernel) -> int:
    shapes = (op.weight_shape(*reads) for op, reads in kernel.members())
    return sum(math.prod(shape) for shape in shapes if shape is not None)
