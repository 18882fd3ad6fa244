"""Operators that compute no new numbers."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import Concat, DepthToSpace, Flatten, Pad, Permute, Reshape, Shape, Slice
from search_spaces.ops.structure import Filling
from supernets.elastic.dispatch import Tensors, by_layer, compute, stock

compute.register(DepthToSpace, by_layer)
compute.register(Flatten, by_layer)
compute.register(Reshape, by_layer)


@stock.register
def _(op: Flatten, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.Flatten(1 + op.start)


@stock.register
def _(op: Reshape, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Unflatten(1, op.shape))


@stock.register
def _(op: DepthToSpace, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.PixelShuffle(op.block)


@compute.register
def _(op: Permute, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.permute(x[0], (0, *(axis + 1 for axis in op.order)))


@compute.register
def _(op: Concat, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.cat(x, 1 + op.axis)


@compute.register
def _(op: Slice, tensors: Tensors, *x: Tensor) -> Tensor:
    places = slice(op.start, op.stop, op.step)
    return x[0][(slice(None),) * (op.axis + 1) + (places,)]


_MODES: dict[Filling, str] = {"value": "constant", "reflect": "reflect", "edge": "replicate"}


@compute.register
def _(op: Pad, tensors: Tensors, *x: Tensor) -> Tensor:
    sides = [*zip(op.before, op.behind, strict=True)]
    lengths = [length for pair in reversed(sides) for length in pair]
    if op.mode == "value":
        return F.pad(x[0], lengths, value=op.value)
    while lengths and not any(lengths[-2:]):  # torch mirrors the last axes only
        del lengths[-2:]
    return F.pad(x[0], lengths, _MODES[op.mode])
