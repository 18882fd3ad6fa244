"""What a kernel's latency depends on, as numbers that a regression can use."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.targets.capability import Bits
from nas.targets.table.rows import KernelKey
from search_spaces.kernels import Kernel

LANES = 16  # channels that vector units take at once


def features(kernels: Sequence[tuple[Kernel, Bits]]) -> NDArray[np.float64]:
    """Features `(kernels, features)` of kernels of one operator at one width.

    Sizes are logarithms, so that a product of powers of them, which a roofline is made of, is a
    plane. What is fused behind stands as one column for every way that there is.
    """
    rows = np.array([_sizes(kernel, bits) for kernel, bits in kernels])
    behind = [KernelKey.of(kernel, bits).fused for kernel, bits in kernels]
    ways = sorted(set(behind))[1:]
    fused = np.array([[name == way for way in ways] for name in behind], float)
    return np.hstack([rows, fused.reshape(len(rows), len(ways))])


def log_size(kernel: Kernel) -> float:
    """Logarithm of what a kernel computes and moves, for spreading a sample."""
    return math.log(kernel.macs + _moved(kernel))


def _sizes(kernel: Kernel, bits: Bits) -> list[float]:
    key = KernelKey.of(kernel, bits)
    channels_in, channels_out = kernel.inputs[0][0], kernel.output[0]
    area_in = math.prod(kernel.inputs[0][1:])
    area_out = math.prod(kernel.output[1:])
    padded = [math.ceil(count / LANES) * LANES for count in (channels_in, channels_out)]
    weights = sum(math.prod(op.weight_shape(*read) or (0,)) for op, read in kernel.members())
    positive = [
        *(channels_in, channels_out, *padded, area_in, area_out),
        *(kernel.macs + 1, weights + 1, _moved(kernel), key.kernel, key.stride),
    ]
    return [math.log(value) for value in positive]


def _moved(kernel: Kernel) -> int:
    """Elements read and written."""
    return sum(map(math.prod, (*kernel.inputs, kernel.output)))
