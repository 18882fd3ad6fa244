"""Poolings, and the attributes of a window."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import AvgPool2d, GlobalPool, MaxPool2d, Window


def moving(window: Window) -> dict[str, Any]:
    """The ONNX attributes of padding and stride, without those that equal ONNX's defaults."""
    attributes: dict[str, Any] = {}
    if any(window.padding):
        attributes["pads"] = window.padding
    if window.stride != (1, 1):
        attributes["strides"] = window.stride
    return attributes


@write.register
def _(op: GlobalPool, site: Site) -> Value:
    return site.node("GlobalAveragePool", site.read())


@write.register
def _(op: MaxPool2d, site: Site) -> Value:
    window = op.window
    made = site.node("MaxPool", site.read(), kernel_shape=window.kernel, **moving(window))
    return replace(made, on_grid=site.on_grid)


@write.register
def _(op: AvgPool2d, site: Site) -> Value:
    window = op.window
    counted = {"kernel_shape": window.kernel, "count_include_pad": int(op.counts_padding)}
    return site.node("AveragePool", site.read(), **counted, **moving(window))
