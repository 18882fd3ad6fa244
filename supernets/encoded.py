"""Quantized tensors as a runtime holds them: codes, scales and zero points, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.quant import Quant


@dataclass(frozen=True, eq=False)
class EncodedTensor:
    """A quantized weight with the values `scale * (codes - zero_point)`.

    Attributes:
        codes: Integers in the `code_range` of `quant`, in the shape of the weight.
        scale: float32, `(out,)` per channel or `(1,)` per tensor.
        zero_point: int32, in the shape of `scale`.
        quant: The precision.
    """

    codes: NDArray[np.int32]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    quant: Quant

    def __post_init__(self) -> None:
        count = self.codes.shape[0] if self.quant.per_channel else 1
        if {self.scale.size, self.zero_point.size} != {count}:
            raise ValueError(
                f"a weight of shape {self.codes.shape} at {self.quant} has {count} scales and zero "
                f"points, given {self.scale.size} and {self.zero_point.size}"
            )

    @property
    def stored(self) -> NDArray[np.int8 | np.uint8]:
        """The codes as `int8` if they are symmetric, else as `uint8`."""
        return self.codes.astype(np.int8 if self.quant.symmetric else np.uint8)

    def values(self) -> NDArray[np.float32]:
        """The weight in float32, as a runtime dequantizes it."""
        column = (-1, *(1,) * (self.codes.ndim - 1))
        offset = self.codes - self.zero_point.reshape(column)
        return offset.astype(np.float32) * self.scale.reshape(column)


@dataclass(frozen=True, eq=False)
class IntegerBias:
    """A bias with the values `scale * codes`, as integer runtimes add them to their accumulator.

    Attributes:
        codes: int32, `(out,)`.
        scale: float32, `(out,)`: the scale of the input times that of the weight.
    """

    codes: NDArray[np.int32]
    scale: NDArray[np.float32]

    def values(self) -> NDArray[np.float32]:
        """The bias in float32."""
        return self.codes.astype(np.float32) * self.scale


@dataclass(frozen=True)
class ActivationScale:
    """The quantization of an input of an operator: the values are `scale * (code - zero_point)`.

    The whole tensor has the same `scale`, a float32 number, and the same integer `zero_point`.
    """

    scale: float
    zero_point: int
    quant: Quant

    def __post_init__(self) -> None:
        if self.quant.per_channel:
            raise ValueError(
                f"an input has one scale for the whole tensor, given {self.quant}; no runtime runs "
                "others, so give activations PerTensor()"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest code relative to the zero point."""
        low, high = self.quant.code_range
        return float(low - self.zero_point), float(high - self.zero_point)
