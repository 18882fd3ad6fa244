"""Operators in torch: the slices of shared parameters, the computation, and the stock layer.

A new operator adds a case to `compute`, and a case to `stock` if torch has a layer for the
operator. The part of a shared parameter that a subnet uses follows from the roles of its axes:
`corner` takes the first channels and the centre of a window.
"""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Convolution,
    Flatten,
    GlobalPool,
    GroupNorm,
    Image,
    Input,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Multiply,
    Nonlinearity,
    Op,
    Parameter,
    Permute,
    Pooling,
    Reshape,
    Shape,
    Window,
)

Tensors = Mapping[str, Tensor]


def corner(shared: Tensor, parameter: Parameter) -> Tensor:
    """The part of the tensor `shared` that a subnet with this `parameter` uses, as a view.

    The part has the first entries along output and input channels, and the centre along the axes
    of a window.
    """
    axes = zip(shared.shape, parameter.shape, parameter.roles, strict=True)
    for axis, (whole, length, role) in enumerate(axes):
        if length != whole:
            start = (whole - length) // 2 if role == "window" else 0
            shared = shared.narrow(axis, start, length)
    return shared


def sliced(op: Op, shared: Tensors, *inputs: Shape) -> dict[str, Tensor]:
    """The parameters of a resolved `op` with these `inputs`, as views of the `shared` tensors."""
    return {name: corner(shared[name], part) for name, part in op.parameters(*inputs).items()}


@singledispatch
def compute(op: Op, tensors: Tensors, *x: Tensor) -> Tensor:
    """The output of a resolved operator for inputs `x`, whose first axis is the batch.

    Batch norm uses the statistics of the batch, since subnets have no statistics in common.
    """
    raise NotImplementedError(f"{type(op).__name__} has no case of supernets.elastic.compute")


@singledispatch
def stock(op: Op, tensors: Tensors, *inputs: Shape) -> nn.Module | None:
    """The torch layer of a resolved operator with copies of `tensors`; None if torch has none."""
    return None


@singledispatch
def statistics(op: Op, layer: nn.Module) -> dict[str, Tensor]:
    """The statistics that calibration set in a stock `layer`, by the names that `stock` reads."""
    return {}


def filled(layer: nn.Module, tensors: Tensors) -> nn.Module:
    """`layer` with copies of `tensors` as its parameters.

    The layer is made on torch's meta device, where no random numbers are drawn.
    """
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    layer.load_state_dict(copies, assign=True)
    return layer


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


_LOWEST = torch.finfo(torch.float32).min


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
def _(op: Linear, tensors: Tensors, *x: Tensor) -> Tensor:
    # Contiguous, since a strided weight takes another path through BLAS and other last bits.
    return F.linear(x[0], tensors["weight"].contiguous(), tensors["bias"])


@stock.register
def _(op: Linear, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return filled(nn.Linear(inputs[0][-1], op.out, device="meta"), tensors)


@compute.register
def _(op: BatchNorm2d, tensors: Tensors, *x: Tensor) -> Tensor:
    scale, shift = tensors["scale"], tensors["shift"]
    return F.batch_norm(x[0], None, None, scale, shift, training=True, eps=op.epsilon)


@stock.register
def _(op: BatchNorm2d, tensors: Tensors, *inputs: Shape) -> nn.Module:
    # No momentum: statistics are the plain average over the calibration batches.
    device = tensors["scale"].device
    layer = nn.BatchNorm2d(inputs[0][0], eps=op.epsilon, momentum=None, device=device)
    held = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}
    with torch.no_grad():
        for theirs, ours in held.items():
            if ours in tensors:
                getattr(layer, theirs).copy_(tensors[ours])
    return layer


@statistics.register
def _(op: BatchNorm2d, layer: nn.Module) -> dict[str, Tensor]:
    return {"mean": layer.get_buffer("running_mean"), "variance": layer.get_buffer("running_var")}


def _affine(tensors: Tensors) -> dict[str, Tensor]:
    """The scale and the shift of a norm, by the names that torch's norms use."""
    return {"weight": tensors["scale"], "bias": tensors["shift"]}


@compute.register
def _(op: LayerNorm, tensors: Tensors, *x: Tensor) -> Tensor:
    scale, shift = tensors["scale"], tensors["shift"]
    return F.layer_norm(x[0], scale.shape, scale, shift, op.epsilon)


@stock.register
def _(op: LayerNorm, tensors: Tensors, *inputs: Shape) -> nn.Module:
    layer = nn.LayerNorm(inputs[0][-1], op.epsilon, device="meta")
    return filled(layer, _affine(tensors))


@compute.register
def _(op: GroupNorm, tensors: Tensors, *x: Tensor) -> Tensor:
    return F.group_norm(x[0], op.groups, tensors["scale"], tensors["shift"], op.epsilon)


@stock.register
def _(op: GroupNorm, tensors: Tensors, *inputs: Shape) -> nn.Module:
    layer = nn.GroupNorm(op.groups, inputs[0][0], op.epsilon, device="meta")
    return filled(layer, _affine(tensors))


_LAYERS: dict[Nonlinearity, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


@stock.register
def _(op: Activation, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return _LAYERS[op.function]()


@stock.register
def _(op: LeakyReLU, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.LeakyReLU(op.negative_slope)


@compute.register
def _(op: Add, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.add(*x)


@compute.register
def _(op: Multiply, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.mul(*x)


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
def _(op: AvgPool2d, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return _pooled(op, nn.AvgPool2d, 0.0)


@stock.register
def _(op: Flatten, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.Flatten(1 + op.start)


@stock.register
def _(op: Reshape, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Unflatten(1, op.shape))


@lru_cache(maxsize=1024)
def _layer(op: Op) -> nn.Module:
    """The stock layer of an operator without parameters, cached since the layer has no state."""
    layer = stock(op, {})
    assert layer is not None
    return layer


@compute.register
def _(op: Activation | LeakyReLU | Pooling | Flatten | Reshape, _: Tensors, *x: Tensor) -> Tensor:
    return _layer(op)(x[0])


@compute.register
def _(op: Permute, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.permute(x[0], (0, *(axis + 1 for axis in op.order)))


@compute.register
def _(op: Concat, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.cat(x, 1)
