"""What every operator is to a supernet: its parameters, what it computes, its stock layer.

An operator adds one case to `compute`, and one to `stock` where torch has a layer for it. How
shared parameters become those of one subnet is the same for all of them and follows from the roles
of their axes: `corner` takes the first channels and the centre of windows.
"""

# ruff: noqa: ARG001  # every case of a dispatched function takes the same arguments

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Image,
    Input,
    Linear,
    Multiply,
    Op,
    Parameter,
    Shape,
)

Tensors = Mapping[str, Tensor]


def corner(shared: Tensor, parameter: Parameter) -> Tensor:
    """The part of `shared` that a subnet with this `parameter` uses, as a view.

    The first entries along output and input channels, the centre along the axes of a window.
    """
    axes = zip(shared.shape, parameter.shape, parameter.roles, strict=True)
    for axis, (whole, length, role) in enumerate(axes):
        if length != whole:
            start = (whole - length) // 2 if role == "window" else 0
            shared = shared.narrow(axis, start, length)
    return shared


def sliced(op: Op, shared: Tensors, *inputs: Shape) -> dict[str, Tensor]:
    """The parameters of a resolved `op` that reads `inputs`, as views into the `shared` ones."""
    return {name: corner(shared[name], part) for name, part in op.parameters(*inputs).items()}


@singledispatch
def compute(op: Op, tensors: Tensors, *x: Tensor) -> Tensor:
    """The output of a resolved operator for inputs `x` with a batch axis in front.

    Batch norm uses the statistics of the batch: those kept for a supernet would mean nothing.
    """
    raise NotImplementedError(f"{type(op).__name__} has no case of supernets.elastic.compute")


@singledispatch
def stock(op: Op, tensors: Tensors, *inputs: Shape) -> nn.Module | None:
    """The torch layer with the parameters `tensors`; None where `compute` is all there is."""
    return None


@singledispatch
def statistics(op: Op, layer: nn.Module) -> dict[str, Tensor]:
    """What calibration set in the stock `layer` of an operator, by the names that `stock` reads."""
    return {}


def filled(layer: nn.Module, tensors: Tensors) -> nn.Module:
    """`layer` with copies of `tensors`; made on the meta device, it draws no random numbers."""
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


@compute.register
def _(op: Conv2d, tensors: Tensors, *x: Tensor) -> Tensor:
    return F.conv2d(x[0], tensors["weight"], tensors.get("bias"), op.stride, padding=op.kernel // 2)


@stock.register
def _(op: Conv2d, tensors: Tensors, *inputs: Shape) -> nn.Module:
    shape = (inputs[0][0], op.out, op.kernel, op.stride, op.kernel // 2)
    return filled(nn.Conv2d(*shape, bias="bias" in tensors, device="meta"), tensors)


@compute.register
def _(op: DepthwiseConv2d, tensors: Tensors, *x: Tensor) -> Tensor:
    channels = x[0].shape[1]
    return F.conv2d(
        x[0], tensors["weight"], None, op.stride, padding=op.kernel // 2, groups=channels
    )


@stock.register
def _(op: DepthwiseConv2d, tensors: Tensors, *inputs: Shape) -> nn.Module:
    channels = inputs[0][0]
    shape = (channels, channels, op.kernel, op.stride, op.kernel // 2)
    bias = "bias" in tensors
    layer = nn.Conv2d(*shape, groups=channels, bias=bias, device="meta")
    return filled(layer, tensors)


@compute.register
def _(op: Linear, tensors: Tensors, *x: Tensor) -> Tensor:
    # Contiguous, since a strided weight takes another path through BLAS and other last bits.
    weight = tensors["weight"].flatten(1).contiguous()
    return F.linear(x[0].flatten(1), weight, tensors["bias"])


@stock.register
def _(op: Linear, tensors: Tensors, *inputs: Shape) -> nn.Module:
    flat = {"weight": tensors["weight"].flatten(1), "bias": tensors["bias"]}
    layer = filled(nn.Linear(flat["weight"].shape[1], op.out, device="meta"), flat)
    return layer if len(inputs[0]) == 1 else nn.Sequential(nn.Flatten(), layer)


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


_FUNCTIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
}
_LAYERS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
}


@compute.register
def _(op: Activation, tensors: Tensors, *x: Tensor) -> Tensor:
    return _FUNCTIONS[op.function](x[0])


@stock.register
def _(op: Activation, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return _LAYERS[op.function]()


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
