"""Layers of a network by their places: blocks, first and last layers, siblings, streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import networkx as nx

from search_spaces.graph import Graph
from search_spaces.ops import Op

_OWN = ("out", "heads", "weight", "activation")


def weighted(graph: Graph) -> list[str]:
    """The addresses of all operators with a weight that has a precision."""
    return [
        address
        for address, node in graph.nodes.items()
        if "weight" in {field.name for field in fields(node.op)}
    ]


def blocks_of(graph: Graph) -> dict[str, str]:
    """The block of every operator: the innermost part of its address that several weights share.

    Such a part ends in a digit, as `layer1.0` in `layer1.0.conv1`. An operator without one is a
    block of its own.
    """
    inside = Counter(prefix for address in weighted(graph) for prefix in _prefixes(address))

    def block(address: str) -> str:
        shared = (p for p in _prefixes(address) if p[-1].isdigit() and inside[p] > 1)
        return next(shared, address)

    return {address: block(address) for address in graph.nodes}


def _prefixes(address: str) -> Iterator[str]:
    """The beginnings of an address, whole parts only, the longest first."""
    parts = address.split(".")
    return (".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))


def edges_of(graph: Graph) -> frozenset[str]:
    """The first and last layers: those with no layer before, or none behind."""
    layers = weighted(graph)
    view = graph.digraph()
    return frozenset(
        address
        for address in layers
        if not nx.ancestors(view, address) & {*layers}
        or not nx.descendants(view, address) & {*layers}
    )


def siblings_of(graph: Graph) -> Iterator[list[str]]:
    """Layers that read the same tensor and differ in their output channels only."""
    found: dict[Any, list[str]] = {}
    for address in weighted(graph):
        node = graph.nodes[address]
        found.setdefault((node.inputs, _but_outputs(node.op)), []).append(address)
    return (layers for layers in found.values() if len(layers) > 1)


def _but_outputs(op: Op) -> Any:
    held = {field.name: getattr(op, field.name) for field in fields(op)}
    return type(op), tuple((name, value) for name, value in held.items() if name not in _OWN)


def streams_of(graph: Graph) -> Iterator[list[str]]:
    """Operators of several inputs, such as additions, that hand a stream from one to the next.

    Between them there may be operators that act channel by channel and have no weight, such as
    activations and norms.
    """
    joins, layers = nx.Graph(), {*weighted(graph)}
    last: dict[str, frozenset[str]] = {}
    for address, node in graph.nodes.items():
        before = frozenset[str]().union(*(last[read] for read in node.inputs))
        if address in layers or node.op.products:
            before = frozenset[str]()
        elif node.op.arity > 1:
            nx.add_path(joins, [address, *sorted(before)])
            before = frozenset({address})
        last[address] = before
    order = {address: number for number, address in enumerate(graph.nodes)}
    groups = (sorted(group, key=order.__getitem__) for group in nx.connected_components(joins))
    return (group for group in groups if len(group) > 1)
