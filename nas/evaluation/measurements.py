"""Evaluations as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import ERROR, Evaluation
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Measurements:
    """Evaluations of distinct subnets of one space, as a list and as arrays in the same order.

    Attributes:
        evaluations: The evaluations, `n` of them.
        rows: The genotypes of the subnets, `(n, choices)`.
        losses: The metric that is minimised, `(n,)`.
        complete: Whether each subnet was shown all samples, so that its loss is no estimate,
            `(n,)`.
    """

    evaluations: tuple[Evaluation, ...]
    rows: IntArray
    losses: FloatArray
    complete: BoolArray

    @classmethod
    def of(
        cls, evaluations: Sequence[Evaluation], space: SearchSpace, *, metric: str = ERROR
    ) -> Measurements:
        """The measurements of `evaluations`, whose genotypes are canonical ones of `space`.

        Args:
            evaluations: The evaluations of distinct subnets.
            space: The space of the genotypes.
            metric: The name of the loss in `Evaluation.metrics`.

        Raises:
            ValueError: An evaluation lacks the metric.
        """
        rows = np.array([one.genotype for one in evaluations], dtype=np.int64)
        complete = np.array([one.complete for one in evaluations], dtype=np.bool_)
        shape = len(evaluations), len(space.choices)
        return cls(tuple(evaluations), rows.reshape(shape), _column(evaluations, metric), complete)

    def __len__(self) -> int:
        return len(self.evaluations)

    def __getitem__(self, places: slice | IntArray | BoolArray) -> Measurements:
        """A part of the measurements, given by a slice, a mask, or positions in their order."""
        kept = np.arange(len(self))[places]
        evaluations = tuple(self.evaluations[place] for place in kept)
        return Measurements(evaluations, self.rows[kept], self.losses[kept], self.complete[kept])

    def metric(self, name: str) -> FloatArray:
        """The metric `name`, `(n,)`; raises `ValueError` if an evaluation lacks the metric."""
        return _column(self.evaluations, name)

    def places(self, rows: IntArray) -> IntArray:
        """The position of each genotype of `(m, choices)`, or -1 if it is missing, `(m,)`."""
        found = [self._place.get(genotype, -1) for genotype in as_genotypes(rows)]
        return np.array(found, dtype=np.int64)

    @cached_property
    def _place(self) -> dict[Genotype, int]:
        return {one.genotype: place for place, one in enumerate(self.evaluations)}


def _column(evaluations: Sequence[Evaluation], metric: str) -> FloatArray:
    for one in evaluations:
        if metric not in one.metrics:
            raise ValueError(
                f"the evaluation of {one.genotype} has no metric {metric!r} among "
                f"{sorted(one.metrics)}, which a problem or a goal names; let the evaluator "
                "measure it, name another metric, or give the goal a cost that can be computed"
            )
    return np.array([one.metrics[metric] for one in evaluations], dtype=np.float64)
