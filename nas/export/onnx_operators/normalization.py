"""Normalizations."""

from __future__ import annotations

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import GroupNorm, LayerNorm


@write.register
def _(op: LayerNorm, site: Site) -> Value:
    operands = site.read(), site.floats("scale"), site.floats("shift")
    return site.node("LayerNormalization", *operands, axis=-1, epsilon=op.epsilon)


@write.register
def _(op: GroupNorm, site: Site) -> Value:
    operands = site.read(), site.floats("scale"), site.floats("shift")
    attributes = {"num_groups": op.groups, "epsilon": op.epsilon}
    return site.node("GroupNormalization", *operands, **attributes)
