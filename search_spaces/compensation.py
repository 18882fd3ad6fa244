"""Low-rank branches beside layers, which make good a part of the error of rounded weights.

A branch is two layers in full precision, from the input of a layer to a few channels and from
these to the layer's outputs, which are added (LoRC, Yao et al. 2023; EoRA, Liu et al. 2024). The
number of channels between is the rank, a choice; at rank 0 the branch is absent. The branch
consists of ordinary operators, so costs, exporters and latency tables know it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from itertools import pairwise

from search_spaces.choice import choice
from search_spaces.graph import Graph, Node
from search_spaces.ops import Add, Conv2d, Linear, Op, at_least_one, deeper_than
from search_spaces.space import Genotype, SearchSpace

DOWN, UP, SUM = "rank.down", "rank.up", "rank.add"
"""The last parts of the addresses of a branch, behind the address of its layer."""


@singledispatch
def branch_of(op: Op, rank: int) -> tuple[Op, Op] | None:  # noqa: ARG001
    """The two layers of a branch with `rank` channels between them, for the layer `op`.

    None for an operator that takes no branch, such as a convolution with groups.
    """
    return None


@branch_of.register
def _(op: Conv2d, rank: int) -> tuple[Op, Op] | None:
    if op.groups != 1:
        return None
    plain = replace(op, bias=False, weight=None, activation=None)
    return replace(plain, out=rank), Conv2d(op.out, 1)


@branch_of.register
def _(op: Linear, rank: int) -> tuple[Op, Op] | None:
    if op.heads is not None:
        return None
    return Linear(rank, heads_read=op.heads_read), Linear(op.out)


def compensated(graph: Graph, ranks: Sequence[int], *, layers: Sequence[str] = ()) -> Graph:
    """`graph` with a low-rank branch beside layers, whose ranks are choices `LAYER.rank`.

    The branch is added behind the norm that is folded into a layer, where there is one.

    Args:
        graph: The graph of a network or of a space.
        ranks: The ranks to choose from, ascending; 0 is no branch.
        layers: The addresses of the layers; all that take a branch if left out. These are linear
            layers, and convolutions without groups, whose weight has a precision and which do not
            give the output of the network.

    Raises:
        ValueError: If `ranks` are not ascending numbers from 0, or an address is none of a layer
            that takes a branch.
    """
    if max(ranks, default=0) == 0 or any(b <= a for a, b in pairwise((-1, *ranks))):
        raise ValueError(
            f"ranks are ascending whole numbers, of which 0 is no branch, given {tuple(ranks)}; "
            "give some above 0, as in (0, 4, 8)"
        )
    able = [
        address
        for address, node in graph.nodes.items()
        if node.op.weight is not None
        and branch_of(node.op, 1) is not None
        and _end(graph, address) != graph.output  # which must always be present
    ]
    _require_known(layers, able)
    behind = {_end(graph, address): address for address in layers or able}
    moved: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    for address, node in graph.nodes.items():
        nodes[address] = replace(node, inputs=tuple(moved.get(a, a) for a in node.inputs))
        if address in behind:
            layer = behind[address]
            nodes.update(_branch(nodes[layer], layer, address, ranks))
            moved[address] = f"{layer}.{SUM}"
    return Graph.from_nodes(nodes)


def branches_of(graph: Graph) -> tuple[str, ...]:
    """The addresses of the layers that have, or may have, a low-rank branch."""
    ends = (address.removesuffix(f".{SUM}") for address in graph.nodes if address.endswith(SUM))
    return tuple(layer for layer in ends if f"{layer}.{DOWN}" in graph.nodes)


def branch_nodes(graph: Graph) -> tuple[Node, ...]:
    """The nodes of all low-rank branches."""
    parts = ((layer, part) for layer in branches_of(graph) for part in (DOWN, UP, SUM))
    return tuple(graph.nodes[f"{layer}.{part}"] for layer, part in parts)


def without_branches(graph: Graph) -> Graph:
    """The graph without its low-rank branches; what read a sum reads the layer alone."""
    layers = branches_of(graph)
    sums = {f"{layer}.{SUM}": graph.nodes[f"{layer}.{SUM}"].inputs[0] for layer in layers}
    dropped = {f"{layer}.{part}" for layer in layers for part in (DOWN, UP, SUM)}
    return Graph.from_nodes(
        {
            address: replace(node, inputs=tuple(sums.get(read, read) for read in node.inputs))
            for address, node in graph.nodes.items()
            if address not in dropped
        }
    )


def rank_choices(space: SearchSpace) -> dict[str, str]:
    """The name of the choice of each low-rank branch's rank, by the address of the layer."""
    names = {layer: f"{layer}.rank" for layer in branches_of(space.graph)}
    return {layer: name for layer, name in names.items() if name in space.column}


def unbranched(space: SearchSpace) -> Genotype:
    """The largest network of a space, but with the smallest ranks: 0 where that is offered."""
    picks = list(space.largest)
    for name in rank_choices(space).values():
        picks[space.column[name]] = 0
    return space.canonical(picks)


def _branch(node: Node, layer: str, end: str, ranks: Sequence[int]) -> dict[str, Node]:
    rank = choice(f"{layer}.rank", tuple(ranks))
    made = branch_of(node.op, at_least_one(rank))
    assert made is not None
    there = (*node.present, *((deeper_than(rank, 0),) if ranks[0] == 0 else ()))
    return {
        f"{layer}.{DOWN}": Node(made[0], node.inputs, there),
        f"{layer}.{UP}": Node(made[1], (f"{layer}.{DOWN}",), there),
        f"{layer}.{SUM}": Node(Add(), (end, f"{layer}.{UP}"), there),
    }


def _end(graph: Graph, address: str) -> str:
    """The operator that gives a layer's outputs: the norm that is folded into it, if any."""
    reading = graph.consumers()[address]
    if len(reading) == 1 and graph.nodes[reading[0]].op.folds:
        return reading[0]
    return address


def _require_known(layers: Sequence[str], able: Sequence[str]) -> None:
    """Raise `ValueError` if some of `layers` take no branch."""
    unknown = [address for address in layers if address not in able]
    if unknown:
        near = difflib.get_close_matches(unknown[0], able, 3) or able[:3]
        raise ValueError(
            f"{', '.join(unknown)} take no low-rank branch; linear layers and convolutions without "
            "groups do, if their weight has a precision and others read them, such as "
            f"{', '.join(near)}"
        )
