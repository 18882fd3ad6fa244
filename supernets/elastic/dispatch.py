"""The dispatched functions: how an operator's parameters are sliced, computed and made a layer."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, singledispatch

import torch
from torch import Tensor, nn

from search_spaces.ops import Op, Parameter, Role, Shape
from search_spaces.runs import Runs

Tensors = Mapping[str, Tensor]
EVEN: Mapping[Role, Runs] = {}


def corner(shared: Tensor, parameter: Parameter, runs: Mapping[Role, Runs] = EVEN) -> Tensor:
    """The part of the tensor `shared` that a subnet with this `parameter` uses.

    The part has the first entries along output and input channels, and the centre along the axes
    of a window. A tensor may have products, such as heads times features, as single axes.

    Args:
        shared: The tensor of the widest subnet.
        parameter: What the subnet needs.
        runs: The runs along axes of a role, of each of which the part has the first entries. The
            part is a view where there are none.
    """
    if shared.dim() != len(parameter.shape):
        shared = shared.view(parameter.factored(tuple(shared.shape)))
    axes = zip(shared.shape, parameter.shape, parameter.roles, strict=True)
    for axis, (whole, length, role) in enumerate(axes):
        if length != whole:
            held = runs.get(role, ())
            if tuple(map(sum, zip(*held, strict=True))) == (length, whole):
                shared = first_of_runs(shared, axis, held)
            else:
                start = (whole - length) // 2 if role == "window" else 0
                shared = shared.narrow(axis, start, length)
    return shared


def first_of_runs(tensor: Tensor, axis: int, runs: Runs) -> Tensor:
    """The first places of each run along an axis of a tensor that has all of them."""
    parts = tensor.split([whole for _, whole in runs], axis)
    return torch.cat(
        [part.narrow(axis, 0, n) for part, (n, _) in zip(parts, runs, strict=True)], axis
    )


def sliced(op: Op, shared: Tensors, *inputs: Shape, runs: Runs | None = None) -> dict[str, Tensor]:
    """The parameters of a resolved `op`, of which those that are not cut by runs are views.

    Args:
        op: The operator.
        shared: The parameters of the widest subnet.
        inputs: The shapes of the inputs.
        runs: The runs of channels along the first axis of the first input, where it has several.
    """
    roles: dict[Role, Runs] = {}
    if runs is not None and op.channel_axis % len(inputs[0]) == 0:
        roles = {"in": runs, "out": runs} if op.channelwise else {"in": runs}
    return {name: corner(shared[name], p, roles) for name, p in op.parameters(*inputs).items()}


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


def layer_of(op: Op, tensors: Tensors, *inputs: Shape) -> nn.Module | None:
    """The layer that holds copies of `tensors` for a resolved operator; None if there are none.

    The layer is bare (`is_bare`) where torch has no layer for an operator with parameters.
    """
    layer = stock(op, tensors, *inputs)
    if layer is not None or not tensors:
        return layer
    layer = nn.Module()
    for name, tensor in tensors.items():
        layer.register_parameter(name, nn.Parameter(tensor.detach().clone()))
    return layer


def is_bare(layer: nn.Module) -> bool:
    """Whether a layer only holds parameters, with which `compute` runs the operator."""
    return type(layer) is nn.Module


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


@lru_cache(maxsize=1024)
def _layer(op: Op) -> nn.Module:
    """The stock layer of an operator without parameters, cached since the layer has no state."""
    layer = stock(op, {})
    assert layer is not None
    return layer


def by_layer(op: Op, _: Tensors, *x: Tensor) -> Tensor:
    """The case of `compute` for an operator without parameters whose `stock` has a layer."""
    return _layer(op)(x[0])
