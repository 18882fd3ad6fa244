"""Fake quantization with learned steps: float tensors rounded to values that integers can encode.

The arithmetic is that of ONNX Runtime: divide by the step, round half to even, clamp to the codes,
multiply. Zero points are integers, so zero is represented exactly. Bounds are kept relative to the
zero point, from `lowest code - zero point` to `highest code - zero point`, so that the zero point
does not occur in the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.quant import Quant

# A number for the whole tensor, or a column `(channels, 1)` for tensors flattened to rows.
Bound = float | Tensor
Bounds = tuple[Bound, Bound]

_SEARCHED_STEPS = 24
_SMALLEST_SHARE = 0.05
_ROUNDS = 4


@dataclass(frozen=True)
class Grid:
    """The representable values of a quantized tensor: `step * k` for integers `k` in `low..high`.

    `step` has a single element, or one element per channel in a shape that broadcasts over the
    tensor. Bounds that differ between channels have the same shape as `step`.
    """

    step: Tensor
    bounds: Bounds

    def snap(self, x: Tensor) -> Tensor:
        """The representable values nearest to `x`; ties go to the even code."""
        return _clamp_(torch.round(x / self.step), self.bounds).mul_(self.step)

    def codes(self, x: Tensor) -> Tensor:
        """The integers `k`, codes less zero point, of the representable values nearest to `x`."""
        return _clamp_(torch.round(x / self.step), self.bounds).to(torch.int32)


def _clamp_(x: Tensor, bounds: Bounds) -> Tensor:
    """Clamp `x` in place to bounds, which are numbers (much faster) or tensors."""
    return torch.clamp_(x, *bounds)  # pyright: ignore[reportArgumentType, reportCallIssue]


class _FakeQuantize(torch.autograd.Function):
    """Fake quantization with the gradients of LSQ (Esser et al. 2020, eq. 1-5) in closed form.

    The backward pass takes one elementwise pass and two dot products. Let `v = x / step`, `y` the
    output and `g` the gradient by `y`. The gradient by the step is `sum(g * y) / step` over all
    elements, less `sum(g * v)` over the elements inside the bounds. An element inside the bounds
    thus has LSQ's factor `round(v) - v`; an element outside has the bound as its factor.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_step: Tensor, bounds: Bounds, codes: int) -> Tensor:
        step = log_step.exp()
        scaled = x / step
        output = _clamp_(torch.round(scaled), bounds).mul_(step)
        ctx.save_for_backward(scaled, output, step)
        ctx.bounds, ctx.codes = bounds, codes
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        scaled, output, step = ctx.saved_tensors
        inside = _grad_inside(grad, scaled, *ctx.bounds)
        if not ctx.needs_input_grad[1]:
            return inside, None, None, None
        grad_step = _sum_to(grad, output, step) / step - _sum_to(inside, scaled, step)
        elements = grad.numel() / step.numel()
        # The gradient by the logarithm is divided by the step, so that descent moves it as in LSQ.
        grad_log = grad_step / step / math.sqrt(elements * ctx.codes)
        return inside, grad_log, None, None


def _grad_inside(grad: Tensor, scaled: Tensor, low: Bound, high: Bound) -> Tensor:
    """The gradient for elements whose code is not clamped; zero for all others."""
    if isinstance(low, float) and isinstance(high, float):
        return torch.ops.aten.hardtanh_backward(grad, scaled, low - 0.5, high + 0.5)
    return grad * ((scaled > low - 0.5) & (scaled < high + 0.5))


