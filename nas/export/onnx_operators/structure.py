"""Operators that compute no new numbers."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from dataclasses import replace

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import (
    Concat,
    DepthToSpace,
    Flatten,
    Outputs,
    Pad,
    Permute,
    Reshape,
    Slice,
)


@write.register
def _(op: Concat, site: Site) -> Value:
    return site.node("Concat", *map(site.read, range(op.arity)), axis=1 + op.axis)


@write.register
def _(op: Flatten, site: Site) -> Value:
    return viewed(site, (*(0,) * (1 + op.start), -1))


@write.register
def _(op: Reshape, site: Site) -> Value:
    return viewed(site, (0, *op.shape))


def viewed(site: Site, shape: tuple[int, ...]) -> Value:
    """The input of the node, with a reshape and any clamp that are left to the reader."""
    read = site.inputs[0]
    if read.shape is not None:  # a view of a view is one view, whose lengths do not refer to it
        lengths = zip(shape[1:], site.shapes[0], strict=False)
        known = (length or before for length, before in lengths)
        shape = (shape[0], *known, *shape[1 + len(site.shapes[0]) :])
    return replace(read, shape=shape)


@write.register
def _(op: DepthToSpace, site: Site) -> Value:
    made = site.node("DepthToSpace", site.read(), blocksize=op.block, mode="CRD")
    return replace(made, on_grid=site.on_grid)


@write.register
def _(op: Permute, site: Site) -> Value:
    return transposed(site, site.inputs[0], op.order)


def transposed(site: Site, value: Value, order: tuple[int, ...]) -> Value:
    """Write the node at `site`, which reorders the axes of `value` as `Permute` does."""
    perm = (0, *(axis + 1 for axis in order))
    made = site.node("Transpose", site.writer.plain(value), perm=perm)
    return replace(made, on_grid=value.on_grid)


@write.register
def _(op: Slice, site: Site) -> Value:
    bounds = (site.writer.int64(n) for n in (op.start, op.stop, 1 + op.axis, op.step))
    return replace(site.node("Slice", site.read(), *bounds), on_grid=site.on_grid)


@write.register
def _(op: Pad, site: Site) -> Value:
    pads = site.writer.int64(0, *op.before, 0, *op.behind)
    if op.mode == "value":
        return site.node("Pad", site.read(), pads, site.writer.float32(op.value))
    return site.node("Pad", site.read(), pads, mode=op.mode)


@write.register
def _(op: Outputs, site: Site) -> Value:
    return site.inputs[0]  # a file has an output for every input, and no node
