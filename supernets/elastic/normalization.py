"""Normalizations."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import Affine, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm, Shape, Standardize
from supernets.elastic.dispatch import Tensors, compute, filled, statistics, stock
from supernets.elastic.shared_norm import shared_norm
from supernets.ranks import present


@compute.register
def _(op: BatchNorm2d, tensors: Tensors, *x: Tensor) -> Tensor:
    scale, shift, ranks = tensors["scale"], tensors["shift"], present()
    if not ranks.alone:
        return shared_norm(x[0], scale, shift, epsilon=op.epsilon, ranks=ranks)
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


@compute.register
def _(op: Affine, tensors: Tensors, *x: Tensor) -> Tensor:
    axis = op.channel_axis + (op.channel_axis >= 0)  # the batch is the first axis of a tensor
    last = x[0] if axis == -1 else torch.movedim(x[0], axis, -1)
    found = torch.add(torch.mul(last, tensors["scale"]), tensors["shift"])
    return found if axis == -1 else torch.movedim(found, -1, axis)


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
def _(op: RMSNorm, tensors: Tensors, *x: Tensor) -> Tensor:
    return F.rms_norm(x[0], tensors["scale"].shape, tensors["scale"], op.epsilon)


@stock.register
def _(op: RMSNorm, tensors: Tensors, *inputs: Shape) -> nn.Module:
    layer = nn.RMSNorm(inputs[0][-1], op.epsilon, device="meta")
    return filled(layer, {"weight": tensors["scale"]})


@compute.register
def _(op: GroupNorm, tensors: Tensors, *x: Tensor) -> Tensor:
    return F.group_norm(x[0], op.groups, tensors["scale"], tensors["shift"], op.epsilon)


@stock.register
def _(op: GroupNorm, tensors: Tensors, *inputs: Shape) -> nn.Module:
    layer = nn.GroupNorm(op.groups, inputs[0][0], op.epsilon, device="meta")
    return filled(layer, _affine(tensors))


@compute.register
def _(op: Standardize, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.div(torch.sub(x[0], tensors["mean"]), tensors["deviation"])
