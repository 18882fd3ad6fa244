"""Operators that compute no new numbers."""

from __future__ import annotations

from dataclasses import replace

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import Concat, DepthToSpace, Flatten, Permute, Reshape


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
    if read.shape is not None:
        read = Value(site.writer.plain(read), on_grid=read.on_grid)
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
