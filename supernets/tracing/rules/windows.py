"""Convolutions and poolings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from search_spaces.ops import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    DepthToSpace,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    MaxPool2d,
    Mean,
    MeanTokens,
    Op,
    Pad,
    Resize,
    Scale,
)
from supernets.tracing.site import Site, constant, pair_of, rule
from supernets.tracing.values import Held, Value

_LOWEST = torch.finfo(torch.float32).min
Sides = tuple[int, int, int, int]


@rule("conv2d", "convolution", "conv1d")
def _(site: Site) -> Value:
    rank = len(site.shape) - 2
    weight, bias = constant(site["weight"]), site["bias"]
    value = site.image(site["input"], rank + 1)
    if rank not in (1, 2) or value is None or weight is None or site.given.get("transposed"):
        return None
    if bias is not None and constant(bias) is None:
        return None
    kernel = tuple(weight.value.shape[2:])
    stride, dilation = (_flat(site[name], rank, 1) for name in ("stride", "dilation"))
    sides = _sides(site["padding"], kernel, dilation, rank)
    address, sides = _unpadded(site, value.address, sides, fill=0.0)
    out, groups = weight.value.shape[0], int(site["groups"])
    lengths: dict[str, Any] = {"stride": stride, "padding": sides, "dilation": dilation}
    channels = site.build.shapes[address][0]
    lengths["bias"] = bias is not None
    if groups == channels == out > 1:
        op: Conv2d | DepthwiseConv2d = DepthwiseConv2d(pair_of((1, *kernel)[-2:]), **lengths)
    else:
        op = Conv2d(out, pair_of((1, *kernel)[-2:]), groups=groups, **lengths)
    op = replace(op.canonical(), bias=bias is not None)
    held = weight if rank == 2 else replace(weight, value=weight.value.unsqueeze(2))
    tensors = {"weight": held} | ({} if bias is None else {"bias": bias})
    shape = site.build.shapes[address]
    address = site.build.reshaped(site.call, address, (shape[0], *(1, *shape[1:])[-2:]))
    address = site.add(op, address, main=True, word="conv", tensors=tensors)
    return site.like(value, site.build.reshaped(site.call, address, site.shape[1:]))


def _flat(lengths: Any, rank: int, ahead: int) -> tuple[int, int]:
    """The lengths along both sides; those of a convolution over one side have `ahead` before."""
    whole = [lengths] * rank if isinstance(lengths, int) else [*lengths]
    whole = whole * rank if len(whole) == 1 else whole
    return (ahead, whole[0]) if rank == 1 else (whole[0], whole[1])


def _sides(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, int], rank: int) -> Sides:
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        pairs = zip((1, *kernel)[-2:], dilation, strict=True)
        high, wide = (step * (length - 1) for length, step in pairs)
        return (high // 2, wide // 2, high - high // 2, wide - wide // 2)
    along, across = _flat(padding, rank, 0)
    return (along, across, along, across)


def _unpadded(site: Site, address: str, sides: Sides, *, fill: float) -> tuple[str, Sides]:
    """The node before a padding that the window of the next operator can add itself."""
    op = site.build.op(address)
    if not isinstance(op, Pad) or len(op.before) != 3 or op.before[0] or op.behind[0]:
        return address, sides
    if op.mode != "value" or op.value != fill or any(sides):
        return address, sides
    return site.build.source(address), (*pair_of(op.before[1:]), *pair_of(op.behind[1:]))


@rule("max_pool2d", "max_pool2d_with_indices")
def _(site: Site) -> Value:
    value = site.image(site.given.get("self", site.given.get("input")))
    if value is None or pair_of(site["dilation"]) != (1, 1):
        return None
    kernel, stride = pair_of(site["kernel_size"]), pair_of(site["stride"] or site["kernel_size"])
    margins = pair_of(site["padding"])
    address, sides = _unpadded(site, value.address, (*margins, *margins), fill=_LOWEST)
    sides = _reached(site.build.shapes[address], kernel, stride, sides, site.shape)
    op = MaxPool2d(kernel, stride, sides).canonical()
    return site.like(value, site.add(op, address, main=True))


@rule("avg_pool2d")
def _(site: Site) -> Value:
    value = site.image(site["self"])
    if value is None or site["divisor_override"] is not None:
        return None
    kernel, stride = pair_of(site["kernel_size"]), pair_of(site["stride"] or site["kernel_size"])
    margins = pair_of(site["padding"])
    padded = (*margins, *margins)
    sides = _reached(site.sample(value), kernel, stride, padded, site.shape)
    counts = bool(site["count_include_pad"])
    if sides != padded and counts and any(padded):
        return None  # torch counts the padding, but not what lies beyond
    counts = not any(sides) or (counts and sides == padded)
    op = replace(AvgPool2d(kernel, stride, sides).canonical(), counts_padding=counts)
    return site.like(value, site.add(op, value.address, main=True))


def _reached(shape: Any, kernel: Any, stride: Any, sides: Sides, called: Any) -> Sides:
    """The padding with what the last windows reach beyond it, where lengths are rounded up."""
    top, left, bottom, right = sides
    more = [
        max(0, (called[axis] - 1) * stride[axis] + kernel[axis] - shape[axis] - ahead - behind)
        for axis, ahead, behind in ((-2, top, bottom), (-1, left, right))
    ]
    return top, left, bottom + more[0], right + more[1]


@rule("adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool1d")
def _(site: Site) -> Value:
    given = site["self"]
    if (line := site.image(given, 2)) is not None and site.shape[2:] == (1,):
        return site.like(line, site.add(Mean((1,), keeps=True), line.address, main=True))
    value = site.image(given)
    if value is None:
        return None
    before, size = pair_of(site.sample(value)[1:]), pair_of(site.shape[2:])
    if before == size:
        return value
    op: Op = AdaptiveAvgPool2d(size).canonical()
    if size == (1, 1):
        op = GlobalPool()
    elif not any(length % wanted for length, wanted in zip(before, size, strict=True)):
        window = (before[0] // size[0], before[1] // size[1])
        op = AvgPool2d(window, window).canonical()
    return site.like(value, site.add(op, value.address, main=True))


@rule("adaptive_max_pool2d")
def _(site: Site) -> Value:
    value = site.image(site["self"])
    if value is None or pair_of(site["output_size"]) != (1, 1):
        return None
    whole = pair_of(site.sample(value)[1:])
    op = MaxPool2d(whole, whole).canonical()
    address = site.add(op, value.address, main=True)
    return [site.build.held(site.call, address, value.layout, (*value.called[:2], 1, 1)), None]


@rule("mean")
def _(site: Site) -> Value:
    value = site["self"]
    if not isinstance(value, Held) or not site.given.get("dim") or site.given.get("dtype"):
        return None
    return averaged(site, value)


@rule("sum")
def _(site: Site) -> Value:
    value = site["self"]
    if not isinstance(value, Held) or not site.given.get("dim") or site.given.get("dtype"):
        return None
    found = averaged(site, value)
    if not isinstance(found, Held):
        return None
    count = math.prod(value.called) // math.prod(found.called)
    return replace(found, address=site.add(Scale(float(count)), found.address))


def averaged(site: Site, value: Held) -> Value:
    """The mean over some axes, by the operator that names them best."""
    dims: list[int] = site["dim"]
    rank, axes = len(value.called), [site.axis(value, axis) for axis in dims]
    if None in axes or site.grown is None:
        return None
    over, keeps = tuple(sorted(axis for axis in axes if axis is not None)), bool(site["keepdim"])
    shape = site.sample(value)
    if len(shape) == 3 and over == (1, 2):
        address = site.add(GlobalPool(), value.address, word="mean")
        address = address if keeps else site.add(Flatten(), address)
    elif len(shape) == 2 and over == (0,) and not keeps:
        address = site.add(MeanTokens(), value.address, word="mean")
    else:
        address = site.add(Mean(over, keeps), value.address)
    gone = 0 if keeps else sum(axis % rank < value.layout.axis for axis in dims)
    layout = replace(value.layout, axis=value.layout.axis - gone)
    return site.build.held(site.call, address, layout, site.shape)


@rule("pixel_shuffle")
def _(site: Site) -> Value:
    value = site.image(site["self"])
    if value is None or site["upscale_factor"] < 2:
        return None
    op = DepthToSpace(site["upscale_factor"])
    return site.like(value, site.add(op, value.address, main=True))


@rule("upsample_bilinear2d")
def _(site: Site) -> Value:
    value = site.image(site.given.get("input", site.given.get("self")))
    if value is None or site["align_corners"]:
        return None
    return site.like(
        value, site.add(Resize(pair_of(site.shape[2:])).canonical(), value.address, main=True)
    )
