"""The contract of an evaluator."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from nas.evaluation.evaluation import Evaluation, flat
from nas.evaluation.workers import Rebuildable
from search_spaces.space import Genotype, SearchSpace

_COUNT = 6


class EvaluatorContract:
    """The tests of an evaluator; a subclass gives it and its space as fixtures.

    The factory has to be picklable by Python's own `pickle`, so that workers anywhere can build
    the evaluator.
    """

    @pytest.fixture
    def evaluator(self) -> Rebuildable:
        raise NotImplementedError

    @pytest.fixture
    def space(self) -> SearchSpace:
        raise NotImplementedError

    @pytest.fixture
    def genotypes(self, space) -> list[Genotype]:
        rng = np.random.default_rng(0)
        drawn = [space.smallest, space.largest, *(space.sample(rng) for _ in range(8 * _COUNT))]
        return [*dict.fromkeys(drawn)][:_COUNT]

    def test_gives_one_finite_evaluation_per_genotype(self, evaluator, genotypes) -> None:
        found = flat(evaluator(genotypes))
        assert sorted(one.genotype for one in found) == sorted(genotypes)
        assert all(math.isfinite(value) for one in found for value in one.metrics.values())
        assert len({frozenset(one.metrics) for one in found}) == 1, "the same metrics for all"

    def test_a_result_depends_on_the_genotype_alone(self, evaluator, genotypes) -> None:
        together = _metrics(flat(evaluator(genotypes)))
        reversed_ = _metrics(flat(evaluator(genotypes[::-1])))
        alone = _metrics([one for each in genotypes for one in flat(evaluator([each]))])
        assert together == reversed_ == alone

    def test_takes_genotypes_from_an_iterator_and_ends_with_it(self, evaluator, genotypes) -> None:
        assert len(flat(evaluator(iter(genotypes[:2])))) == len(genotypes[:2])
        assert flat(evaluator(iter(()))) == []

    def test_the_factory_builds_the_same_evaluator(self, evaluator, genotypes) -> None:
        rebuilt = pickle.loads(pickle.dumps(evaluator.factory()))()
        assert _metrics(flat(rebuilt(genotypes))) == _metrics(flat(evaluator(genotypes)))


def _metrics(evaluations: list[Evaluation]) -> dict[Genotype, dict[str, float]]:
    return {one.genotype: dict(one.metrics) for one in evaluations}
