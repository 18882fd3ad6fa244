"""How operators hand on channels: the label of every number of an output, from those of inputs.

Labels of a tensor are an integer array with as many axes as the tensor; an axis along which all
labels are equal may have the length 1.

An operator needs a case of `follow` only if its facts do not say enough: an operator that is
`channelwise` or sums over all channels is followed without one. The channels of any other operator
have to stay, with a reason.
"""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from search_spaces.ops import (
    Concat,
    Conv2d,
    DepthToSpace,
    Embedding,
    Flatten,
    GroupNorm,
    Input,
    LayerNorm,
    Learned,
    MatMul,
    Mean,
    MeanTokens,
    MergeHeads,
    Op,
    Pad,
    Permute,
    PositionalEmbedding,
    Reshape,
    RMSNorm,
    Shape,
    Slice,
    Softmax,
    SplitHeads,
)
from search_spaces.units import Labels, Site


@singledispatch
def follow(op: Op, site: Site) -> Labels | None:
    """The labels of the output of a node; merges and notes labels on the way.

    None is given for constants, which have the labels of the tensor that they are combined with.
    """
    if op.channelwise:
        return _channelwise(op, site)
    if op.sums_all_channels:
        read = site.channels(op.channel_axis)
        made = site.made()
        site.parameters(read=read, given=made)
        site.count("out", made)
        return site.laid(made, op.channel_axis)
    return site.stay(f"the way of channels through {type(op).__name__} {site.address!r} is unknown")


def _channelwise(op: Op, site: Site) -> Labels:
    shapes = [read.shape for read in site.reads]
    alike = [_fits(shape, site.shape) for shape in shapes]
    if all(alike) and not op.parameters(*shapes):
        return _number_by_number(site)
    return _per_channel(op, site)


def _fits(shape: Shape, whole: Shape) -> bool:
    """Whether a tensor can be repeated along axes of length 1 to have the shape `whole`."""
    pairs = zip(shape, whole, strict=False)
    return len(shape) == len(whole) and all(a in (1, b) for a, b in pairs)


def _number_by_number(site: Site) -> Labels:
    """The labels of tensors that are combined number by number, which are merged."""
    known = [read for read in site.reads if read.labels is not None] or [*site.reads]
    forms = zip(*(read.given.shape for read in known), strict=True)
    varying = [axis for axis, lengths in enumerate(forms) if max(lengths) > 1]
    # A tensor that is repeated along the channels belongs to none of them.
    own = [read for read in known if all(read.shape[axis] == site.shape[axis] for axis in varying)]
    labels = own[0].given if own else site.stay(f"{site.address!r} repeats them")
    for read in own[1:]:
        site.units.merge(labels, read.given)
        labels, _ = np.broadcast_arrays(labels, read.given)
    for read in site.reads:
        if read.labels is None:
            read.adopt(labels)
    return labels


def _per_channel(op: Op, site: Site) -> Labels:
    labels = site.channels(op.channel_axis)
    for position in range(1, len(site.reads)):
        site.units.merge(labels, site.channels(op.channel_axis, position))
    site.parameters(given=labels)
    return site.laid(labels, op.channel_axis)


def _compact(labels: Labels) -> Labels:
    """The labels with length 1 along every axis on which all labels are equal."""
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        if labels.shape[axis] > 1 and (labels == first).all():
            labels = first
    return labels


@follow.register
def _(op: Input, site: Site) -> Labels:
    return site.stay("they are an input of the network")


@follow.register
def _(op: Conv2d, site: Site) -> Labels:
    read, made = site.channels(0), site.made()
    site.parameters(read=read, given=made)
    site.count("out", made)
    if op.groups > 1:
        _whole_groups(site, op.groups, read, made)
    return site.laid(made, 0)


@follow.register
def _(op: GroupNorm, site: Site) -> Labels:
    labels = site.channels(0)
    site.parameters(given=labels)
    if op.groups > 1:
        _whole_groups(site, op.groups, labels)
    return site.laid(labels, 0)


def _whole_groups(site: Site, groups: int, *channels: Labels) -> None:
    """Tie all channels of each group, so that groups stay or go as a whole."""
    rows = np.concatenate([labels.reshape(groups, -1) for labels in channels], axis=1)
    for row in rows:
        site.units.tie(row, "groups")
    site.count("groups", rows[:, 0])


@follow.register(LayerNorm)
@follow.register(RMSNorm)
@follow.register(MeanTokens)
def _(op: Op, site: Site) -> Labels:
    return _per_channel(op, site)


@follow.register
def _(op: PositionalEmbedding, site: Site) -> Labels:
    labels = site.channels(-1)
    site.note("positions", labels, 1)
    return site.laid(labels, -1)


@follow.register
def _(op: Embedding, site: Site) -> Labels:
    made = site.made()
    site.parameters(given=made)
    site.count("out", made)
    return site.laid(made, -1)


