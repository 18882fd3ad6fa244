"""Slimming: the widths, heads and residual blocks of a given network as choices.

The network is a resolved graph, such as a traced one. A group of coupled channels
(`search_spaces.coupling`) becomes one choice, by whose name all its operators share the width.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from search_spaces.channel_groups import Coupling, Length, Part
from search_spaces.choice import choice
from search_spaces.coupling import coupling, inside
from search_spaces.graph import Graph
from search_spaces.ops import Add, Concat, Op, Shape, padding_behind, scaled
from search_spaces.runs import Runs, runs_of

if TYPE_CHECKING:
    import networkx as nx

SHARES = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""The shares of its channels that a group can keep, where no others are given."""


def slimmed(
    graph: Graph,
    *,
    shares: Sequence[float] = SHARES,
    multiple_of: int = 1,
    leave: Sequence[str] = (),
    blocks: bool = True,
) -> Graph:
    """`graph` with choices of widths, and of the presence of residual blocks.

    A choice of widths has the name of its group, such as `layer1.0.conv1.width`, and a choice of
    presence that of the addition that ends the block, such as `layer1.0.add.present`. The largest
    network computes the same as `graph`. A narrower group keeps its first channels: sort them
    before (`supernets.slimming.sorted_by`). `reasons` says which widths have to stay, and why.

    Where channels meet in a concatenation, each of its inputs keeps its own first channels, and its
    readers the weights of these (`search_spaces.runs`).

    Channels in front of and behind a padding, as in a shortcut that adds empty channels, have two
    choices: lost channels in front are filled up, and behind stay those that the padding reads.

    Args:
        graph: A resolved graph.
        shares: The shares of its channels that a group can keep, above 0 and at most 1. All
            channels are always an option.
        multiple_of: A number that divides every width that is offered, but that of all channels.
        leave: Addresses of nodes or modules whose parameters keep their shapes, and which are
            always present.
        blocks: Whether residual blocks may be absent where this keeps all shapes.

    Raises:
        ValueError: If the graph holds choices, a share or a multiple is out of bounds, an address
            to be left alone is unknown, or nothing of the network can be slimmed.
    """
    if open_nodes := [a for a, node in graph.nodes.items() if node.present]:
        raise ValueError(f"nodes {open_nodes} are conditional; slim a resolved graph")
    if not shares or not all(0 < share <= 1 for share in shares) or multiple_of < 1:
        raise ValueError(
            f"shares are above 0 and at most 1, and widths multiples of at least 1, given shares "
            f"{tuple(shares)} and multiples of {multiple_of}"
        )
    found, shapes = free_groups(graph, leave=leave), graph.shapes()
    options = _options(found, shares, multiple_of)
    widths = {name: choice(name, kept) for name, kept in options if len(kept) > 1}
    conditions = _conditions(graph, leave) if blocks else {}
    if not widths and not conditions:
        told = "; ".join(f"{name}: {why}" for name, why in reasons(graph, leave=leave).items())
        raise ValueError(f"no width and no block of the network can be slimmed ({told})")
    narrow = Graph.from_nodes(
        {
            address: replace(
                node, op=_narrowed(node.op, shapes[address], found.lengths_at(address), widths)
            )
            for address, node in graph.nodes.items()
        }
    )
    least = narrow.resolve(dict.fromkeys(widths, 0)).shapes()
    cut = [address for address in graph.nodes if least[address] != shapes[address]]
    return Graph.from_nodes(
        {
            address: replace(node, present=conditions.get(address, ()))
            for address, node in _in_runs(narrow, shapes, cut).nodes.items()
        }
    )


def reasons(graph: Graph, *, leave: Sequence[str] = ()) -> dict[str, str]:
    """Why groups of channels of a resolved graph keep their width, by the name of the group."""
    groups = free_groups(graph, leave=leave).groups
    return {name: group.fixed for name, group in groups.items() if group.fixed}


def free_groups(graph: Graph, *, leave: Sequence[str] = ()) -> Coupling:
    """The groups of `graph`, of which those are free whose first units can be kept by themselves.

    Channels in front of others have to stay unless they meet them in a concatenation: a narrower
    reader would apply to the later ones weights that belong to other channels.
    """
    found = coupling(graph, leave=leave)
    runs = runs_of(_in_runs(graph, graph.shapes(), [*graph.nodes]))
    while fixed := dict(_unable(graph, found, runs)):
        found = found.without(fixed)
    return found


def _in_runs(graph: Graph, shapes: Mapping[str, Shape], cut: Collection[str]) -> Graph:
    """The graph with what concatenations read of nodes in `cut` as runs of the lengths in `shapes`.

    A concatenation along another axis than the first one has no runs of channels.
    """
    return Graph.from_nodes(
        {
            address: replace(
                node, op=replace(node.op, whole=tuple(shapes[read][0] for read in node.inputs))
            )
            if isinstance(node.op, Concat) and node.op.axis == 0 and address in cut
            else node
            for address, node in graph.nodes.items()
        }
    )


