"""Weights as matrices, one per group of channels, and the values that their entries may have."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from search_spaces.formats import Format, Int
from search_spaces.quant import PerTensor
from supernets.encoded import EncodedTensor
from supernets.rounding import Bounds, snapped


@dataclass(frozen=True, eq=False)
class Lattice:
    """The values `step * number` that the entries of a weight may have.

    All tensors have the shape `(groups, out, columns)`: a convolution with groups of channels is
    one matrix per group, and the columns are the input channels of a group times the window.

    Attributes:
        format: The format of the numbers.
        step: The step of every entry.
        zero: The zero point of every entry, as a float.
        starts: The first column of every block that shares a step, ascending; the first is 0.
        shared: Whether all rows share their steps, as they do with a single step.
    """

    format: Format
    step: Tensor
    zero: Tensor
    starts: tuple[int, ...]
    shared: bool

    def near(self, x: Tensor) -> Tensor:
        """The values nearest to `x` `(groups, out, columns)`."""
        return snapped(self.format, x / self.step, self._bounds()).mul_(self.step)

    def neighbours(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The greatest value that is at most `x`, and the next one; both inside the bounds."""
        low, high = self._bounds()
        scaled = torch.clamp(torch.clamp(x / self.step, min=low), max=high)  # pyright: ignore
        if isinstance(self.format, Int):
            below = torch.minimum(scaled.floor(), torch.as_tensor(high).to(scaled) - 1)
            return below * self.step, (below + 1) * self.step
        numbers = _numbers(self.format).to(scaled)
        place = torch.searchsorted(numbers, scaled.contiguous(), right=True) - 1
        place = place.clamp(0, len(numbers) - 2)
        return numbers[place] * self.step, numbers[place + 1] * self.step

    def ordered(self, order: Tensor) -> Lattice:
        """The lattice with its columns in the `order` `(groups, columns)`."""
        step, zero = (in_order(held, order) for held in (self.step, self.zero))
        return replace(self, step=step, zero=zero)

    def columns(self, part: slice) -> Lattice:
        """The lattice of some neighbouring columns, for rounding only."""
        return replace(self, step=self.step[..., part], zero=self.zero[..., part])

    def _bounds(self) -> Bounds:
        low, high = self.format.bounds
        return (low, high) if self.format.symmetric else (low - self.zero, high - self.zero)


def _numbers(number_format: Format) -> Tensor:
    """All finite numbers of a format, ascending."""
    codes = np.arange(2**number_format.bits)
    held = number_format.decode(codes)
    return torch.from_numpy(np.unique(held[np.isfinite(held)]))


def in_order(matrix: Tensor, order: Tensor) -> Tensor:
    """`matrix` `(groups, rows, columns)` with its columns in the `order` `(groups, columns)`."""
    return matrix.gather(2, order.unsqueeze(1).expand(-1, matrix.shape[1], -1))


def matrices(weight: Tensor, groups: int) -> Tensor:
    """A weight `(out, in, ...)` as `(groups, out / groups, columns)`."""
    return weight.reshape(groups, len(weight) // groups, -1)


def lattice_of(encoded: EncodedTensor, groups: int) -> Lattice:
    """The lattice on which the values of an encoded weight lie."""
    shape = encoded.codes.shape
    granularity = encoded.quant.granularity
    split, over = granularity.split(shape)

    def spread(held: np.ndarray) -> Tensor:
        whole = np.broadcast_to(held.reshape(over), split).reshape(shape)
        return matrices(torch.from_numpy(whole.astype(np.float32)), groups)

    step = spread(encoded.scale)
    length = int(np.prod(granularity.blocks(shape)[1:]))
    return Lattice(
        encoded.quant.format,
        step,
        spread(encoded.zero_point),
        tuple(range(0, step.shape[2], length)),
        isinstance(granularity, PerTensor),
    )


def encoded_again(encoded: EncodedTensor, values: Tensor, lattice: Lattice) -> EncodedTensor:
    """`encoded` with the codes and scales of `values`, which lie on `lattice`."""
    numbers = (values / lattice.step + lattice.zero).reshape(encoded.codes.shape).numpy()
    steps = lattice.step[..., list(lattice.starts)]
    scale = steps.reshape(-1)[:1] if lattice.shared else steps
    return replace(
        encoded,
        codes=encoded.quant.format.encode(numbers).astype(np.int32),
        scale=scale.reshape(encoded.scale.shape).numpy().astype(np.float32),
    )
