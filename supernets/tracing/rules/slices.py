"""Calls that cut tensors into parts, put parts together, or add places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from search_spaces.ops import Concat, Pad
from search_spaces.ops.structure import Filling
from supernets.tracing.rules.elementwise import for_samples
from supernets.tracing.site import Site, refused, rule
from supernets.tracing.values import Constant, Held, Value

_LOWEST = torch.finfo(torch.float32).min


def part(site: Site, value: Held, dim: int, places: range) -> Held | None:
    """Some places along an axis of a call; None along the axis of the batch, unless all."""
    rank = len(value.called)
    if places == range(value.called[dim % rank]):
        return value
    axis = site.axis(value, dim)
    if axis is None or not len(places):
        return None
    address = site.build.cut(site.call, value.address, axis, places)
    called = [*value.called]
    called[dim % rank] = len(places)
    return site.build.held(site.call, address, value.layout, called)


@rule("slice")
def _(site: Site) -> Value:
    value, dim = site["self"], site["dim"]
    length = value.called[dim % len(value.called)]
    places = range(*slice(site["start"], site["end"], site["step"]).indices(length))
    return part(site, value, dim, places)


@rule("narrow")
def _(site: Site) -> Value:
    start = site["start"]
    return part(site, site["self"], site["dim"], range(start, start + site["length"]))


@rule("select")
def _(site: Site) -> Value:
    value, dim, index = site["self"], site["dim"], site["index"]
    rank = len(value.called)
    return _dropped(site, value, dim % rank, index % value.called[dim % rank])


def _dropped(site: Site, value: Held, dim: int, index: int) -> Held | None:
    """One place along an axis, without the axis."""
    if dim == value.layout.axis:
        return None
    found = part(site, value, dim, range(index, index + 1))
    if found is None:
        return None
    layout = replace(value.layout, axis=value.layout.axis - (dim < value.layout.axis))
    called = [*value.called[:dim], *value.called[dim + 1 :]]
    address = site.build.reshaped(site.call, found.address, layout.sample(called))
    return site.build.held(site.call, address, layout, called)


@rule("unbind")
def _(site: Site) -> Value:
    value = site["self"]
    dim = site["dim"] % len(value.called)
    found = [_dropped(site, value, dim, index) for index in range(value.called[dim])]
    return None if None in found else found


@rule("split", "split_with_sizes", "chunk")
def _(site: Site) -> Value:
    value = site["self"]
    dim = site["dim"] % len(value.called)
    length = value.called[dim]
    sizes = site.given.get("split_sizes", site.given.get("split_size"))
    if sizes is None:
        sizes = -(-length // site["chunks"])
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    pairs = zip(starts, sizes, strict=True)
    found = [part(site, value, dim, range(start, start + size)) for start, size in pairs]
    return None if None in found else found


@rule("cat", "stack")
def _(site: Site) -> Value:
    parts = site["tensors"]
    example = next(value for value in parts if isinstance(value, Held))
    rank, stacks = len(site.shape), site.call.name == "stack"
    dim = site["dim"] % rank
    if site.grown is None:
        return None
    before, behind = example.layout.before, example.layout.behind
    layout = replace(site.grown, before=before, behind=behind)
    if dim == layout.axis:
        return None
    reads = []
    for value in parts:
        called = [*site.shape]
        own = value.called if isinstance(value, Held) else value.value.shape
        called[dim] = 1 if stacks else own[dim]
        address = _operand(site, value, example, layout.sample(called))
        if address is None or (isinstance(value, Held) and value.layout != example.layout):
            return None
        reads.append(address)
    axis = layout.axes(rank)[dim][0]
    address = reads[0] if len(reads) == 1 else site.add(Concat(len(reads), None, axis), *reads)
    return site.build.held(site.call, address, layout, site.shape)


def _operand(site: Site, value: Held | Constant, example: Held, shape: Sequence[int]) -> str | None:
    """The address of a part in the given shape of a sample."""
    if isinstance(value, Held):
        return site.build.reshaped(site.call, value.address, tuple(shape))
    called = list(example.called)
    if value.value.dim() == len(called):
        for axis, length in enumerate(value.value.shape):
            called[axis] = called[axis] if axis == example.layout.axis else length
    found = for_samples(site, value, replace(example, called=tuple(called)))
    if found is None or not value.value.is_floating_point() or value.layout is None:
        return None
    return site.build.learned(site.call, value, found.reshape(tuple(shape)), example.address)


@rule("roll")
def _(site: Site) -> Value:
    value: Held | None = site["self"]
    shifts, dims = ([n] if isinstance(n, int) else n for n in (site["shifts"], site["dims"]))
    if not dims:
        return None
    for shift, dim in zip(shifts, dims, strict=True):
        assert value is not None
        length = value.called[dim]
        start = -shift % length
        if not start:
            continue
        ends = [part(site, value, dim, range(*where)) for where in ((start, length), (0, start))]
        axis = site.axis(value, dim)
        if axis is None or ends[0] is None or ends[1] is None:
            return None
        address = site.add(Concat(2, None, axis), ends[0].address, ends[1].address)
        value = site.build.held(site.call, address, value.layout, value.called)
    return value


_MODES: dict[str, Filling] = {"constant": "value", "reflect": "reflect", "replicate": "edge"}
_NAMED: dict[str, Filling] = {
    "constant_pad_nd": "value",
    "reflection_pad": "reflect",
    "replication_pad": "edge",
}


@rule("pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d", "reflection_pad1d")
def _(site: Site) -> Value:
    value, lengths = site["self"], site.given.get("pad", site.given.get("padding"))
    name = site.call.name
    own: list[Filling] = [mode for start, mode in _NAMED.items() if name.startswith(start)]
    mode = own[0] if own else _MODES.get(str(site["mode"]))
    rank = len(value.called)
    if mode is None or min(lengths) < 0:
        return None
    if not any(lengths):
        return value
    before, behind = [0] * len(site.sample(value)), [0] * len(site.sample(value))
    for number in range(len(lengths) // 2):
        pair = lengths[2 * number : 2 * number + 2]
        axis = site.axis(value, rank - 1 - number)
        if any(pair) and axis is None:
            raise refused(site, "adds places to the batch")
        if axis is not None:
            before[axis], behind[axis] = pair
    number = site.given.get("value") or 0.0
    op = Pad(tuple(before), tuple(behind), mode, max(float(number), _LOWEST))
    return site.like(value, site.add(op, value.address, main=True))
