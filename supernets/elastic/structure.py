"""Operators that compute no new numbers."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.ops import Concat, DepthToSpace, Flatten, Permute, Reshape, Shape
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
    return torch.cat(x, 1)
