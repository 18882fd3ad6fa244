"""A search so far, as its callbacks and its user see it: fronts, frames, plots and the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.api.by_target import of_target
from nas.api.evaluated import Evaluated, costs_of
from nas.api.frames import frame_of
from nas.api.problem import NO_COST
from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.problem.front import measured_front
from nas.problem.goals import Goal

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


class Searched(Evaluated):
    """The networks that a search has evaluated so far, and what can be shown of them.

    Attributes:
        stopped: Whether the search was told to stop.
    """

    stopped = False

    def stop(self) -> None:
        """Let the search end as soon as the evaluations that have arrived are archived."""
        self.stopped = True

    def front(self, target: str | None = None) -> pd.DataFrame:
        """The networks that no other network dominates, as a data frame, cheapest first.

        The columns are the searched figure, the costs, further figures, the picks as plain values
        and the genotype.

        Args:
            target: The name of a target; by default the only one.

        Raises:
            ValueError: There is no such target, or there are several and none is named.
        """
        goal = self._goal(target)
        return self._frame(goal, measured_front(goal, self.measured))

    def frame(self, target: str | None = None) -> pd.DataFrame:
        """All evaluated networks as a data frame like that of `front`, in order of evaluation."""
        return self._frame(self._goal(target), self.measured.evaluations)

    def plot(self, target: str | None = None, *, objective: str | None = None) -> go.Figure:
        """The front as a figure of plotly; where no cost is minimised, the course of the search.

        Args:
            target: The name of a target; by default the only one.
            objective: The cost on the axis; by default the first objective.

        Raises:
            ValueError: There is no such target or objective, or nothing is evaluated yet.
        """
        from nas.api.showing import figure

        return figure(self, self._goal(target), objective)

    def report(self, path: str | Path) -> Path:
        """Write the report of the search to an HTML file, which needs no other file.

        Raises:
            ValueError: Nothing is evaluated yet, or no cost is minimised.
            WriteError: The file cannot be written.
        """
        from nas.api.showing import report

        return report(self, Path(path))

    def _frame(self, goal: Goal, evaluations: Sequence[Evaluation]) -> pd.DataFrame:
        costs = costs_of(goal, Measurements.of(evaluations, self.space))
        metrics = [self.figures_of(one) for one in evaluations]
        ordered = [*goal.objectives, *costs, *(name for one in metrics for name in one)]
        figures = {
            name: costs[name].tolist()
            if name in costs
            else [one.get(name, np.nan) for one in metrics]
            for name in dict.fromkeys([self.metric.name, *ordered])
            if name != NO_COST
        }
        return frame_of(self.space, [one.genotype for one in evaluations], figures)

    def _goal(self, target: str | None) -> Goal:
        return of_target(self.goals, target)
