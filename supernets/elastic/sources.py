"""Operators that stand right behind inputs."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import Resize, Shape
from supernets.elastic.dispatch import Tensors, compute, stock


@compute.register
def _(op: Resize, tensors: Tensors, *x: Tensor) -> Tensor:
    size = op.infer(tuple(x[0].shape[1:]))[1:]
    return x[0] if x[0].shape[2:] == size else F.interpolate(x[0], size, mode="bilinear")


@stock.register
def _(op: Resize, tensors: Tensors, *inputs: Shape) -> nn.Module:
    shape = op.infer(*inputs)
    return nn.Identity() if shape == inputs[0] else nn.Upsample(shape[1:], mode="bilinear")
