"""Operators that act on each number: nonlinearities, additions, products."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from search_spaces.ops import (
    Activation,
    Add,
    Clamp,
    LeakyReLU,
    Multiply,
    Nonlinearity,
    Scale,
    Shape,
)
from supernets.elastic.dispatch import Tensors, by_layer, compute, stock

compute.register(Activation, by_layer)
compute.register(LeakyReLU, by_layer)


_LAYERS: dict[Nonlinearity, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
}


@stock.register
def _(op: Activation, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return _LAYERS[op.function]()


@stock.register
def _(op: LeakyReLU, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.LeakyReLU(op.negative_slope)


@compute.register
def _(op: Clamp, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.clamp(x[0], op.low, op.high)


@compute.register
def _(op: Add, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.add(*x)


@compute.register
def _(op: Multiply, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.mul(*x)


@compute.register
def _(op: Scale, tensors: Tensors, *x: Tensor) -> Tensor:
    scaled = torch.mul(x[0], op.factor) if op.factor != 1 else x[0]
    return torch.add(scaled, op.shift) if op.shift or op.factor == 1 else scaled
