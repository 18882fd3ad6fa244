"""Precisions of a trained network opened up: the fields of a float graph become choices."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import networkx as nx

from search_spaces.graph import Graph
from search_spaces.layers import blocks_of, edges_of, siblings_of, streams_of
from search_spaces.ops import Op, Shape
from search_spaces.options import Granularities, Precisions, no_fewer_bits
from search_spaces.quant import Granularity, PerChannel, PerTensor, Quant, precision

Tie = Literal["siblings", "readers", "sums"]
Part = Literal["weight", "activation"]
_NEAR = 3
_PARTS: tuple[Part, ...] = ("weight", "activation")
_FINENESS = ("network", "block", "layer")


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The precisions that the layers of a trained network choose from, and who chooses together.

    An option is a bit-width of integers, a number format such as `Float(4, 3)`, or `None` for full
    precision. Layers are operators with a weight, and matrix products, which have inputs only.

    Attributes:
        weights: Options of the precision of a weight, in ascending order of bits.
        activations: Options of the precision of a layer's inputs.
        others: Options of the precision of the inputs of all other operators that can quantize
            them, such as additions and poolings. A clamp such as ReLU right behind a layer or an
            addition has none, since both run as one kernel, and readers round behind it.
        edges: Options for weights and inputs of the first and last layers, which then have choices
            of their own; the same options and choices as everywhere if None.
        weight_granularities: Options of which elements of a weight share a scale. A weight gets
            those that fit its shape.
        activation_granularities: The same for inputs.
        weight_symmetries: Options of whether integers of a weight are symmetric.
        activation_symmetries: The same for inputs.
        fineness: The layers that share one decision: those of the network, of a block, or each
            layer on its own. A block is the innermost numbered part of an address, such as
            `layer1.0`, with several layers in it.
        ties: Further layers that share one decision: `siblings` are layers of one kind that read
            the same tensor and can run as one, such as queries, keys and values, or gate and up
            projections; `readers` of one tensor quantize it alike; `sums` are additions and
            concatenations along one residual stream, whose inputs have one precision.
        alone: Layers that stay in full precision: addresses, beginnings of addresses (`layer1`), or
            patterns with `*` and `?`.

    Raises:
        ValueError: If options repeat or are not in ascending order, or there is none.
    """

    weights: Precisions = (2, 3, 4, 5, 6, 8, None)
    activations: Precisions = (4, 8, None)
    others: Precisions = (None,)
    edges: Precisions | None = None
    weight_granularities: Granularities = (PerChannel(),)
    activation_granularities: Granularities = (PerTensor(),)
    weight_symmetries: tuple[bool, ...] = (True,)
    activation_symmetries: tuple[bool, ...] = (False,)
    fineness: Literal["network", "block", "layer"] = "layer"
    ties: tuple[Tie, ...] = ("siblings", "readers")
    alone: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("weights", "activations", "others", "edges"):
            options = getattr(self, name)
            try:
                no_fewer_bits((None,) if options is None else tuple(options))
            except ValueError as error:
                raise ValueError(f"{name} {error}, given {options}") from error
        if unknown := sorted({*self.ties} - {*_TIED}):
            raise ValueError(f"there is no tie {', '.join(unknown)}; there are {', '.join(_TIED)}")
        if self.fineness not in _FINENESS:
            raise ValueError(f"fineness is one of {', '.join(_FINENESS)}, given {self.fineness!r}")


@dataclass(frozen=True)
class _Decision:
    """The precision of a weight or of the inputs at an address."""

    address: str
    part: Part


