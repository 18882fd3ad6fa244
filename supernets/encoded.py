"""Quantized tensors as a runtime holds them: codes, scales and zero points, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.quant import Quant


@dataclass(frozen=True, eq=False)
class EncodedTensor:
    """A quantized weight with the values `scale * (number of the code - zero_point)`.

    Attributes:
        codes: Codes of the format of `quant`, in the shape of the weight.
        scale: float32, in the shape that the granularity gives: `(1,)` per tensor, `(out,)` per
            channel, `(out, in / size, 1, 1)` per group. Holds numbers of the format of the scales.
        zero_point: int32, in the shape of `scale`; zeros unless codes are asymmetric integers.
        quant: The precision.
    """

    codes: NDArray[np.int32]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    quant: Quant

    def __post_init__(self) -> None:
        counts = self.quant.granularity.counts(self.codes.shape)
        if {self.scale.shape, self.zero_point.shape} != {counts}:
            raise ValueError(
                f"a weight of shape {self.codes.shape} at {self.quant} has scales and zero points "
                f"of shape {counts}, given {self.scale.shape} and {self.zero_point.shape}"
            )

    @property
    def stored(self) -> NDArray[np.integer]:
        """The codes in the type that holds one: `int8`, `uint8`, or `uint16` for 16-bit floats."""
        return self.codes.astype(self.quant.format.code_type)

    def numbers(self) -> NDArray[np.float32]:
        """The numbers of the format that the codes stand for."""
        return self.quant.format.decode(self.codes)

    def values(self) -> NDArray[np.float32]:
        """The weight in float32, as a runtime dequantizes it."""
        shape, over = self.quant.granularity.split(self.codes.shape)
        zero_point = self.zero_point.astype(np.float32).reshape(over)
        offset = self.numbers().reshape(shape) - zero_point
        return (offset * self.scale.reshape(over)).reshape(self.codes.shape)


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
        if not self.quant.granularity.single:
            raise ValueError(
                f"an input has one scale for the whole tensor, given {self.quant}; no runtime runs "
                "others, so give activations PerTensor()"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number relative to the zero point."""
        low, high = self.quant.format.bounds
        return low - self.zero_point, high - self.zero_point
