"""Operators that stand right behind inputs."""

from __future__ import annotations

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import Resize


@write.register
def _(op: Resize, site: Site) -> Value:
    if op.is_identity(*site.shapes):
        return site.inputs[0]
    _, *size = op.infer(*site.shapes)
    # Half-pixel bilinear, the same as torch's interpolate with align_corners=False.
    target = site.writer.int64(*size)
    return site.node("Resize", site.read(), "", "", target, axes=[2, 3], mode="linear")
