"""Spaces of tables: decisions without operators, for networks that others trained and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces.choice import Spec, choice, derived
from search_spaces.graph import Graph
from search_spaces.ops import Image, Op, Shape
from search_spaces.space import SearchSpace

Option = bool | int | float | str


@dataclass(frozen=True)
class Pick(Op):
    """A decision without a shape: an operator of a tabular space."""

    option: Option | Spec

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
    """

    name: str
    options: tuple[Option, ...]
    when: Mapping[str, tuple[Option, ...]]


@derived
def among(option: Option, options: tuple[Option, ...]) -> bool:
    """Whether a picked option is one of `options`."""
    return option in options


def tabular_space(decisions: Sequence[Decision], *, name: str) -> SearchSpace:
    """The space of all picks of `decisions`; a choice whose conditions fail is closed.

    Raises:
        ValueError: A condition names no earlier choice, or an option that this does not have.
    """
    graph = Graph(Image(3, 32))
    placed: dict[str, tuple[Decision, tuple[bool, ...]]] = {}
    for position, made in enumerate(decisions):
        require_conditions(made.name, made.when, [before for before, _ in placed.values()])
        conditions: dict[bool, None] = {}
        for parent, options in made.when.items():
            decided, before = placed[parent]
            here = among(choice(parent, decided.options), options)
            # Where the parent is closed, so is this; its own conditions come first for that.
            conditions |= dict.fromkeys((*before, here))
        placed[made.name] = made, tuple(conditions)
        pick = Pick(choice(made.name, made.options))
        graph.add(f"node{position}", pick, present=tuple(conditions) or True)
    if graph.nodes[graph.output].present:  # the output of a graph is always there
        graph.add("output", Pick(0))
    return SearchSpace(graph, name=name)


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
