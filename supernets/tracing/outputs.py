"""What a model returns, as tensors by name; and the same out of the one tensor of a graph."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from torch import Tensor

from search_spaces.graph import Graph
from search_spaces.ops import Outputs
from supernets.tracing.errors import TraceError


def named_outputs(returned: object) -> dict[str, Tensor]:
    """The tensors that a model returned, by name, in their order.

    A single tensor is called `output`. Otherwise, a name consists of keys, fields and positions:
    `logits`, `boxes.0`. None is left out.

    Raises:
        TraceError: If there is anything but tensors, or no tensor at all.
    """
    found = {name or "output": tensor for name, tensor in _tensors(returned, "")}
    if not found:
        raise TraceError(
            f"the model returns {type(returned).__name__} without any tensor; let forward return "
            "a tensor, or a tuple, a dictionary or a dataclass of tensors"
        )
    return found


def _tensors(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
        return
    if isinstance(value, Mapping):
        parts = [(str(key), part) for key, part in value.items()]
    elif hasattr(value, "_fields"):
        parts = [*zip(value._fields, value, strict=True)]  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    elif is_dataclass(value):
        parts = [(field.name, getattr(value, field.name)) for field in fields(value)]
    elif isinstance(value, tuple | list):
        parts = [(str(position), part) for position, part in enumerate(value)]
    elif value is None:
        return
    else:
        raise TraceError(
            f"the model returns {type(value).__name__} at {name or 'its output'!r}, which is no "
            "tensor; let forward return tensors only, in tuples, dictionaries or dataclasses"
        )
    for key, part in parts:
        plain = re.sub(r"[^\w-]", "_", key)
        yield from _tensors(part, f"{name}.{plain}" if name else plain)


def unpacked(graph: Graph, answer: Tensor) -> dict[str, Tensor]:
    """The outputs of a network by name, out of the tensor that its graph gives.

    Args:
        graph: The resolved graph. Without the operator `Outputs`, the only output is `output`.
        answer: What the network gave for a batch.
    """
    last = graph.nodes[graph.output]
    if not isinstance(last.op, Outputs):
        return {"output": answer}
    shapes = graph.shapes()
    parts = answer.split([math.prod(shapes[read]) for read in last.inputs], 1)
    return {
        name: part.reshape(-1, *shapes[read])
        for name, part, read in zip(last.op.names, parts, last.inputs, strict=True)
    }
