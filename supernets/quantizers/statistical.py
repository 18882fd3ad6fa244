"""StatsQ: steps that are statistics of the weights, on a grid without zero."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from search_spaces.formats import Int
from search_spaces.ops import Shape
from search_spaces.quant import Quant
from supernets.blocks import from_rows, to_rows
from supernets.encoded import EncodedTensor
from supernets.quantizers.grid import Grid
from supernets.quantizers.learned_steps import LearnedSteps
from supernets.quantizers.quantizer import encoded
from supernets.rounding import relative_bounds, snapped, squared_error_steps

_BELOW_ONE = 1 - 1e-6  # the largest value, in scales, so that rounding ends on the highest level


class StatisticalScales(LearnedSteps):
    """StatsQ of weights (Liu et al. 2023, "Oscillation-free quantization", section 4.1).

    The scale of a block is twice the mean size of its elements; for blocks of a channel, each
    channel of a subnet has its own. With `b` bits, the values are the odd multiples of
    `scale / 2**b` up to the scale. Rounding and clipping are passed straight through, so that every
    element has the gradient of its value. Inputs have a learned step per precision (see
    `LearnedSteps`).

    No value is zero, which a device needs, so `encode` rounds the values again: to the symmetric
    integers of `b` bits with the step of least squared error. The loss is largest at few bits.
    """

    name = "statsq"
    exact = False

    @classmethod
    def check_weights(cls, quants: Iterable[Quant]) -> None:
        """Raise `ValueError` if a precision is no symmetric integer."""
        for quant in quants:
            if not (isinstance(quant.format, Int) and quant.format.symmetric):
                raise ValueError(
                    f"statsq rounds weights to symmetric integers, given {quant.name}; give "
                    "weights Int(bits), or take the quantizer 'lsq'"
                )

    def learned(self) -> Iterable[Quant]:
        """The precisions that have learned steps: those of inputs."""
        return () if self.roles else super().learned()

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        if not self.roles:
            return super().forward(x, quant)
        blocks = self.blocks(quant, tuple(x.shape))
        values = from_rows(_odd_multiples(to_rows(x.detach(), blocks), quant), x.shape, blocks)
        return values + (x - x.detach())

    def encode(self, x: Tensor, quant: Quant, shape: Shape) -> EncodedTensor:
        blocks = self.blocks(quant, tuple(x.shape))
        rows = _odd_multiples(to_rows(x.detach(), blocks), quant)
        zero = torch.zeros(len(rows), dtype=torch.int32, device=rows.device)
        step = squared_error_steps(rows, quant, zero)
        bounds = relative_bounds(quant.format, zero.unsqueeze(1))
        numbers = from_rows(
            snapped(quant.format, rows / step.unsqueeze(1), bounds), x.shape, blocks
        )
        return encoded(numbers, step, zero, quant=quant, shape=shape)

    def grid(self, x: Tensor, quant: Quant) -> Grid:
        if not self.roles:
            return super().grid(x, quant)
        blocks, levels = self.blocks(quant, tuple(x.shape)), 2 ** (quant.bits - 1)
        rows = to_rows(x.detach(), blocks)
        scale = (2 * rows.abs().mean(1, keepdim=True)).clamp(min=torch.finfo(rows.dtype).tiny)
        step = from_rows((scale / levels).expand_as(rows), x.shape, blocks)
        low, high = x.new_tensor(-levels), x.new_tensor(levels - 1)
        return Grid(step, step / 2, low, high)


def _odd_multiples(rows: Tensor, quant: Quant) -> Tensor:
    """Every row of a matrix on its own grid of odd multiples."""
    levels = 2 ** (quant.bits - 1)
    scale = 2 * rows.abs().mean(1, keepdim=True)
    shares = rows / scale.clamp(min=torch.finfo(rows.dtype).tiny)
    return scale * ((shares.clamp(-1, _BELOW_ONE) * levels - 0.5).round() + 0.5) / levels