@follow.register
def _(op: Concat, site: Site) -> Labels:
    known = [read.given for read in site.reads if read.labels is not None]
    if known and known[0].shape[op.axis] == 1:  # not along the channels
        for read in site.reads:
            if read.labels is None:
                read.adopt(known[0])
    reads = [np.moveaxis(read.given, op.axis, 0) for read in site.reads]
    places = np.broadcast_shapes(*(labels.shape[1:] for labels in reads))
    wide = [
        np.broadcast_to(labels, (read.shape[op.axis], *places))
        for labels, read in zip(reads, site.reads, strict=True)
    ]
    return _compact(np.moveaxis(np.concatenate(wide), 0, op.axis))


@follow.register
def _(op: Learned, site: Site) -> None:
    """The labels of constants, which are not known yet."""


@follow.register
def _(op: Mean, site: Site) -> Labels:
    labels = site.reads[0].given
    if any(labels.shape[axis] > 1 for axis in op.axes):
        return site.stay(f"{site.address!r} takes the mean over them")
    return labels if op.keeps else labels.squeeze(op.axes)


@follow.register
def _(op: Slice, site: Site) -> Labels:
    labels = site.reads[0].given
    if labels.shape[op.axis] == 1:
        return labels
    along = np.moveaxis(labels, op.axis, 0)
    first = along.reshape(len(along), -1)[:, 0]
    for name, stop in (("start", op.start), ("stop", op.stop)):
        if stop:
            site.count(name, first[:stop], axis=first)
    return _compact(np.moveaxis(along[op.start : op.stop : op.step], 0, op.axis))


@follow.register
def _(op: Pad, site: Site) -> Labels:
    labels = site.reads[0].given
    added = [axis for axis in range(labels.ndim) if (op.before[axis], op.behind[axis]) != (0, 0)]
    along = [axis for axis in added if labels.shape[axis] > 1]
    if not along:
        return labels
    if op.mode != "value" or len(along) > 1:
        return site.stay(f"{site.address!r} fills up with copies of them")
    (axis,) = along
    read, made = site.channels(axis), site.made_along(axis)
    before = op.before[axis]
    site.units.padded.append((site.address, read, made[before : before + len(read)]))
    site.count("behind", made, axis, less=read)
    return site.laid(made, axis)


@follow.register
def _(op: Flatten, site: Site) -> Labels:
    return _compact(site.whole().reshape(site.shape))


@follow.register
def _(op: Reshape, site: Site) -> Labels:
    labels = _compact(site.whole().reshape(site.shape))
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            along = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)[:, 0]
            site.count("shape", along, axis, axis=along)
    return labels


@follow.register
def _(op: Permute, site: Site) -> Labels:
    return site.reads[0].given.transpose(op.order)


@follow.register
def _(op: SplitHeads, site: Site) -> Labels:
    heads, tokens, size = site.shape
    labels = _compact(site.whole().reshape(tokens, heads, size).transpose(1, 0, 2))
    site.count("heads", np.broadcast_to(labels, (heads, *labels.shape[1:]))[:, 0, 0])
    return labels


@follow.register
def _(op: MergeHeads, site: Site) -> Labels:
    return _compact(site.whole().transpose(1, 0, 2).reshape(site.shape))


@follow.register
def _(op: DepthToSpace, site: Site) -> Labels:
    channels, height, width = site.reads[0].shape
    block = op.block
    cut = site.whole().reshape(channels // block**2, block, block, height, width)
    return _compact(cut.transpose(0, 3, 1, 4, 2).reshape(site.shape))


@follow.register
def _(op: Softmax, site: Site) -> Labels:
    labels = site.reads[0].given
    if labels.shape[-1] > 1:
        site.units.pin(labels, f"{site.address!r} normalizes over them")
    return labels


@follow.register
def _(op: MatMul, site: Site) -> Labels:
    first, second = (read.given for read in site.reads)
    if op.transposed:
        second = np.swapaxes(second, -1, -2)
    if len(site.shape) > 2:
        return _heads(site, [first, second])
    plain = first.shape == (1, 1) and second.shape[0] == 1
    # Tokens of one head are mixed; the features of the second factor keep their places.
    return second if plain else site.stay(f"{site.address!r} multiplies them by each other")


def _heads(site: Site, factors: Sequence[Labels]) -> Labels:
    """Tie all that one head reads; a head is one place along all but the last two axes."""
    lead = site.shape[:-2]
    rows = [
        np.broadcast_to(f, (*lead, *f.shape[-2:])).reshape(math.prod(lead), -1) for f in factors
    ]
    for row in np.concatenate(rows, axis=1):
        site.units.tie(row, "heads")
    return _compact(rows[0][:, 0].reshape(*lead, 1, 1))
