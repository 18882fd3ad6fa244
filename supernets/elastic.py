"""What every operator is to a supernet: its parameters, what it computes, its stock layer.

An operator adds one case to each of three functions. How shared parameters become those of one
subnet is the same for all of them: `corner` takes the first channels and the centre of kernels.
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
    Linear,
    Multiply,
    Op,
    Shape,
)

Tensors = Mapping[str, Tensor]

_CHANNEL_AXES = 2


def corner(shared: Tensor, shape: Shape) -> Tensor:
    """The part of `shared` that a subnet of this `shape` uses, as a view.

    The first entries along output and input channels, the centre along the kernel's axes.
    """
    for axis, (whole, length) in enumerate(zip(shared.shape, shape, strict=True)):
        if length != whole:
            start = 0 if axis < _CHANNEL_AXES else (whole - length) // 2
            shared = shared.narrow(axis, start, length)
    return shared


def sliced(op: Op, shared: Tensors, *inputs: Shape) -> dict[str, Tensor]:
    """The parameters of a resolved `op` that reads `inputs`, as views into the `shared` ones."""
    return {name: corner(shared[name], s) for name, s in parameter_shapes(op, *inputs).items()}


@singledispatch
def parameter_shapes(op: Op, *inputs: Shape) -> dict[str, Shape]:
    """The shapes of the parameters of a resolved operator, by name; `weight` is what is quantized.

    Output channels come first, input channels second, kernel axes last.
    """
    return {}


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


def filled(layer: nn.Module, tensors: Tensors) -> nn.Module:
    """`layer` with copies of `tensors`; made on the meta device, it draws no random numbers."""
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    layer.load_state_dict(copies, assign=True)
    return layer


@compute.register
def _(op: Image, tensors: Tensors, *x: Tensor) -> Tensor:
    size = (op.size, op.size)
    if x[0].shape[-2:] == size:
        return x[0]
    return F.interpolate(x[0], size, mode="bilinear")


@stock.register
def _(op: Image, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.Upsample((op.size, op.size), mode="bilinear")


@parameter_shapes.register
def _(op: Conv2d, *inputs: Shape) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {"weight": op.weight_shape(*inputs)}
    return {**shapes, "bias": (op.out,)} if op.bias else shapes


@compute.register
def _(op: Conv2d, tensors: Tensors, *x: Tensor) -> Tensor:
    return F.conv2d(x[0], tensors["weight"], tensors.get("bias"), op.stride, padding=op.kernel // 2)


@stock.register
def _(op: Conv2d, tensors: Tensors, *inputs: Shape) -> nn.Module:
    shape = (inputs[0][0], op.out, op.kernel, op.stride, op.kernel // 2)
    return filled(nn.Conv2d(*shape, bias="bias" in tensors, device="meta"), tensors)


@parameter_shapes.register
def _(op: DepthwiseConv2d, *inputs: Shape) -> dict[str, Shape]:
    return {"weight": op.weight_shape(*inputs)}


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


@parameter_shapes.register
def _(op: Linear, *inputs: Shape) -> dict[str, Shape]:
    # Not flattened here: channels are sliced before the rows run together.
    return {"weight": (op.out, *inputs[0]), "bias": (op.out,)}


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


@parameter_shapes.register
def _(op: BatchNorm2d, *inputs: Shape) -> dict[str, Shape]:
    return {"scale": inputs[0][:1], "shift": inputs[0][:1]}


@compute.register
def _(op: BatchNorm2d, tensors: Tensors, *x: Tensor) -> Tensor:
    return F.batch_norm(x[0], None, None, tensors["scale"], tensors["shift"], training=True)


@stock.register
def _(op: BatchNorm2d, tensors: Tensors, *inputs: Shape) -> nn.Module:
    # No momentum: statistics are the plain average over the calibration batches.
    layer = nn.BatchNorm2d(inputs[0][0], momentum=None, device=tensors["scale"].device)
    with torch.no_grad():
        layer.weight.copy_(tensors["scale"])
        layer.bias.copy_(tensors["shift"])
    return layer


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
