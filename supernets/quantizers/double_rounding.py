"""Double Rounding: every bit-width of a weight is a rounding of the same integers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from search_spaces.formats import Int
from search_spaces.ops import Shape
from search_spaces.quant import Quant
from supernets.blocks import from_rows, to_rows
from supernets.encoded import EncodedTensor
from supernets.quantizers.learned_steps import LearnedSteps
from supernets.rounding import snapped


class DoubleRounding(LearnedSteps):
    """Double Rounding of weights ("Nearly Lossless Adaptive Bit Switching", 2025, equations 4-6).

    A weight is rounded to integers of its highest bit-width `h`, and these integers are rounded to
    every lower bit-width `l`: `codes_h = clip(round(x / s))`, then
    `codes_l = clip(round(codes_h / 2**(h - l)))` with the step `s * 2**(h - l)`. So a weight has
    only one learned step `s` per block, and a device that stores `codes_h` can switch bit-widths
    while it runs. As everywhere here, codes are symmetric: the lowest code of two's complement is
    not used. Inputs have a learned step per precision (see `LearnedSteps`).
    """

    name = "double-rounding"

    @classmethod
    def check_weights(cls, quants: Iterable[Quant]) -> None:
        """Raise `ValueError` if a precision is no symmetric integer."""
        for quant in quants:
            if not (isinstance(quant.format, Int) and quant.format.symmetric):
                raise ValueError(
                    f"double-rounding shifts symmetric integers to fewer bits, given weights of "
                    f"{quant.name}; give weights Int(bits), or take the quantizer 'lsq'"
                )

    def source(self, quant: Quant) -> Quant:
        """The precision whose steps `quant` uses: of weights, the highest of its granularity."""
        if not self.roles:
            return quant
        alike = (other for other in self.quants if other.granularity == quant.granularity)
        return max(alike, key=lambda other: other.bits)

    def steps(self, quant: Quant) -> Tensor:
        return super().steps(quant) * 2 ** (self.source(quant).bits - quant.bits)

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        source = self.source(quant)
        if source == quant:
            return super().forward(x, quant)
        blocks = self.blocks(quant, tuple(x.shape))
        log_steps = self.column(self.log_steps_of(quant), x, blocks)
        step = self.column(self.steps(source), x, blocks)
        rows = _DoubleRound.apply(to_rows(x, blocks), log_steps, step, source, quant)
        return from_rows(rows, x.shape, blocks)  # pyright: ignore[reportArgumentType]

    def encode(self, x: Tensor, quant: Quant, shape: Shape) -> EncodedTensor:
        return super().encode(self(x, quant), quant, shape)


class _DoubleRound(torch.autograd.Function):
    """Both roundings, each passed straight through, with the gradient by the step's logarithm.

    As for a single rounding (see `fake_quantize`), the derivative by the logarithm is the sum of
    `grad * output`, less that of `grad * x` over the elements that neither rounding clips: the two
    rounding errors add up to `output - x`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, _log_step: Tensor, step: Tensor, source: Quant, quant: Quant
    ) -> Tensor:
        shrink = 2.0 ** (quant.bits - source.bits)
        high = snapped(source.format, x / step, source.format.bounds)
        output = snapped(quant.format, high * shrink, quant.format.bounds).mul_(step / shrink)
        # Where the second rounding clips nothing, neither does the first.
        inside = high.abs() * shrink < quant.format.bounds[1] + quant.format.reach
        ctx.save_for_backward(x, output, inside)
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        x, output, inside = ctx.saved_tensors
        passed = grad * inside
        by_log = (grad * output - passed * x).sum(1, keepdim=True)
        return passed, by_log, None, None, None
