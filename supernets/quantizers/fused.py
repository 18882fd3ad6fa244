"""The passes of fake quantization to integers on a CPU, compiled from `fused.cpp`."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from search_spaces.formats import Format, Int
from supernets.compiled import library
from supernets.quantizers.passes import Levels
from supernets.rounding import Bound

_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64
# Rows, their length, steps, least and greatest codes, and whether each row has its own of these.
_LEVELS = (_COUNT, _COUNT, _POINTER, _POINTER, _POINTER, _COUNT)


class FusedPasses:
    """The passes of a library made from `fused.cpp`, for float32 and integers.

    The output and the gradient by `x` are bit-equal to those of torch's operators. The gradient by
    the steps is a sum in another order, which does not depend on the number of threads.
    """

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._forward = compiled.fake_quantize
        self._backward = compiled.fake_quantize_gradients
        self._forward.argtypes = (_POINTER, _POINTER, *_LEVELS, ctypes.c_int)
        self._backward.argtypes = (*4 * (_POINTER,), *_LEVELS, ctypes.c_float, ctypes.c_int)
        self._forward.restype = self._backward.restype = None

    def forward(self, x: Tensor, levels: Levels) -> Tensor:
        x = _without_gaps(x, levels.step)
        output, threads = torch.empty_like(x), torch.get_num_threads()
        self._forward(x.data_ptr(), output.data_ptr(), *_arguments(x, levels), threads)
        return output

    def backward(self, grad: Tensor, x: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
        x = _without_gaps(x, levels.step)
        if grad.stride() != x.stride():
            grad = torch.empty_like(x).copy_(grad)
        by_x, by_log = torch.empty_like(x), torch.empty_like(levels.step)
        tensors = (tensor.data_ptr() for tensor in (grad, x, by_x, by_log))
        reach, threads = levels.format.reach, torch.get_num_threads()
        self._backward(*tensors, *_arguments(x, levels), reach, threads)
        return by_x, by_log


def fused_passes(x: Tensor, number_format: Format) -> FusedPasses | None:
    """The compiled passes for a tensor whose gradient is wanted; None if torch's have to do.

    The library is compiled for a training only: a pass without gradients never waits for it.
    """
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and isinstance(number_format, Int)
    return compiled_passes() if fits and torch.is_grad_enabled() else None


@cache
def compiled_passes() -> FusedPasses | None:
    """The passes, compiled at the first call; None where `supernets.compiled` cannot compile."""
    compiled = library(Path(__file__).with_suffix(".cpp"))
    return None if compiled is None else FusedPasses(compiled)


def _without_gaps(x: Tensor, step: Tensor) -> Tensor:
    """`x` without gaps in memory, in any order of its axes unless there are rows."""
    if step.numel() > 1:
        return x.contiguous()
    made = torch.empty_like(x)  # keeps the order of axes, and leaves out gaps
    return x if made.stride() == x.stride() else made.copy_(x)


def _arguments(x: Tensor, levels: Levels) -> tuple[int, ...]:
    """The arguments `_LEVELS`; all tensors behind them outlive the call."""
    low, high = (_column(bound) for bound in levels.bounds)
    rows, own = levels.step.numel(), int(low.numel() > 1)
    pointers = (tensor.data_ptr() for tensor in (levels.step, low, high))
    return rows, x.numel() // rows, *pointers, own


def _column(bound: Bound) -> Tensor:
    return bound if isinstance(bound, Tensor) else _number(bound)


@cache
def _number(bound: float) -> Tensor:
    return torch.tensor([bound], dtype=torch.float32, device="cpu")
