"""Spaces of tables: decisions without operators, for networks that others trained and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces.choice import Spec, choice, derived
from search_spaces.graph import Graph
from search_spaces.ops import Add, Image, Op, Shape
from search_spaces.space import SearchSpace

Option = bool | int | float | str


@dataclass(frozen=True)
class Pick(Op):
    """A decision without a shape: an operator of a tabular space."""

    option: Option | Spec
    cut: tuple[Option | Spec, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether the option is none of those that connect nothing."""
        return self.option not in self.cut

    def infer(self, *inputs: Shape) -> Shape:
        """The shape it was given."""
        return inputs[0]


@dataclass(frozen=True)
class Decision:
    """One choice of a table.

    Attributes:
        name: What it is called.
        options: What it chooses among, ascending in cost where they have an order.
        when: Name of an earlier choice -> its options under which this one is open; all must hold.
        edge: The nodes of a cell between which it chooses the operator, as `add_cell` has it.
        cut: The options of an edge that connect nothing.
    """

    name: str
    options: tuple[Option, ...]
    when: Mapping[str, tuple[Option, ...]]
    edge: tuple[int, int] | None = None
    cut: tuple[Option, ...] = ()


@derived
def among(option: Option, options: tuple[Option, ...]) -> bool:
    """Whether a picked option is one of `options`."""
    return option in options


def tabular_space(decisions: Sequence[Decision], *, name: str) -> SearchSpace:
    """The space of all picks of `decisions`; a choice whose conditions fail is closed.

    They follow each other; those that are edges of a cell come last, by the node they lead to.

    Raises:
        ValueError: A condition names no earlier choice, or an option that this does not have; or
            the edges make no cell.
    """
    graph = Graph(Image(3, 32))
    placed: dict[str, tuple[Decision, tuple[bool, ...]]] = {}
    edges: list[tuple[tuple[int, int], Op]] = []
    for position, made in enumerate(decisions):
        require_conditions(made.name, made.when, [before for before, _ in placed.values()])
        conditions: dict[bool, None] = {}
        for parent, options in made.when.items():
            decided, before = placed[parent]
            here = among(choice(parent, decided.options), options)
            # Where the parent is closed, so is this; its own conditions come first for that.
            conditions |= dict.fromkeys((*before, here))
        placed[made.name] = made, tuple(conditions)
        pick = Pick(choice(made.name, made.options), made.cut)
        if made.edge is None:
            graph.add(f"node{position}", pick, present=tuple(conditions) or True)
        else:
            _require_edge(made)
            edges.append((made.edge, pick))
    add_cell(graph, edges)
    if graph.nodes[graph.output].present:  # the output of a graph is always there
        graph.add("output", Pick(0))
    return SearchSpace(graph, name=name)


def add_cell(graph: Graph, edges: Sequence[tuple[tuple[int, int], Op]]) -> None:
    """Append a cell: nodes that are the sums of what their edges give, from node 0, the last's.

    Args:
        graph: What it goes on from; its output becomes node 0.
        edges: The nodes that each leads from and to, the lower number first, and its operator.

    Raises:
        ValueError: An edge does not ascend, or nothing leads to a node.
    """
    at = {0: graph.output}
    for number, ((start, end), op) in enumerate(sorted(edges, key=lambda edge: edge[0][1])):
        if not 0 <= start < end or start not in at or max(at) < end - 1:
            raise ValueError(
                f"edges {[ends for ends, _ in edges]} make no cell: each leads from a lower to a "
                f"higher node, and to every node from 1 on leads one; see {(start, end)}"
            )
        here = graph.add(f"edge{number}", op, at[start])
        at[end] = graph.add(f"sum{number}", Add(), at[end], here) if end in at else here


def _require_edge(made: Decision) -> None:
    unknown = sorted(set(map(str, made.cut)) - set(map(str, made.options)))
    if made.when or unknown:
        raise ValueError(
            f"choice {made.name!r} is an edge of a cell: it is always open, given conditions on "
            f"{list(made.when)}, and what cuts it is among its options, given {unknown}"
        )


def require_conditions(
    name: str, when: Mapping[str, tuple[Option, ...]], before: Sequence[Decision]
) -> None:
    """Raise `ValueError` if a choice is open under anything but options of choices `before` it."""
    known = {made.name: made.options for made in before}
    for parent, options in when.items():
        if parent not in known:
            raise ValueError(
                f"choice {name!r} is open under conditions on {parent!r}, which is no choice "
                f"before it; those are {', '.join(known) or 'none'}"
            )
        if not options or not set(options) <= set(known[parent]):
            raise ValueError(
                f"choice {name!r} is open under the options {list(options)} of {parent!r}, which "
                f"has {list(known[parent])}"
            )
