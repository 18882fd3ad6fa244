"""Operators with a window over images: convolutions and poolings."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Convolution,
    GlobalPool,
    MaxPool2d,
    Mean,
    Pooling,
    Shape,
    Window,
)
from supernets.elastic.dispatch import Tensors, by_layer, compute, filled, stock

_LOWEST = torch.finfo(torch.float32).min
compute.register(Pooling, by_layer)


def _padded(window: Window, fill: float) -> nn.Module:
    """A layer that adds the padding of a window, before a layer that can only pad symmetrically."""
    top, left, bottom, right = window.padding
    return nn.ConstantPad2d((left, right, top, bottom), fill)


@compute.register
def _(op: Convolution, tensors: Tensors, *x: Tensor) -> Tensor:
    window, groups = op.window, op.groups_of(x[0].shape[1])
    image = x[0] if window.margins else _padded(window, 0.0)(x[0])
    weight, bias, margins = tensors["weight"], tensors.get("bias"), window.margins or (0, 0)
    return F.conv2d(image, weight, bias, window.stride, margins, window.dilation, groups)


@stock.register
def _(op: Convolution, tensors: Tensors, *inputs: Shape) -> nn.Module:
    window, channels = op.window, inputs[0][0]
    made = nn.Conv2d(
        *(channels, op.out_of(channels), window.kernel, window.stride, window.margins or (0, 0)),
        dilation=window.dilation,
        groups=op.groups_of(channels),
        bias="bias" in tensors,
        device="meta",
    )
    layer = filled(made, tensors)
    return layer if window.margins else nn.Sequential(_padded(window, 0.0), layer)


@compute.register
def _(op: GlobalPool, tensors: Tensors, *x: Tensor) -> Tensor:
    return x[0].mean((2, 3), keepdim=True)


@stock.register
def _(op: GlobalPool, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.AdaptiveAvgPool2d(1)


def _pooled(op: Pooling, kind: type[nn.MaxPool2d | nn.AvgPool2d], fill: float) -> nn.Module:
    """The layers of a pooling with any padding.

    Torch's own pooling layers pad opposite sides by the same length, at most half a window.
    """
    window, margins = op.window, op.window.margins
    if margins and all(2 * m <= k for m, k in zip(margins, window.kernel, strict=True)):
        return kind(window.kernel, window.stride, margins)
    return nn.Sequential(_padded(window, fill), kind(window.kernel, window.stride))


@stock.register
def _(op: MaxPool2d, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return _pooled(op, nn.MaxPool2d, _LOWEST)


@stock.register
def _(op: AvgPool2d, tensors: Tensors, *inputs: Shape) -> nn.Module | None:
    if op.counts_padding:
        return _pooled(op, nn.AvgPool2d, 0.0)
    window = op.window
    if window.margins is None:
        return None
    return nn.AvgPool2d(window.kernel, window.stride, window.margins, count_include_pad=False)


@compute.register
def _(op: AvgPool2d, tensors: Tensors, *x: Tensor) -> Tensor:
    if op.counts_padding or op.window.margins is not None:
        return by_layer(op, tensors, *x)
    # Torch pads opposite sides alike: a mean of zeros and numbers, over the share of numbers.
    whole = replace(op, counts_padding=True)
    share = by_layer(whole, tensors, torch.ones_like(x[0][:1, :1]))
    return torch.div(by_layer(whole, tensors, x[0]), share)


compute.register(AdaptiveAvgPool2d, by_layer)


@stock.register
def _(op: AdaptiveAvgPool2d, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.AdaptiveAvgPool2d(op.size)


@compute.register
def _(op: Mean, tensors: Tensors, *x: Tensor) -> Tensor:
    return x[0].mean(tuple(axis + 1 for axis in op.axes), keepdim=op.keeps)
