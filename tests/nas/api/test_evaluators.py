"""The evaluators that `nas.search` takes keep the contract, and the contract finds faults."""

import numpy as np
import pytest

from nas.api.objective import Figures, ObjectiveEvaluator
from nas.evaluation.evaluation import Evaluation, EvaluatorFactory
from nas.facts.metric import MetricWords
from nas.tabular import load_table
from nas.testing.evaluator import EvaluatorContract
from tests.nas.api.toys import objective, toy_space
from tests.nas.tabular.made import EXAMPLE


class TestObjectiveEvaluator(EvaluatorContract):
    @pytest.fixture
    def space(self):
        return toy_space()

    @pytest.fixture
    def evaluator(self, space):
        return ObjectiveEvaluator(objective, space, Figures(MetricWords("error"), ("size",)))


@pytest.fixture(scope="module")
def table():
    return load_table(EXAMPLE)


class TestTableEvaluator(EvaluatorContract):
    @pytest.fixture
    def space(self, table):
        return table.space

    @pytest.fixture
    def evaluator(self, table):
        return table.evaluator()


class Faulty:
    """An evaluator whose errors depend on how many were asked before, as its kind says."""

    def __init__(self, kind):
        self.kind, self.asked = kind, 0

    def __call__(self, genotypes):
        for genotype in genotypes:
            self.asked += 1
            error = float(sum(genotype)) + (self.asked if self.kind == "order" else 0)
            metrics = {"error": error}
            if self.kind == "metrics" and sum(genotype) % 2:
                metrics["odd"] = 1.0
            yield [Evaluation(genotype, metrics, 0, 0.0, "here")] * (self.kind != "none")

    def factory(self):
        return EvaluatorFactory(lambda arrays: Faulty(self.kind), {})


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        ("order", "test_a_result_depends_on_the_genotype_alone"),
        ("none", "test_gives_one_finite_evaluation_per_genotype"),
        ("metrics", "test_gives_one_finite_evaluation_per_genotype"),
        ("lambda", "test_the_factory_builds_the_same_evaluator"),
    ],
)
def test_the_contract_finds_faults(kind, test):
    space, contract = toy_space(), EvaluatorContract()
    rng = np.random.default_rng(0)
    genotypes = [*dict.fromkeys(space.sample(rng) for _ in range(20))][:6]
    with pytest.raises((AssertionError, AttributeError)):
        getattr(contract, test)(Faulty(kind), genotypes)
