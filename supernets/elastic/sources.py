"""Sources."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import Image, Input, Shape
from supernets.elastic.dispatch import Tensors, compute, stock


@compute.register
def _(op: Input, tensors: Tensors, *x: Tensor) -> Tensor:
    return x[0]


@compute.register
def _(op: Image, tensors: Tensors, *x: Tensor) -> Tensor:
    size = (op.size, op.size)
    if x[0].shape[-2:] == size:
        return x[0]
    return F.interpolate(x[0], size, mode="bilinear")


@stock.register
def _(op: Image, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.Upsample((op.size, op.size), mode="bilinear")
