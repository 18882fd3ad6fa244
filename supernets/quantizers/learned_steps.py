"""Learned step size quantization: a learned step for each block and each precision."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from search_spaces.formats import Int
from search_spaces.ops import Parameter, Shape
from search_spaces.quant import Quant
from supernets.blocks import blocks_of, counts_of, from_rows, to_rows
from supernets.encoded import EncodedTensor
from supernets.quantizers.fake_quantize import fake_quantized
from supernets.quantizers.grid import Grid
from supernets.quantizers.quantizer import Quantizer, encoded
from supernets.rounding import (
    Bounds,
    relative_bounds,
    snapped,
    snapped_scales,
    squared_error_steps,
    zero_points,
)


class LearnedSteps(Quantizer):
    """Learned step size quantization (LSQ) with steps of each precision, one per block.

    The parameters are the logarithms of steps, which keeps steps positive and makes a learning rate
    a relative change at every bit-width. Their gradient is the plain derivative
    (see `fake_quantize`). A narrower tensor uses the first of the steps. Formats without scales
    have nothing to learn.
    """

    name = "lsq"

    def __init__(self, quants: Iterable[Quant], weight: Parameter | None = None) -> None:
        super().__init__(quants, weight)
        self.roles = () if weight is None else weight.roles
        self.log_steps = nn.ParameterDict()
        for quant in self.learned():
            shape = (1,)
            if weight is not None and not quant.granularity.single:
                shape = counts_of(weight.shape, self.blocks(quant, weight.shape))
            self.log_steps[_name(quant)] = nn.Parameter(torch.zeros(shape))
            self.register_buffer(f"zero_{_name(quant)}", torch.zeros(shape, dtype=torch.int32))
        # The step and the zero point of formats without scales.
        self.register_buffer("log_one", torch.zeros(1), persistent=False)
        self.register_buffer("no_zero", torch.zeros(1, dtype=torch.int32), persistent=False)
        # Plain numbers, which are read from the buffers only once, since each read halts a GPU.
        self._bounds: dict[Quant, Bounds] = {}
        self.register_load_state_dict_post_hook(_forget_bounds)

    def source(self, quant: Quant) -> Quant:
        """The precision whose learned steps `quant` uses: `quant` itself."""
        return quant

    def learned(self) -> Iterable[Quant]:
        """The precisions that have learned steps."""
        scaled = (quant for quant in self.quants if quant.format.scaled)
        return dict.fromkeys(map(self.source, scaled))

    def log_steps_of(self, quant: Quant) -> Tensor:
        """The logarithms of the learned steps that `quant` uses, one per block."""
        if not quant.format.scaled:
            return self.get_buffer("log_one")
        return self.log_steps[_name(self.source(quant))]

    def steps(self, quant: Quant) -> Tensor:
        """The steps of `quant` for the largest tensor, in the format of scales, one per block."""
        return snapped_scales(quant.scales, self.log_steps_of(quant).detach().exp())

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        steps = self.log_steps_of(quant)
        if quant.granularity.single:
            return fake_quantized(x, steps, self._bounds_of(quant), quant)
        blocks = self.blocks(quant, tuple(x.shape))
        rows, column = to_rows(x, blocks), self.column(steps, x, blocks)
        bounds: Bounds = quant.format.bounds
        if not quant.format.symmetric:
            bounds = relative_bounds(quant.format, self.column(self.zero_point(quant), x, blocks))
        return from_rows(fake_quantized(rows, column, bounds, quant), x.shape, blocks)

    def encode(self, x: Tensor, quant: Quant, shape: Shape) -> EncodedTensor:
        blocks = self.blocks(quant, tuple(x.shape))
        step = self.column(self.steps(quant), x, blocks)
        zero = self.column(self.zero_point(quant), x, blocks)
        rows = to_rows(x.detach(), blocks) / step
        numbers = snapped(quant.format, rows, relative_bounds(quant.format, zero)) + zero
        whole = from_rows(numbers, x.shape, blocks)
        return encoded(whole, step, zero, quant=quant, shape=shape)

    def grid(self, x: Tensor, quant: Quant) -> Grid:
        if not isinstance(quant.format, Int):
            raise ValueError(
                f"the numbers of {quant.name} are not evenly spaced, so they have no grid; ask for "
                "that of integers"
            )
        blocks = self.blocks(quant, tuple(x.shape))
        step, zero = (
            self.column(values, x, blocks) for values in (self.steps(quant), self.zero_point(quant))
        )
        low, high = (
            _spread(torch.as_tensor(bound).to(x), x, blocks)
            for bound in relative_bounds(quant.format, zero)
        )
        return Grid(_spread(step, x, blocks), x.new_zeros(()), low, high)

    def scalar(self, quant: Quant) -> tuple[float, int]:
        return float(self.steps(quant)), int(self.zero_point(quant))

    def zero_point(self, quant: Quant) -> Tensor:
        """The integer zero points of `quant` for the largest tensor, one per block."""
        if not quant.format.scaled:
            return self.get_buffer("no_zero")
        return self.get_buffer(f"zero_{_name(self.source(quant))}")

    def initialise(self, values: Tensor) -> None:
        """Set all steps and zero points to the least squared error."""
        x = values.detach()
        for quant in self.learned():
            single = quant.granularity.single
            blocks = tuple(x.shape) if single else self.blocks(quant, tuple(x.shape))
            rows, shape = to_rows(x, blocks), self.zero_point(quant).shape
            zero = zero_points(rows, quant.format)
            step = squared_error_steps(rows, quant, zero)
            with torch.no_grad():
                self.log_steps_of(quant).copy_(step.log().reshape(shape))
                self.zero_point(quant).copy_(zero.reshape(shape))
        self._bounds.clear()

    def blocks(self, quant: Quant, shape: Shape) -> Shape:
        """The size of a block along every axis of a tensor of this shape."""
        roles = self.roles or ("window",) * len(shape)
        return blocks_of(quant.granularity, shape, roles)

    def column(self, values: Tensor, x: Tensor, blocks: Shape) -> Tensor:
        """The values of the blocks of `x`, `(blocks, 1)`."""
        if values.numel() == 1:
            return values.reshape(1, 1)
        counts = counts_of(tuple(x.shape), blocks)
        whole = counts == tuple(values.shape)
        return (values if whole else values[tuple(map(slice, counts))]).reshape(-1, 1)

    def _bounds_of(self, quant: Quant) -> Bounds:
        """The bounds of a precision with a single scale."""
        if quant not in self._bounds:
            self._bounds[quant] = relative_bounds(quant.format, self.zero_point(quant))
        return self._bounds[quant]


def _forget_bounds(quantizer: LearnedSteps, _: object) -> None:
    quantizer._bounds.clear()


def _spread(column: Tensor, x: Tensor, blocks: Shape) -> Tensor:
    """A column of the blocks of `x`, or a single number, in the shape of `x` or as one number."""
    if column.numel() == 1:
        return column.reshape(())
    return from_rows(column.expand_as(to_rows(x, blocks)), x.shape, blocks)


def _name(quant: Quant) -> str:
    return f"{quant.name}_{quant.granularity.name}"
