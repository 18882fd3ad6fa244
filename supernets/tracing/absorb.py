"""Affine operators made part of what stands before them: one operator less on every device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace

import torch
from torch import Tensor

from search_spaces.graph import Graph, Node
from search_spaces.ops import Affine, Op, Shape

AFFINE = ("scale", "shift")


def absorbed(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """A resolved graph in which an affine operator is part of the operator before, where possible.

    That is an operator with a weight and the same channels, or another affine operator, whose only
    reader is the affine operator. A weight that several nodes share stays as it is.
    """
    shapes, readers = graph.shapes(), graph.consumers()
    uses = Counter(id(tensor) for tensor in tensors.values())
    nodes, found, source = dict[str, Node](), dict(tensors), dict[str, str]()
    for address, node in graph.nodes.items():
        inputs = tuple(source[read] for read in node.inputs)
        source[address] = address
        before = inputs[0] if inputs else ""
        single = bool(node.inputs) and len(readers[node.inputs[0]]) == 1
        shared = any(uses[id(tensor)] > 1 for tensor in _own(found, before).values())
        if single and not shared and _absorbs(nodes[before].op, node.op, shapes[address]):
            change = [found.pop(f"{address}.{name}") for name in AFFINE]
            found |= scaled(before, _own(found, before), *change)
            nodes[before] = replace(nodes[before], op=with_bias(nodes[before].op))
            source[address] = before
        else:
            nodes[address] = Node(node.op, inputs)
    return Graph.from_nodes(nodes), found


def _own(tensors: Mapping[str, Tensor], address: str) -> dict[str, Tensor]:
    """The tensors of the node at an address that a factor and a shift change, by name."""
    names: Iterable[str] = ("weight", "bias", *AFFINE)
    keys = {name: f"{address}.{name}" for name in names}
    return {name: tensors[key] for name, key in keys.items() if key in tensors}


def _absorbs(before: Op, op: Op, shape: Shape) -> bool:
    """Whether `before` can absorb the operator `op`, both of which give the given shape."""
    if not isinstance(op, Affine) or not (before.absorbs or isinstance(before, Affine)):
        return False
    return before.channel_axis % len(shape) == op.channel_axis % len(shape)


def scaled(
    address: str, held: Mapping[str, Tensor], scale: Tensor, shift: Tensor
) -> dict[str, Tensor]:
    """The tensors of an operator by `ADDRESS.NAME`, once a factor and a shift are part of it.

    Args:
        address: The address of the operator.
        held: The tensors of the operator, by name: a weight, or the scale of an affine operator.
        scale: The factor of each output channel.
        shift: The shift of each output channel.
    """
    factor, added = ("scale", "shift") if "scale" in held else ("weight", "bias")
    weight = held[factor]
    column = scale.reshape(-1, *(1,) * (weight.dim() - 1))
    before = held.get(added, torch.zeros_like(shift))
    return {f"{address}.{factor}": weight * column, f"{address}.{added}": before * scale + shift}


def with_bias(op: Op) -> Op:
    """The operator with a bias, if it has a field that says so."""
    bias = any(field.name == "bias" for field in fields(op))
    return replace(op, bias=True) if bias else op  # pyright: ignore[reportCallIssue]