def opened(graph: Graph, opening: Opening) -> Graph:
    """The graph whose weights and inputs choose their precisions; everything else as it was.

    The names of the choices are the addresses, such as `layer1.0.conv1.weight.bits`; layers that
    decide together have the name of their block, none at all, or that of their first layer.

    Args:
        graph: A graph in full precision; its other fields may hold choices, such as widths.
        opening: The options.

    Raises:
        ValueError: If an operator has a precision already, a layer to be left alone is not there,
            or no granularity fits a weight.
    """
    require_float(graph)
    alone = left_alone(graph, opening.alone) | _clamps_of_kernels(graph)
    edges = edges_of(graph) if opening.edges is not None else frozenset[str]()
    decisions = [
        _Decision(address, part)
        for address, node in graph.nodes.items()
        if address not in alone
        for part in _parts(node.op)
    ]
    groups = _groups(graph, opening, decisions, edges)
    shapes = _weight_shapes(graph)
    made: dict[_Decision, Quant | None] = {}
    for group in groups:
        name = _name(graph, opening, group, edges)
        quant = _precision(graph, opening, group, name=name, edges=edges, shapes=shapes)
        made.update(dict.fromkeys(group, quant))
    nodes = {
        address: replace(node, op=_with(node.op, address, made))
        for address, node in graph.nodes.items()
    }
    return Graph.from_nodes(nodes)


def require_float(graph: Graph) -> None:
    """Raise `ValueError` if an operator of `graph` has a precision, or is itself a choice."""
    for address, node in graph.nodes.items():
        if not isinstance(node.op, Op):
            raise ValueError(
                f"the operator at {address!r} is itself a choice; precisions are opened on graphs "
                "whose operators are known, so open them first"
            )
        held = {part: getattr(node.op, part) for part in _parts(node.op)}
        if taken := {part: quant for part, quant in held.items() if quant is not None}:
            raise ValueError(
                f"{address!r} already has a precision, {taken}; give a graph in full precision, "
                "such as search_spaces.policy.full_precision makes it"
            )


def left_alone(graph: Graph, patterns: Sequence[str]) -> frozenset[str]:
    """The addresses that some `patterns` name; raises `ValueError` for all that name nothing."""
    found: set[str] = set()
    lost: list[str] = []
    for pattern in patterns:
        named = [
            address
            for address in graph.nodes
            if fnmatch.fnmatchcase(address, pattern) or address.startswith(f"{pattern}.")
        ]
        found.update(named)
        if not named:
            near = difflib.get_close_matches(pattern, graph.nodes, _NEAR, 0.5)
            lost.append(f"{pattern!r} (near: {', '.join(near) or 'nothing'})")
    if lost:
        raise ValueError(
            f"the network has no layer {', '.join(lost)}; give an address, the beginning of "
            "addresses such as layer1, or a pattern such as *.downsample.*"
        )
    return frozenset(found)


def _clamps_of_kernels(graph: Graph) -> frozenset[str]:
    """The addresses of clamps that alone read a layer or an addition, norms between them or not."""
    readers = graph.consumers()

    def runs_with(address: str) -> bool:
        (read,) = graph.nodes[address].inputs
        before = graph.nodes[read].op
        if len(readers[read]) > 1:
            return False
        return runs_with(read) if before.folds else before.sums or "weight" in _parts(before)

    clamps = (address for address, node in graph.nodes.items() if node.op.clamp is not None)
    return frozenset(filter(runs_with, clamps))


def _parts(op: Op) -> Iterator[Part]:
    held = {field.name for field in fields(op)}
    for part in _PARTS:
        if part in held:
            yield part


def _is_layer(op: Op) -> bool:
    return op.products or "weight" in _parts(op)


def _with(op: Op, address: str, made: Mapping[_Decision, Quant | None]) -> Op:
    given = {part: made.get(_Decision(address, part)) for part in _parts(op)}
    return replace(op, **given) if given else op


def _groups(
    graph: Graph, opening: Opening, decisions: Sequence[_Decision], edges: frozenset[str]
) -> list[list[_Decision]]:
    """The decisions that are made together, in the order of the graph.

    Only decisions with the same options are joined: weights with weights, inputs of layers with
    such, edges with edges.
    """
    joined = nx.Graph()
    joined.add_nodes_from(decisions)
    for bundle in _bundles(graph, opening, decisions):
        alike: dict[Any, list[_Decision]] = {}
        for one in bundle:
            kind = (one.part, one.address in edges, _is_layer(graph.nodes[one.address].op))
            alike.setdefault(kind, []).append(one)
        for members in alike.values():
            nx.add_path(joined, members)
    place = {one: number for number, one in enumerate(decisions)}
    found = [sorted(group, key=place.__getitem__) for group in nx.connected_components(joined)]
    return sorted(found, key=lambda group: place[group[0]])


