"""The ledger of a searcher: the genotypes that were proposed and the evaluations of them."""

from __future__ import annotations

from collections.abc import Sequence

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes


class Ledger:
    """A record of all genotypes that a searcher has seen and of all evaluations it was told.

    Genotypes count as seen when they are proposed or told. Both lists are in order of arrival.

    Args:
        space: The space of the genotypes.
        metric: The name of the loss in `Evaluation.metrics`.
    """

    def __init__(self, space: SearchSpace, metric: str) -> None:
        self.space = space
        self.metric = metric
        self._told: dict[Genotype, Evaluation] = {}
        self._proposed: dict[Genotype, None] = {}
        self._measurements: Measurements | None = None

    @property
    def seen(self) -> int:
        """The number of genotypes that were proposed or told."""
        return len(self._proposed)

    @property
    def answered(self) -> int:
        """The number of genotypes whose evaluation was told."""
        return len(self._told)

    @property
    def pending(self) -> list[Genotype]:
        """The genotypes that were proposed but not told yet, in the order of proposal."""
        return [genotype for genotype in self._proposed if genotype not in self._told]

    def told(self) -> Measurements:
        """All evaluations told so far, as arrays; they are cached until more are told."""
        if self._measurements is None:
            self._measurements = self._arrays([*self._told.values()])
        return self._measurements

    def fresh(self, rows: IntArray, *, at_most: int | None = None) -> list[Genotype]:
        """The distinct genotypes of `rows` `(n, choices)` that were not seen before, in order."""
        unseen = (row for row in as_genotypes(rows) if row not in self._proposed)
        return list(dict.fromkeys(unseen))[:at_most]

    def propose(self, genotypes: Sequence[Genotype]) -> list[Genotype]:
        """Record `genotypes` as proposed, and return the same genotypes as a list."""
        self._proposed.update(dict.fromkeys(genotypes))
        return list(genotypes)

    def record(self, evaluations: Sequence[Evaluation]) -> Measurements:
        """Record evaluations as told, and return these evaluations as arrays.

        Evaluations of genotypes that were never proposed are recorded too.

        Raises:
            ValueError: An evaluation lacks the metric.
        """
        latest = self._arrays(evaluations)
        told = {evaluation.genotype: evaluation for evaluation in evaluations}
        self._told.update(told)
        self._proposed.update(dict.fromkeys(told))
        self._measurements = None
        return latest

    def _arrays(self, evaluations: Sequence[Evaluation]) -> Measurements:
        return Measurements.of(evaluations, self.space, metric=self.metric)
