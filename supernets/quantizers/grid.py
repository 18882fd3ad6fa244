"""Grids: the evenly spaced values to which a quantizer of integers rounds a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Grid:
    """The values `offset + step * k` for the integers `k` from `low` to `high`.

    The shapes of all attributes broadcast to that of the tensor.

    Attributes:
        step: The distance of neighbours.
        offset: The value of the integer 0.
        low: The least integer, a float.
        high: The greatest integer, a float.
    """

    step: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor

    def position(self, x: Tensor) -> Tensor:
        """`x` in units of the grid; halves between two integers are thresholds of rounding."""
        return (x - self.offset) / self.step

    def numbers(self, x: Tensor) -> Tensor:
        """The integers to which `x` is rounded, as floats."""
        return self.position(x).round().clamp(self.low, self.high)

    def values(self, numbers: Tensor) -> Tensor:
        """The values at positions, which need not be integers."""
        return self.offset + self.step * numbers
