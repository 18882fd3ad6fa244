"""How much of the exact fronts of a table a search has found, where they are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Goal, Problem
from nas.report.words import Words
from nas.tabular import ExactFront, Tabular, exact_front, is_listable


@dataclass(frozen=True, eq=False)
class KnownFront:
    """The exact front of a goal.

    Attributes:
        goal: The goal, whose costs are known of all networks.
        exact: The front.
    """

    goal: Goal
    exact: ExactFront

    def share(self, measured: Measurements) -> float:
        """The share of the front's hypervolume that evaluations dominate, from 0 to 1."""
        within = measured[self.goal.violation(measured.rows) == 0]
        return self.exact.share(np.column_stack([within.losses, self.goal.values(within.rows)]))

    def in_words(self, measured: Measurements, words: Words) -> str:
        """A sentence on the share, with the reference point, and on the front's networks."""
        found = int((measured.places(self.exact.genotypes) >= 0).sum())
        names = ("error", *self.goal.objectives)
        figures = zip(names, self.exact.reference.tolist(), strict=True)
        place = ", ".join(f"{words.named(name)} {words.quantity(name, x)}" for name, x in figures)
        return (
            f"What was evaluated dominates {self.share(measured):.1%} of the exact front's "
            f"hypervolume (reference point: {place}); of that front's "
            f"{len(self.exact.genotypes)} networks {found} were evaluated."
        )


def known_fronts(table: Tabular, problem: Problem) -> dict[str, KnownFront]:
    """The exact front of each goal by its name; none if the table does not know all networks."""
    if not (table.exhaustive and is_listable(table.space)):
        return {}
    goals = [table.looked_up(goal) for goal in problem.goals]
    return {
        goal.name: KnownFront(goal, exact_front(table.space, goal, table.loss)) for goal in goals
    }


def progress_in_words(
    words: Words, fronts: Mapping[str, KnownFront], measured: Measurements
) -> str:
    """The best loss so far, and the share of the exact fronts: the least of several."""
    told = f"best {words.named('error')} {words.quantity('error', float(measured.losses.min()))}"
    if not fronts:
        return told
    least = min(front.share(measured) for front in fronts.values())
    share = f"{least:.1%} of the" if len(fronts) == 1 else f"at least {least:.1%} of each"
    return f"{told}, {share} exact front"