def _unable(graph: Graph, found: Coupling, runs: Mapping[str, Runs]) -> Iterator[tuple[str, str]]:
    """The free groups that cannot be narrowed, each with the reason."""
    for along in found.alongs:
        node = graph.nodes[along.address]
        held = runs.get(node.inputs[0], ()) if along.reads or node.op.channelwise else ()
        parts = _cut(along.parts, [length for _, length in held])
        for *front, last in parts:
            for name in _groups_in(front):
                yield name, f"they stand in front of other channels at {along.address!r}"
            in_sets = not along.reads and node.op.with_sets(1, 1, 1) is not None
            if last.group and last.outer > 1 and not (in_sets and not front):
                yield last.group, f"all of them come {last.outer} times at {along.address!r}"
    for length in found.lengths:
        view = length.index is not None and graph.nodes[length.address].op.is_view
        several = len(found.lengths_at(length.address)) if view else len(length.parts)
        if several > 1:
            for name in _groups_in(length.parts):
                yield name, f"they are not all that {length.address!r} counts"


def _cut(parts: Sequence[Part], runs: Sequence[int]) -> list[list[Part]]:
    """The parts of each run of channels; all as one run where some part is in two runs."""
    if not runs:
        return [[*parts]]
    pieces = [one for part in parts for one in _apart(part)]
    ends = {*accumulate(runs)}
    found: list[list[Part]] = [[]]
    for piece, end in zip(pieces, accumulate(piece.length for piece in pieces), strict=True):
        found[-1].append(piece)
        if end in ends:
            found.append([])
    *found, rest = found
    return [[*parts]] if rest or len(found) != len(runs) else found


def _apart(part: Part) -> Iterator[Part]:
    """The times that all units of a group come one after the other; channels that stay singly."""
    if part.group is None:
        yield from (Part(None, 1, 1, 1) for _ in range(part.length))
    else:
        yield from (replace(part, outer=1) for _ in range(part.outer))


def _groups_in(parts: Iterable[Part]) -> Iterator[str]:
    return (part.group for part in parts if part.group)


def _options(
    found: Coupling, shares: Sequence[float], multiple_of: int
) -> Iterator[tuple[str, list[int]]]:
    """The numbers of units that each free group can keep, ascending."""
    for name in found.free:
        group, least = found.groups[name], found.least(name)
        step = multiple_of // math.gcd(multiple_of, group.channels)
        kept = {step * max(1, round(share * group.count / step)) for share in shares}
        yield name, sorted({n for n in kept if least <= n < group.count} | {group.count})


def _narrowed(op: Op, shape: Shape, lengths: Sequence[Length], widths: Mapping[str, int]) -> Op:
    """The operator with its fields that count channels derived from `widths`."""
    for length in lengths:
        if widths.keys().isdisjoint(_groups_in((*length.parts, *length.less))):
            continue
        (part, *_) = length.parts
        if part.outer > 1 and part.group is not None:
            described = op.with_sets(part.outer, widths[part.group], part.inner)
            assert described is not None  # other groups are not free
            op = described
            continue
        # A length of a shape of a view follows from the others.
        value = -1 if op.is_view else _derived(length.parts, widths)
        held = shape
        if length.less:
            held = getattr(op, length.field)
            before = sum(p.length for p in length.parts) - sum(p.length for p in length.less)
            before -= held[length.index]
            value = padding_behind(value, _derived(length.less, widths), before)
        if length.index is not None:
            value = (*held[: length.index], value, *held[length.index + 1 :])
        op = replace(op, **{length.field: value})
    return op


def _derived(parts: Sequence[Part], widths: Mapping[str, int]) -> Any:
    (part,) = parts
    if part.group is None or part.group not in widths:
        return part.length
    width = widths[part.group]
    return width if part.length == part.count else scaled(width, part.length / part.count, 1)


def _conditions(graph: Graph, leave: Sequence[str]) -> dict[str, tuple[bool, ...]]:
    """The conditions of nodes of residual blocks that may be absent, outer blocks first."""
    kept = {address for left in leave for address in inside(graph.nodes, left)}
    found: dict[str, tuple[bool, ...]] = {}
    view, readers = graph.digraph(), graph.consumers()
    blocks = (block for address in graph.nodes for block in _blocks(graph, view, address))
    for block in sorted(blocks, key=len, reverse=True):
        held = {*block}
        enclosed = all(readers[a] and held.issuperset(readers[a]) for a in block[:-1])
        if enclosed and held.isdisjoint(kept) and block[-1] != graph.output:
            present = choice(f"{block[-1]}.present", (False, True))
            for address in block:
                found[address] = (*found.get(address, ()), present)
    return found


def _blocks(graph: Graph, view: nx.DiGraph[str], address: str) -> Iterator[list[str]]:
    """The nodes between an addition and one of its inputs, which the others read alone."""
    import networkx as nx

    node = graph.nodes[address]
    if not isinstance(node.op, Add):
        return
    for main, skip in (node.inputs, node.inputs[::-1]):
        branch = (nx.ancestors(view, main) | {main}) & nx.descendants(view, skip)
        reads = {read for inner in branch for read in graph.nodes[inner].inputs}
        if main in branch and reads <= branch | {skip}:
            yield [*(inner for inner in graph.nodes if inner in branch), address]
