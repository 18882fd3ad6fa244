"""Normalizations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from search_spaces.ops import Affine, BatchNorm2d, GroupNorm, LayerNorm, Op, RMSNorm
from supernets.tracing.site import Site, constant, refused, rule
from supernets.tracing.values import Constant, Held, Value


@rule("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm")
def _(site: Site) -> Value:
    value = site["input"]
    names = ("running_mean", "running_var")
    mean, variance = (constant(site.given.get(name)) for name in names)
    if site.given.get("training") or mean is None or variance is None:
        raise refused(site, "normalizes by the batch, so that samples depend on each other")
    if not isinstance(value, Held):
        return None
    axis = site.axis(value, 1)
    if axis is None:
        return None
    count = site.sample(value)[axis]
    tensors = {
        "scale": site["weight"] or torch.ones(count),
        "shift": site["bias"] or torch.zeros(count),
        "mean": mean,
        "variance": variance,
    }
    before = site.build.op(value.address)
    folds = before.absorbs and before.channel_axis == axis == 0 and len(site.sample(value)) == 3
    epsilon = float(site["eps"])
    op: Op = BatchNorm2d(epsilon)
    if not folds:
        last = axis == len(site.sample(value)) - 1 and axis > 0
        op, tensors = (
            Affine(-1 if last or len(site.sample(value)) == 1 else axis),
            affine(tensors, epsilon),
        )
    address = site.add(op, value.address, word="norm", main=True, tensors=tensors)
    found = site.build.held(site.call, address, value.layout, value.called)
    return found if site.shape else [found, None, None]


def affine(held: dict[str, Any], epsilon: float) -> dict[str, Tensor]:
    """The factor and the shift of a batch norm, from its parameters and statistics."""
    plain = {
        name: (part.value if isinstance(part, Constant) else part).detach().double().cpu()
        for name, part in held.items()
    }
    factor = plain["scale"] / (plain["variance"] + epsilon).sqrt()
    return {"scale": factor.float(), "shift": (plain["shift"] - plain["mean"] * factor).float()}


@rule("_native_batch_norm_legit", "_native_batch_norm_legit_functional")
def _(site: Site) -> Value:
    # An instance norm has the batch among the channels, and no sample depends on another.
    if site["input"].layout.axis == 0:
        raise refused(site, "normalizes by the batch, so that samples depend on each other")
    return None


@rule("layer_norm", "native_layer_norm")
def _(site: Site) -> Value:
    value, over = site["input"], len(site["normalized_shape"])
    if not isinstance(value, Held) or value.layout.axis >= len(value.called) - over:
        return None
    return _over_last(site, value, LayerNorm(float(site["eps"])), over, ("scale", "shift"))


@rule("rms_norm")
def _(site: Site) -> Value:
    value, over = site["input"], len(site["normalized_shape"])
    if not isinstance(value, Held) or value.layout.axis >= len(value.called) - over:
        return None
    epsilon = site["eps"]
    op = RMSNorm(torch.finfo(torch.float32).eps if epsilon is None else float(epsilon))
    return _over_last(site, value, op, over, ("scale",))


def _over_last(site: Site, value: Held, op: Op, over: int, names: tuple[str, ...]) -> Value:
    """A norm over the last axes, which are one axis while the norm runs."""
    shape = site.sample(value)
    count = math.prod(shape[len(shape) - over :])
    tensors: dict[str, Tensor | Constant] = {}
    for name, given in (("scale", site["weight"]), ("shift", site.given.get("bias"))):
        if name not in names:
            continue
        if given is None:
            tensors[name] = torch.ones(count) if name == "scale" else torch.zeros(count)
        elif (held := constant(given)) is None:
            return None
        else:
            tensors[name] = held if over == 1 else held.value.reshape(-1)
    joined = (*shape[: len(shape) - over], count)
    address = site.build.reshaped(site.call, value.address, joined)
    address = site.add(op, address, word="norm", main=True, tensors=tensors)
    address = site.build.reshaped(site.call, address, shape)
    found = site.build.held(site.call, address, value.layout, value.called)
    return found if site.shape else [found, None, None]


@rule("group_norm", "native_group_norm")
def _(site: Site) -> Value:
    value = site.given.get("input")
    if not isinstance(value, Held) or not value.layout.is_plain or "num_groups" not in site.given:
        return None
    channels = site.sample(value)[0]
    if len(site.sample(value)) < 2:
        return None
    tensors = {
        "scale": site["weight"] or torch.ones(channels),
        "shift": site["bias"] or torch.zeros(channels),
    }
    op = GroupNorm(int(site["num_groups"]), float(site["eps"]))
    return site.like(value, site.add(op, value.address, word="norm", main=True, tensors=tensors))
