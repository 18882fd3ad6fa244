"""Fake quantization with learned steps: a float tensor on the grid that integers will live on.

The arithmetic is that of ONNX Runtime: divide by the step, round half to even, clamp to the codes,
multiply. Zero points are integers, so zero is a code. Bounds are kept relative to the zero point,
`lowest code - zero point` to `highest code - zero point`, and the zero point cancels everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.quant import Quant

# One number for the whole tensor, or a column `(channels, 1)` for tensors flattened to rows.
Bound = float | Tensor
Bounds = tuple[Bound, Bound]

_SEARCHED_STEPS = 24
_SMALLEST_SHARE = 0.05
_ROUNDS = 4


@dataclass(frozen=True)
class Grid:
    """The representable values `step * k` for integers `k` in `low..high`.

    `step` has one element, or one per channel shaped to broadcast over the tensor; so have the
    bounds where they differ between channels.
    """

    step: Tensor
    bounds: Bounds

    def snap(self, x: Tensor) -> Tensor:
        """The nearest representable values, ties to the even code."""
        return _clamp_(torch.round(x / self.step), self.bounds).mul_(self.step)

    def codes(self, x: Tensor) -> Tensor:
        """The integers `k`, relative to the zero point, of the nearest representable values."""
        return _clamp_(torch.round(x / self.step), self.bounds).to(torch.int32)


def _clamp_(x: Tensor, bounds: Bounds) -> Tensor:
    """Clamp in place; plain numbers are much the faster."""
    return torch.clamp_(x, *bounds)  # pyright: ignore[reportArgumentType, reportCallIssue]


class _FakeQuantize(torch.autograd.Function):
    """LSQ (Esser et al. 2020, eq. 1-5) in closed form: one elementwise pass and two dot products.

    With `v = x / step` and `y` the output, the step's gradient is `sum(g * y) / step` over all
    elements less `sum(g * v)` over those inside the bounds: inside that is LSQ's
    `round(v) - v`, outside it is the bound.
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
        # Handed to the logarithm over the step, so that plain descent moves the step as LSQ would.
        grad_log = grad_step / step / math.sqrt(elements * ctx.codes)
        return inside, grad_log, None, None


def _grad_inside(grad: Tensor, scaled: Tensor, low: Bound, high: Bound) -> Tensor:
    """The gradient where the code is not clamped, zero elsewhere."""
    if isinstance(low, float) and isinstance(high, float):
        return torch.ops.aten.hardtanh_backward(grad, scaled, low - 0.5, high + 0.5)
    return grad * ((scaled > low - 0.5) & (scaled < high + 0.5))


