"""Operators without a layer of their own as Python expressions of plain torch."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg
from torch.fx.proxy import GraphAppendingTracer

from nas.export.containers import ExportError
from search_spaces.ops import Op
from supernets.elastic import compute


class _Verbatim(str):
    """A text whose representation has no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def function(op: Op, given: list[str], held: Mapping[str, str] = MappingProxyType({})) -> str:
    """The Python expression of an operator without a layer of its own.

    Args:
        op: The operator.
        given: The expressions of its inputs.
        held: The expressions of its parameters, by name.
    """
    graph = fx.Graph()
    tracer = GraphAppendingTracer(graph)
    texts = {graph.placeholder(f"x{n}"): text for n, text in enumerate([*held.values(), *given])}
    tensors = [fx.Proxy(node, tracer) for node in texts]
    parameters = dict(zip(held, tensors, strict=False))
    output: Any = compute(op, parameters, *tensors[len(held) :])  # pyright: ignore[reportArgumentType]
    for node in graph.nodes:
        if node.op != "placeholder":
            texts[node] = _call(node, texts)
    return texts[output.node]


def _call(node: fx.Node, texts: Mapping[fx.Node, str]) -> str:
    def named(held: fx.Node) -> _Verbatim:
        return _Verbatim(texts[held])

    arguments = [map_arg(value, named) for value in node.args]
    target: Any = node.target
    if target is operator.getitem:
        return f"{arguments[0]}[{_place(arguments[1])}]"
    if target is operator.mul:
        return " * ".join(map(_said, arguments))
    if target is getattr:
        return f"{arguments[0]}.{arguments[1]}"
    keywords = [f"{key}={_said(map_arg(value, named))}" for key, value in node.kwargs.items()]
    if node.op == "call_method":
        said = ", ".join([*map(_said, arguments[1:]), *keywords])
        return f"{arguments[0]}.{target}({said})"
    return f"{_function_name(target)}({', '.join([*map(_said, arguments), *keywords])})"


def _function_name(target: Any) -> str:
    """The name by which plain torch knows a function."""
    if isinstance(target, torch._ops.OpOverload):
        return f"torch.ops.{target}"
    name = getattr(target, "__name__", "")
    for place, holder in (("torch", torch), ("nn.functional", nn.functional)):
        if getattr(holder, name, None) is target:
            return f"{place}.{name}"
    raise ExportError(f"{target} is no function of torch, so plain torch cannot say it")


def _said(value: Any) -> str:
    """The Python expression of an argument."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_said, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def _place(value: Any) -> str:
    """The places in brackets: `1:9:2` for a slice, several of them with commas."""
    if isinstance(value, tuple):
        return ", ".join(map(_place, value))
    if not isinstance(value, slice):
        return _said(value)
    start, stop, step = (
        "" if n is None else _said(n) for n in (value.start, value.stop, value.step)
    )
    return f"{start}:{stop}{f':{step}' if step not in ('', '1') else ''}"
