"""Calls that only look at a tensor in another shape, or do nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from supernets.tracing.site import Site, refused, rule
from supernets.tracing.values import Held, Value


@rule("clone", "alias", "detach", "contiguous", "dropout", "lift_fresh_copy", "feature_dropout")
def _(site: Site) -> Value:
    value = site.given.get("self", site.given.get("input"))
    if site.given.get("train"):
        raise refused(site, "draws random numbers; call model.eval()")
    return value if isinstance(value, Held) else None


@rule("_to_copy", "to")
def _(site: Site) -> Value:
    value = site["self"]
    dtype = site.given.get("dtype")
    return value if isinstance(value, Held) and dtype in (None, value.dtype) else None


@rule("copy")
def _(site: Site) -> Value:
    value = site["src"]
    return value if isinstance(value, Held) and value.called == site.shape else None


@rule("view", "reshape", "_unsafe_view", "flatten", "unsqueeze", "squeeze", "unflatten")
def view(site: Site) -> Value:
    """The same numbers in another shape."""
    value = site["self"]
    found = site.seen(value, value.address) if isinstance(value, Held) else None
    if found is None:
        raise refused(site, "joins samples with other places, so that no sample is on its own")
    return found


@rule("expand")
def _(site: Site) -> Value:
    value = site["self"]
    return view(site) if isinstance(value, Held) and _same_numbers(site, value) else None


def _same_numbers(site: Site, value: Held) -> bool:
    return torch.Size(value.called).numel() == torch.Size(site.shape).numel()


@rule("permute")
def _(site: Site) -> Value:
    value = site["self"]
    return _permuted(site, value, [axis % len(value.called) for axis in site["dims"]])


@rule("transpose", "swapaxes")
def _(site: Site) -> Value:
    value = site["self"]
    rank = len(value.called)
    first, second = site["dim0"] % rank, site["dim1"] % rank
    order = [*range(rank)]
    order[first], order[second] = second, first
    return _permuted(site, value, order)


@rule("t", "numpy_T")
def _(site: Site) -> Value:
    value = site["self"]
    return _permuted(site, value, [*reversed(range(len(value.called)))])


@rule("movedim", "moveaxis")
def _(site: Site) -> Value:
    value = site["self"]
    known = torch.empty(*range(len(value.called)))  # axis i has the length i
    return _permuted(site, value, [*known.movedim(site["source"], site["destination"]).shape])


def _permuted(site: Site, value: Held, order: list[int]) -> Value:
    axes = value.layout.axes(len(value.called))
    ours = [axis for called in order for axis in axes[called]]
    layout = replace(value.layout, axis=order.index(value.layout.axis))
    address = site.build.permuted(site.call, value.address, ours)
    return site.build.held(site.call, address, layout, [value.called[axis] for axis in order])
