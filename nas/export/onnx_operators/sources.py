"""Sources."""

from __future__ import annotations

from nas.export.containers import ExportError
from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import Image, Input


@write.register
def _(op: Image, site: Site) -> Value:
    size = (op.size, op.size)
    if site.shapes[0][1:] == size:
        return site.inputs[0]
    # Half-pixel bilinear, the same as torch's interpolate with align_corners=False.
    given, target = site.writer.plain(site.inputs[0]), site.writer.int64(*size)
    return Value(site.writer.node("Resize", given, "", "", target, axes=[2, 3], mode="linear"))


@write.register
def _(op: Input, site: Site) -> Value:
    if site.shapes[0] != op.shape:
        raise ExportError(
            f"Input {site.address!r} reads samples of shape {op.shape}, and would be fed "
            f"{site.shapes[0]}; calibrate the network on what it will be fed"
        )
    return site.inputs[0]
