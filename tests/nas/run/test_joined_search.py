"""A run whose training searches for its target, and whose favourite is evaluated first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nas.recipe.recipe import load_recipe
from nas.run.folder import RunFolder
from nas.run.plan import prepare
from tests.nas.runs import assert_refused, evaluations, measured, nas, settings, succeeded

JOINED = (
    "training.sampler=single-path",
    "search.searcher=guided",
    "search.budget=5",
    "search.proxies=0",
)


@pytest.fixture(scope="module")
def joined(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joined") / "run"
    succeeded(nas("run", recipe, "--out", folder, *settings(*JOINED)))
    return folder


def favoured(folder: Path) -> tuple[int, ...]:
    return tuple(json.loads((folder / "training.json").read_text())["favoured"])


def test_what_the_training_favours_is_evaluated_first(joined):
    found = [evaluation.genotype for evaluation in evaluations(joined)]
    assert found[0] == favoured(joined)
    assert len(set(found)) == 5


def test_a_larger_budget_goes_on_as_if_it_had_been_given_at_first(recipe, joined, tmp_path):
    before = measured(joined)
    longer = settings(*JOINED, "search.budget=7")
    succeeded(nas("run", recipe, "--out", joined, "--resume", *longer))
    assert measured(joined)[:5] == before
    assert len(measured(joined)) == 7


def test_the_cost_is_the_first_objective_of_the_first_target(recipe, tmp_path):
    with RunFolder(tmp_path / "run").open(load_recipe(recipe, JOINED), resume=False) as files:
        plan = prepare(load_recipe(recipe, JOINED), files)
        rows, goal = plan.space.sample_array(np.random.default_rng(0), 9), plan.problem.goals[0]
        cost = plan.device_cost
        assert cost is not None
        assert (cost(rows) == goal.costs[goal.objectives[0]](rows)).all()


@pytest.mark.parametrize(("names", "known"), [("edge-npu this-cpu", True), ("this-cpu", False)])
def test_only_the_table_of_the_first_target_matters(recipe, tmp_path, names, known):
    listed = ", ".join(f'{{name = "{name}"}}' for name in names.split())
    made = load_recipe(recipe, [*JOINED, f"targets=[{listed}]"])
    with RunFolder(tmp_path / "run").open(made, resume=False) as files:
        plan = prepare(made, files)
        assert [target.name for target in plan.unmeasured] == ["this-cpu"]
        assert (plan.device_cost is not None) == known


def test_one_random_subnet_is_refused_in_a_sentence(recipe, tmp_path):
    wrong = settings(*JOINED, "training.random_subnets=1")
    outcome = nas("run", recipe, "--out", tmp_path / "run", *wrong)
    assert_refused(outcome, "random_subnets = 1", "give at least 2, or another sampler")
