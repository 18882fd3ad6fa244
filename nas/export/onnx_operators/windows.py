"""Poolings, and the attributes of a window."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import AdaptiveAvgPool2d, AvgPool2d, GlobalPool, MaxPool2d, Mean, Window


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


@write.register
def _(op: Mean, site: Site) -> Value:
    axes = site.writer.int64(*(1 + axis for axis in op.axes))
    return site.node("ReduceMean", site.read(), axes, keepdims=int(op.keeps))


@write.register
def _(op: AdaptiveAvgPool2d, site: Site) -> Value:
    _, *given = site.shapes[0]
    _, *made = op.infer(*site.shapes)
    if made == [1, 1]:
        return site.node("GlobalAveragePool", site.read())
    steps = [length // count for length, count in zip(given, made, strict=True)]
    if all(length % count == 0 for length, count in zip(given, made, strict=True)):
        return site.node("AveragePool", site.read(), kernel_shape=steps, strides=steps)
    # Windows of several lengths, which may overlap: a product with the share of every place.
    rows, columns = (site.writer.floats(_shares(*side)) for side in zip(given, made, strict=True))
    return site.node("Einsum", site.read(), rows, columns, equation="bchw,ih,jw->bcij")


def _shares(length: int, windows: int) -> NDArray[np.float32]:
    """The share of every place in the mean of every window, `(windows, length)`."""
    first, places = np.arange(windows), np.arange(length)
    starts, ends = first * length // windows, -(-(first + 1) * length // windows)
    inside = (places >= starts[:, None]) & (places < ends[:, None])
    return (inside / inside.sum(1, keepdims=True)).astype(np.float32)
