"""The features of a kernel from which a regression predicts its latency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.targets.numerics import Numerics
from nas.targets.table.operator_text import written_fields
from nas.targets.table.rows import KernelKey, anchor_of
from search_spaces.kernels import Kernel

LANES = 16  # the number of channels that a vector unit processes at once
FloatArray = NDArray[np.float64]


def features(kernels: Sequence[tuple[Kernel, Numerics]]) -> FloatArray:
    """The features `(kernels, features)` of kernels with the same operator and formats.

    Sizes and numeric fields of the operator are logarithms. The logarithm of a product of powers of
    sizes, as in a roofline model, is then a linear function of the features. Fields that are no
    numbers, such as the name of a function or the fused operators, are one-hot columns.
    """
    sizes = np.array([_sizes(kernel) for kernel, _ in kernels])
    anchors = [anchor_of(kernel) for kernel, _ in kernels]
    own = written_fields(type(anchors[0]))
    fields = [_columns([getattr(anchor, name) for anchor in anchors]) for name in own]
    behind = _ways([KernelKey.of(kernel, numerics).fused for kernel, numerics in kernels])
    return np.hstack([sizes, *fields, behind])


def log_size(kernel: Kernel) -> float:
    """The logarithm of the size of a kernel, its computations and its memory traffic."""
    return math.log(kernel.macs + _moved(kernel))


def _sizes(kernel: Kernel) -> list[float]:
    channels_in, channels_out = kernel.inputs[0][0], kernel.output[0]
    area_in = math.prod(kernel.inputs[0][1:])
    area_out = math.prod(kernel.output[1:])
    padded = [math.ceil(count / LANES) * LANES for count in (channels_in, channels_out)]
    weights = sum(math.prod(op.weight_shape(*read) or (0,)) for op, read in kernel.members())
    positive = [
        *(channels_in, channels_out, *padded, area_in, area_out),
        *(kernel.macs + 1, weights + 1, _moved(kernel)),
    ]
    return [math.log(value) for value in positive]


def _columns(values: Sequence[object]) -> FloatArray:
    """The columns `(kernels, columns)` of a field: logarithms of numbers, or one-hot columns."""
    parts = [value if isinstance(value, tuple) else (value,) for value in values]
    longest = max(map(len, parts))
    alike = [part * longest if len(part) == 1 else part for part in parts]
    plain = all(len(part) == longest and all(map(_is_size, part)) for part in alike)
    return np.log1p(np.array(alike, float)) if plain else _ways([repr(value) for value in values])


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf


def _ways(names: Sequence[str]) -> FloatArray:
    """One-hot columns of names, without the column of the first name."""
    ways = sorted(set(names))[1:]
    return np.array([[name == way for way in ways] for name in names], float).reshape(
        len(names), len(ways)
    )


def _moved(kernel: Kernel) -> int:
    """The number of elements that a kernel reads and writes."""
    return sum(map(math.prod, (*kernel.inputs, kernel.output)))
