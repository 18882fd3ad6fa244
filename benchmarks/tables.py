"""Search problems with known exact Pareto fronts, from published tables.

The tables are not part of this project; `ELASTIC_NAS_TABLES` names their folder. The package
`nas.tabular` reads them; NAS-Bench-201 also needs pyarrow. This module gives each problem a name,
one cost on one device, and reference points.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import Evaluation
from nas.problem.goals import Goal, Measured, Problem
from nas.tabular import open_table
from nas.tabular.published import VARIABLE
from search_spaces.space import Genotype, IntArray

FloatArray = NDArray[np.float64]

ROOT = Path(os.environ.get(VARIABLE, "/work/shared/data"))

# Name of a problem -> the published table, its device and the cost objective.
_PROBLEMS = {
    "nb201_1080ti_1": ("nasbench201", "1080ti_1", "latency_ms"),
    "nb201_1080ti_256": ("nasbench201", "1080ti_256", "latency_ms"),
    "nb201_silver_4114": ("nasbench201", "silver_4114", "latency_ms"),
    "nb201_pixel3": ("nasbench201", "pixel3", "latency_ms"),
    "mp201_joint": ("mp-nasbench201", "any", "weight_mb"),
    "nbmacro": ("nasbench-macro", "nasbench-macro", "mflops"),
    "channel_resnet": ("channel-bench-resnet", "channel-bench-resnet", "mflops"),
    "ofa_note10": ("ofa-note10", "note10", "latency_ms"),
}
NAMES = tuple(_PROBLEMS)


@dataclass(frozen=True)
class TableProblem:
    """A search problem with the loss and cost of every network, and exact hypervolumes.

    Attributes:
        name: One of `NAMES`.
        problem: The problem with one goal: small loss and small cost.
        loss: 100 minus the accuracy in percent, for genotypes `(n, choices)`.
        cost: The cost in ms, MB or millions of operations, for genotypes `(n, choices)`.
        reference: The tight reference point (loss, cost).
        exact: The hypervolume of the exact front for `reference`.
        corner: The largest loss and cost of the table, as a loose reference point.
        exact_corner: The hypervolume of the exact front for `corner`.
    """

    name: str
    problem: Problem
    loss: Callable[[IntArray], FloatArray]
    cost: Callable[[IntArray], FloatArray]
    reference: FloatArray
    exact: float
    corner: FloatArray
    exact_corner: float

    def evaluate(self, genotypes: Sequence[Genotype]) -> list[Evaluation]:
        """The evaluations of genotypes, looked up in the table."""
        rows = np.array(genotypes)
        found = zip(genotypes, self.loss(rows), self.cost(rows), strict=True)
        return [
            Evaluation(genotype, {"error": float(loss), "cost": float(cost)}, 0, 0.0, "table")
            for genotype, loss, cost in found
        ]

    def with_unknown_cost(self) -> TableProblem:
        """The same problem, but a searcher sees only the costs of evaluated networks."""
        goal = Goal(self.name, {"cost": Measured("cost")}, ("cost",))
        return replace(self, problem=replace(self.problem, goals=(goal,)))


def load(name: str) -> TableProblem:
    """The problem `name`, one of `NAMES`."""
    reference = json.loads((ROOT / "search_tables/references.json").read_text())[name]
    published, device, cost = _PROBLEMS[name]
    table = open_table(published, data=ROOT)
    figure = table.devices[device][cost]
    goal = Goal(name, {"cost": figure}, ("cost",))
    return TableProblem(
        name,
        Problem(table.space, (goal,)),
        table.loss,
        figure,
        np.array(reference["tight_reference"]),
        reference["exact_area_tight"],
        np.array(reference["corner_reference"]),
        reference["exact_area_corner"],
    )
