"""Operators that compute no new numbers."""

from __future__ import annotations

from dataclasses import replace

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import Concat, Flatten, Permute, Reshape


@write.register
def _(op: Concat, site: Site) -> Value:
    return site.node("Concat", *map(site.read, range(op.arity)), axis=1)


@write.register
def _(op: Flatten, site: Site) -> Value:
    return _viewed(site, (*(0,) * (1 + op.start), -1))


@write.register
def _(op: Reshape, site: Site) -> Value:
    return _viewed(site, (0, *op.shape))


def _viewed(site: Site, shape: tuple[int, ...]) -> Value:
    """The input of the node, with a reshape and any clamp that are left to the reader."""
    read = site.inputs[0]
    if read.shape is not None:
        read = Value(site.writer.plain(read), on_grid=read.on_grid)
    return replace(read, shape=shape)


@write.register
def _(op: Permute, site: Site) -> Value:
    made = site.node("Transpose", site.read(), perm=(0, *(axis + 1 for axis in op.order)))
    return replace(made, on_grid=site.on_grid)
