"""The codes of quantized activations as an ONNX file holds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from supernets.encoded import ActivationScale

Clamp = tuple[float, float]
"""The least and the greatest number of a tensor."""
_SIGNED_ZERO = 128


@dataclass(frozen=True)
class ActivationGrid:
    """The codes of an activation as the file holds them, in uint8."""

    scale: float
    zero_point: int
    low: int
    high: int

    @classmethod
    def of(cls, scale: ActivationScale) -> ActivationGrid:
        """The grid of `scale`, symmetric codes moved up to be unsigned."""
        held = scale.quant.integers
        shift = _SIGNED_ZERO if held.symmetric else 0
        low, high = held.range
        return cls(scale.scale, scale.zero_point + shift, low + shift, high + shift)

    def clamp_codes(self, clamp: Clamp | None) -> tuple[int, int]:
        """The codes of the ends of `clamp`, or of the whole grid."""
        if clamp is None:
            return self.low, self.high
        ends = np.rint(np.array(clamp, np.float32) / np.float32(self.scale)) + self.zero_point
        least, most = np.clip(ends, self.low, self.high)
        return int(least), int(most)
