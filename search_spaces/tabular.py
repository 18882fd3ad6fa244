"""Tabular spaces: decisions without real operators, for networks that others have measured.

A tabular benchmark, such as NAS-Bench-201, lists networks by their decisions with the accuracy and
the costs of each. Such a space can be searched, but its networks cannot be built or trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces.choice import Spec, choice, derived
from search_spaces.graph import Graph
from search_spaces.ops import Add, Input, Op, Shape
from search_spaces.space import SearchSpace

Option = bool | int | float | str


@dataclass(frozen=True)
class Pick(Op):
    """The operator of a tabular space: it stands for a decision and computes nothing.

    Attributes:
        option: The picked option.
        cut: The options that connect nothing, such as `none` on an edge of a cell.
    """

    option: Option | Spec
    cut: tuple[Option | Spec, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether the output depends on the input; False for the options in `cut`."""
        return self.option not in self.cut

    def infer(self, *inputs: Shape) -> Shape:
        """The shape of the first input."""
        return inputs[0]


@dataclass(frozen=True)
class Decision:
    """One choice of a tabular space.

    Attributes:
        name: The name of the choice.
        options: The options, ascending in cost where they have an order.
        when: Name of an earlier choice -> the options of that choice under which this one is open.
            If there are several such conditions, all must hold. Empty: always open.
        edge: The nodes of a cell, as in `add_cell`, between which the choice picks the operator;
            None where the choice is no edge of a cell.
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
    """The search space of all combinations of options of `decisions`.

    A choice is closed where one of its conditions fails. In the graph, the decisions follow each
    other in a line; edges of a cell come last.

    Args:
        decisions: The choices; each may have conditions on those before it.
        name: The name of the space.

    Raises:
        ValueError: If a condition names no earlier choice or an option that this choice does not
            have, or if the edges form no cell.
    """
    graph = Graph(Input("network", (1,)))
    placed: dict[str, tuple[Decision, tuple[bool, ...]]] = {}
    edges: list[tuple[tuple[int, int], Op]] = []
    for position, made in enumerate(decisions):
        require_conditions(made.name, made.when, [before for before, _ in placed.values()])
        conditions: dict[bool, None] = {}
        for parent, options in made.when.items():
            decided, before = placed[parent]
            here = among(choice(parent, decided.options), options)
            # Where the parent is closed, this choice is closed too: a choice in a condition is open
            # only where the conditions before it hold, so those of the parent come first.
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
    """Append a cell to `graph`: numbered nodes, each the sum of the results of its edges.

    An edge applies its operator to the result of a lower node. Node 0 is the input of the cell, and
    the node with the highest number is its output (Dong and Yang 2020, section 2.1).

    Args:
        graph: The graph; its output so far becomes node 0.
        edges: For each edge, the nodes (from, to), of which the first has the lower number, and
            the operator.

    Raises:
        ValueError: If an edge leads to a lower node, or no edge leads to some node.
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
    """Raise `ValueError` if a condition of a choice is not about an earlier choice and its options.

    Args:
        name: The name of the choice.
        when: Its conditions, as in `Decision`.
        before: The choices before it.
    """
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