def _sum_to(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """The sum of `a * b` over the elements that share one element of `like`."""
    if like.numel() == 1:
        return torch.dot(a.reshape(-1), b.reshape(-1)).reshape(like.shape)
    return (a * b).flatten(1).sum(1).reshape(like.shape)


class Quantizer(nn.Module):
    """Fake quantization of one tensor under any of several precisions, each with its own steps.

    Steps are learned as logarithms, which keeps them positive and makes a learning rate a relative
    change at every bit-width; their gradient is LSQ's scaled by `1 / sqrt(elements * codes)`.
    All widths and depths of a layer share its steps; a narrower tensor uses the first of them.

    Args:
        quants: The precisions, resolved.
        channels: The largest number of output channels: as many steps where they are per channel.
    """

    def __init__(self, quants: Iterable[Quant], channels: int = 1) -> None:
        super().__init__()
        self.quants = tuple(quants)
        self.log_steps = nn.ParameterDict()
        for quant in self.quants:
            count = channels if quant.per_channel else 1
            self.log_steps[_name(quant)] = nn.Parameter(torch.zeros(count))
            self.register_buffer(f"zero_{_name(quant)}", torch.zeros(count, dtype=torch.int32))
        # Plain numbers, read from the buffers once: reading them in `forward` would halt a GPU.
        self._bounds: dict[Quant, Bounds] = {}
        self.register_load_state_dict_post_hook(_forget_bounds)

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        """`x` on the grid of `quant`, with gradients to `x` and to the steps."""
        log_step = self._shaped(self.log_steps[_name(quant)], quant, x)
        return _FakeQuantize.apply(x, log_step, self._bounds_of(quant, x), quant.code_range[1])  # pyright: ignore[reportReturnType]

    def grid(self, x: Tensor, quant: Quant) -> Grid:
        """The grid that `forward` puts `x` on."""
        log_step = self._shaped(self.log_steps[_name(quant)].detach(), quant, x)
        return Grid(log_step.exp(), self._bounds_of(quant, x))

    def scalar(self, quant: Quant) -> tuple[float, int]:
        """The one step and zero point of a per-tensor `quant`, as plain numbers."""
        return float(self.log_steps[_name(quant)].detach().exp()), int(self.zero_point(quant))

    def zero_point(self, quant: Quant) -> Tensor:
        """The integer zero points of `quant`, `(1,)` or `(channels,)`."""
        return self.get_buffer(f"zero_{_name(quant)}")

    def initialise(self, values: Tensor) -> None:
        """Set the steps and zero points of every precision to the least squared error on `values`.

        `values` has output channels first, as many as the quantizer was made for.
        """
        for quant in self.quants:
            per_channel = quant.per_channel
            rows = values.detach().flatten(1) if per_channel else values.detach().reshape(1, -1)
            zero = zero_points(rows, quant)
            step = squared_error_steps(rows, quant, zero)
            with torch.no_grad():
                self.log_steps[_name(quant)].copy_(step.log())
                self.zero_point(quant).copy_(zero)
        self._bounds.clear()

    def _shaped(self, values: Tensor, quant: Quant, x: Tensor) -> Tensor:
        if not quant.per_channel:
            return values
        return values[: len(x)].reshape(-1, *(1,) * (x.dim() - 1))

    def _bounds_of(self, quant: Quant, x: Tensor) -> Bounds:
        if quant.per_channel:
            return relative_bounds(quant, self._shaped(self.zero_point(quant), quant, x))
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
    """The lowest and the highest code relative to the zero point: numbers wherever there is one."""
    low, high = quant.code_range
    if quant.symmetric:
        return float(low), float(high)
    if zero_point.numel() == 1:
        return float(low - int(zero_point)), float(high - int(zero_point))
    return (low - zero_point).float(), (high - zero_point).float()


def zero_points(rows: Tensor, quant: Quant) -> Tensor:
    """The integer zero point of every row `(r, n)`: where zero lies between its extremes."""
    low, high = quant.code_range
    if quant.symmetric:
        return torch.zeros(len(rows), dtype=torch.int32, device=rows.device)
    least, most = rows.amin(1).clamp_max(0.0), rows.amax(1).clamp_min(0.0)
    share = -least / (most - least).clamp_min(torch.finfo(rows.dtype).tiny)
    return (low + torch.round(share * (high - low))).to(torch.int32)


def squared_error_steps(rows: Tensor, quant: Quant, zero_point: Tensor) -> Tensor:
    """The steps `(r,)` with (nearly) the least squared error on every row of `rows` `(r, n)`.

    A geometric grid below the step that clips nothing, then alternating least squares: given its
    codes `q`, the best step is `sum(q * x) / sum(q * q)`, which never raises the error.
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
    """Steps to try, `(candidates, r)`, from the one that clips nothing downwards."""
    low, high = (torch.as_tensor(bound).to(rows).reshape(-1) for bound in bounds)
    positive = torch.where(high > 0, rows.amax(1) / high, 0.0)
    negative = torch.where(low < 0, rows.amin(1) / low, 0.0)
    whole = torch.maximum(positive, negative)
    # A row of zeros says nothing about its range: assume one.
    whole = torch.where(whole > 0, whole, 1.0 / torch.maximum(high, -low))
    shares = torch.logspace(0.0, math.log10(_SMALLEST_SHARE), _SEARCHED_STEPS)
    return shares.to(rows).unsqueeze(1) * whole


def best_steps(rows: Tensor, bounds: Bounds, candidates: Tensor) -> Tensor:
    """Per row of `(r, n)`, the first of its `candidates` `(k, r)` with the least squared error."""
    best, least = candidates[0], torch.full_like(candidates[0], math.inf)
    for step in candidates:
        error = (Grid(step.unsqueeze(1), bounds).snap(rows) - rows).square_().sum(1)
        best, least = torch.where(error < least, step, best), torch.minimum(error, least)
    return best