def _bundles(
    graph: Graph, opening: Opening, decisions: Sequence[_Decision]
) -> Iterator[list[_Decision]]:
    """Decisions to be joined where their options are the same."""
    if opening.fineness == "network":
        yield [*decisions]
    if opening.fineness == "block":
        blocks: dict[str, list[_Decision]] = {}
        known_blocks = blocks_of(graph)
        for one in decisions:
            blocks.setdefault(known_blocks[one.address], []).append(one)
        yield from blocks.values()
    known = set(decisions)
    for tie in opening.ties:
        for addresses in _TIED[tie](graph):
            every = (_Decision(a, part) for a in addresses for part in _TIED_PARTS[tie])
            yield [one for one in every if one in known]


def _readers_of(graph: Graph) -> Iterator[list[str]]:
    return (readers for readers in graph.consumers().values() if len(readers) > 1)


_TIED = {"siblings": siblings_of, "readers": _readers_of, "sums": streams_of}
_TIED_PARTS: Mapping[Tie, tuple[Part, ...]] = {
    "siblings": ("weight", "activation"),
    "readers": ("activation",),
    "sums": ("activation",),
}


def _name(graph: Graph, opening: Opening, group: Sequence[_Decision], edges: frozenset[str]) -> str:
    """The name of a decision: that of a layer or of a block; the part alone for all layers."""
    first = group[0]
    scope = first.address
    if opening.fineness == "network":
        scope = "edge" if first.address in edges else ""
    elif opening.fineness == "block" and len(group) > 1 and first.address not in edges:
        scope = blocks_of(graph)[first.address]
    if scope != first.address and not _is_layer(graph.nodes[first.address].op):
        scope = f"{scope}.tensor" if scope else "tensor"
    return f"{scope}.{first.part}" if scope else first.part


def _precision(
    graph: Graph,
    opening: Opening,
    group: Sequence[_Decision],
    *,
    name: str,
    edges: frozenset[str],
    shapes: Mapping[str, Sequence[Shape]],
) -> Quant | None:
    """The placeholder of a decision."""
    first = group[0]
    is_weight, layer = first.part == "weight", _is_layer(graph.nodes[first.address].op)
    options = opening.weights if is_weight else opening.activations if layer else opening.others
    if layer and first.address in edges and opening.edges is not None:
        options = opening.edges
    if not is_weight:
        return precision(
            name,
            options,
            granularities=opening.activation_granularities,
            symmetries=opening.activation_symmetries,
        )
    fitting = _fitting(opening, [one.address for one in group], shapes)
    return precision(name, options, granularities=fitting, symmetries=opening.weight_symmetries)


def _fitting(
    opening: Opening, addresses: Sequence[str], shapes: Mapping[str, Sequence[Shape]]
) -> list[Granularity]:
    """The granularities that fit the weights of a decision."""
    every = [shape for address in addresses for shape in shapes.get(address, ())]
    found = [one for one in opening.weight_granularities if all(_fits(one, s) for s in every)]
    if not found:
        told = ", ".join(one.name for one in opening.weight_granularities)
        raise ValueError(
            f"no granularity of {told} fits the weight of {', '.join(addresses)}, of shape "
            f"{', '.join(map(str, dict.fromkeys(every)))}; add PerChannel() to "
            "weight_granularities, or leave these layers alone"
        )
    return found


def _fits(granularity: Granularity, shape: Shape) -> bool:
    try:
        granularity.blocks(shape)
    except ValueError:
        return False
    return True


def _weight_shapes(graph: Graph) -> dict[str, list[Shape]]:
    """The shapes of the weights, of the smallest and the largest network, by address."""
    found: dict[str, list[Shape]] = {}
    counts = {made.name: len(made.options) for made in graph.choices()}
    ends = (dict.fromkeys(counts, 0), {name: count - 1 for name, count in counts.items()})
    for picks in ends if counts else ends[:1]:
        resolved = graph.resolve(picks)
        shapes = resolved.shapes()
        for address, node in resolved.nodes.items():
            shape = node.op.weight_shape(*(shapes[read] for read in node.inputs))
            if shape is not None:
                found.setdefault(address, []).append(shape)
    return found