def _sum_to(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """The sums of `a * b`, in the shape of `like`, over the axes along which `like` broadcasts."""
    if like.numel() == 1:
        return torch.dot(a.reshape(-1), b.reshape(-1)).reshape(like.shape)
    return (a * b).reshape(like.numel(), -1).sum(1).reshape(like.shape)


class Quantizer(nn.Module):
    """Fake quantization of a tensor in any of several precisions, with learned steps for each.

    The parameters are the logarithms of steps, which keeps steps positive and makes a learning rate
    a relative change at every bit-width. Their gradient is that of LSQ, scaled by
    `1 / sqrt(elements * codes)`. All widths and depths of a layer share the steps; a narrower
    tensor uses the first of them.

    Args:
        quants: The precisions, resolved.
        channels: The largest number of output channels, which is the number of steps of a
            per-channel precision; two numbers where channels are the features of several heads.
    """

    def __init__(self, quants: Iterable[Quant], *channels: int) -> None:
        super().__init__()
        self.quants = tuple(quants)
        self.log_steps = nn.ParameterDict()
        for quant in self.quants:
            shape = (channels or (1,)) if quant.per_channel else (1,)
            self.log_steps[_name(quant)] = nn.Parameter(torch.zeros(shape))
            self.register_buffer(f"zero_{_name(quant)}", torch.zeros(shape, dtype=torch.int32))
        # Plain numbers, which are read from the buffers only once, since each read halts a GPU.
        self._bounds: dict[Quant, Bounds] = {}
        self.register_load_state_dict_post_hook(_forget_bounds)

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        """`x` fake-quantized to `quant`, with gradients to `x` and to the steps."""
        log_step = self._shaped(self.log_steps[_name(quant)], quant, x)
        return _FakeQuantize.apply(x, log_step, self._bounds_of(quant, x), quant.code_range[1])  # pyright: ignore[reportReturnType]

    def grid(self, x: Tensor, quant: Quant) -> Grid:
        """The grid to which `forward` rounds `x`."""
        log_step = self._shaped(self.log_steps[_name(quant)].detach(), quant, x)
        return Grid(log_step.exp(), self._bounds_of(quant, x))

    def scalar(self, quant: Quant) -> tuple[float, int]:
        """The step and the zero point of a per-tensor `quant`, as plain numbers."""
        return float(self.log_steps[_name(quant)].detach().exp()), int(self.zero_point(quant))

    def zero_point(self, quant: Quant) -> Tensor:
        """The integer zero points of `quant`, `(1,)` or in the shape of the channels."""
        return self.get_buffer(f"zero_{_name(quant)}")

    def zero_points_of(self, x: Tensor, quant: Quant) -> Tensor:
        """The integer zero points of the grid of `x`, in a shape that broadcasts over `x`."""
        return self._shaped(self.zero_point(quant), quant, x)

    def initialise(self, values: Tensor) -> None:
        """Set the steps and zero points of every precision to the least squared error on `values`.

        `values` is `(channels, ...)`, with as many channels as the quantizer was made for.
        """
        for quant in self.quants:
            shape = self.zero_point(quant).shape
            rows = values.detach().reshape(shape.numel(), -1)
            zero = zero_points(rows, quant)
            step = squared_error_steps(rows, quant, zero)
            with torch.no_grad():
                self.log_steps[_name(quant)].copy_(step.log().reshape(shape))
                self.zero_point(quant).copy_(zero.reshape(shape))
        self._bounds.clear()

    def _shaped(self, values: Tensor, quant: Quant, x: Tensor) -> Tensor:
        if not quant.per_channel:
            return values
        held = values[tuple(map(slice, x.shape[: values.dim()]))]
        return held.reshape(*held.shape, *(1,) * (x.dim() - held.dim()))

    def _bounds_of(self, quant: Quant, x: Tensor) -> Bounds:
        if quant.per_channel:
            return relative_bounds(quant, self.zero_points_of(x, quant))
        if quant not in self._bounds:
            self._bounds[quant] = relative_bounds(quant, self.zero_point(quant))
        return self._bounds[quant]


def _forget_bounds(quantizer: Quantizer, _: object) -> None:
    quantizer._bounds.clear()


def _name(quant: Quant) -> str:
    granularity = "PerChannel" if quant.per_channel else "PerTensor"
    symmetry = "symmetric" if quant.symmetric else "asymmetric"
    return f"{quant.bits}_{granularity}_{symmetry}"


def relative_bounds(quant: Quant, zero_point: Tensor) -> Bounds:
    """The lowest and the highest code less the zero point; numbers if there is one zero point."""
    low, high = quant.code_range
    if quant.symmetric:
        return float(low), float(high)
    if zero_point.numel() == 1:
        return float(low - int(zero_point)), float(high - int(zero_point))
    return (low - zero_point).float(), (high - zero_point).float()


def zero_points(rows: Tensor, quant: Quant) -> Tensor:
    """The integer zero point `(r,)` of every row of `(r, n)`, from the row's least and greatest."""
    low, high = quant.code_range
    if quant.symmetric:
        return torch.zeros(len(rows), dtype=torch.int32, device=rows.device)
    least, most = rows.amin(1).clamp_max(0.0), rows.amax(1).clamp_min(0.0)
    share = -least / (most - least).clamp_min(torch.finfo(rows.dtype).tiny)
    return (low + torch.round(share * (high - low))).to(torch.int32)


def squared_error_steps(rows: Tensor, quant: Quant, zero_point: Tensor) -> Tensor:
    """The steps `(r,)` with (nearly) the least squared error on every row of `rows` `(r, n)`.

    The search tries a geometric sequence of steps, beginning with the step that clips nothing.
    Alternating least squares then refine the best step: given the codes `q`, the best step is
    `sum(q * x) / sum(q * q)`, and no iteration raises the error.
    """
    bounds = relative_bounds(quant, zero_point.unsqueeze(1))
    best = best_steps(rows, bounds, _candidates(rows, bounds))
    for _ in range(_ROUNDS):
        codes = _clamp_(torch.round(rows / best.unsqueeze(1)), bounds)
        square = (codes * codes).sum(1)
        step = (codes * rows).sum(1) / square
        best = torch.where((square > 0) & (step > 0), step, best)
    return best


def _candidates(rows: Tensor, bounds: Bounds) -> Tensor:
    """The steps to try, `(candidates, r)`, in descending order from the step that clips nothing."""
    low, high = (torch.as_tensor(bound).to(rows).reshape(-1) for bound in bounds)
    positive = torch.where(high > 0, rows.amax(1) / high, 0.0)
    negative = torch.where(low < 0, rows.amin(1) / low, 0.0)
    whole = torch.maximum(positive, negative)
    # The range of a row of zeros is unknown, so the value one is assumed to be in the range.
    whole = torch.where(whole > 0, whole, 1.0 / torch.maximum(high, -low))
    shares = torch.logspace(0.0, math.log10(_SMALLEST_SHARE), _SEARCHED_STEPS)
    return shares.to(rows).unsqueeze(1) * whole


def best_steps(rows: Tensor, bounds: Bounds, candidates: Tensor) -> Tensor:
    """For each row of `(r, n)`, the first candidate of `(k, r)` with the least squared error."""
    best, least = candidates[0], torch.full_like(candidates[0], math.inf)
    for step in candidates:
        error = (Grid(step.unsqueeze(1), bounds).snap(rows) - rows).square_().sum(1)
        best, least = torch.where(error < least, step, best), torch.minimum(error, least)
    return best
