"""What a searcher proposed and what it was told: the bookkeeping that all searchers share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import Evaluation
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes


class Ledger:
    """Every genotype seen, and the losses told, in the order of arrival.

    Args:
        space: The space that genotypes must be of.
        metric: The name of the loss in `Evaluation.metrics`.
    """

    def __init__(self, space: SearchSpace, metric: str) -> None:
        self.space = space
        self.metric = metric
        self.losses: dict[Genotype, float] = {}
        self._proposed: dict[Genotype, None] = {}

    @property
    def seen(self) -> int:
        """How many genotypes were proposed or told."""
        return len(self._proposed)

    @property
    def pending(self) -> list[Genotype]:
        """What was proposed and not told yet, in the order of proposal."""
        return [genotype for genotype in self._proposed if genotype not in self.losses]

    def told(self) -> tuple[IntArray, NDArray[np.float64]]:
        """The told genotypes `(n, choices)` and their losses `(n,)`."""
        rows = np.array(list(self.losses), dtype=np.int64).reshape(-1, len(self.space.choices))
        return rows, np.array(list(self.losses.values()))

    def fresh(self, rows: IntArray, *, at_most: int | None = None) -> list[Genotype]:
        """The distinct genotypes of `rows` not seen before, in their order."""
        unseen = (row for row in as_genotypes(rows) if row not in self._proposed)
        return list(dict.fromkeys(unseen))[:at_most]

    def propose(self, genotypes: Sequence[Genotype]) -> list[Genotype]:
        """Note `genotypes` as proposed and hand them on."""
        self._proposed.update(dict.fromkeys(genotypes))
        return list(genotypes)

    def record(self, evaluations: Sequence[Evaluation]) -> None:
        """Note what was measured; a genotype that was never proposed is welcome (a warm start)."""
        for evaluation in evaluations:
            genotype = self.space.validate(evaluation.genotype)
            if self.space.canonical(genotype) != genotype:
                raise ValueError(
                    f"evaluation of {genotype} is not in canonical form, which is "
                    f"{self.space.canonical(genotype)}; evaluate canonical genotypes only"
                )
            self._proposed[genotype] = None
            self.losses[genotype] = self._loss(evaluation)

    def _loss(self, evaluation: Evaluation) -> float:
        if self.metric not in evaluation.metrics:
            raise ValueError(
                f"the search minimises {self.metric!r}, but the evaluation of "
                f"{evaluation.genotype} has the metrics {sorted(evaluation.metrics)}"
            )
        loss = float(evaluation.metrics[self.metric])
        if not math.isfinite(loss):
            raise ValueError(
                f"{self.metric!r} of {evaluation.genotype} is {loss}; "
                "a search needs finite losses, so give diverged networks the worst finite one"
            )
        return loss
