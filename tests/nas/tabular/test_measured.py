"""Costs of a table that a search learns by evaluations only."""

import re

import numpy as np
import pytest

from nas.evaluation.evaluation import flat
from nas.problem.front import hypervolume
from nas.problem.goals import Measured
from nas.report.store import load
from nas.search.named import searcher_named
from nas.tabular import TableError, exact_front, load_table
from tests.nas.runs import assert_refused, nas, settings, succeeded
from tests.nas.tabular.made import EXAMPLE, write

TEXT = """
files = ["nets.csv"]
loss = "error"
MISSING
[costs]
latency_ms = { column = "ms", measured = true }
size_mb = "mb"
[choices]
a = [0, 1, 2, 3]
b = [0, 1, 2, 3]
c = [0, 1, 2, 3]
"""
GRID = np.indices((4, 4, 4)).reshape(3, -1).T
RECIPE = EXAMPLE.parents[2] / "runs" / "table.toml"


def described(folder, rows=GRID, missing=""):
    figures = [
        {"a": a, "b": b, "c": c, "error": 50.0 - 8 * a - 3 * b, "ms": 14 + a + b - 4 * c, "mb": 1}
        for a, b, c in rows.tolist()
    ]
    return write(folder, figures, TEXT.replace("MISSING", missing))


@pytest.fixture
def table(tmp_path):
    return load_table(described(tmp_path))


def searched(table, rounds):
    searcher, evaluate = searcher_named("guided", table.problem(), seed=0), table.evaluator()
    found = []
    for _ in range(rounds):
        told = flat(evaluate(searcher.ask(5)))
        searcher.tell(told)
        found += told
    return found


def test_a_searcher_sees_such_a_cost_only_in_evaluations_and_finds_the_front(table):
    goal = table.goal("nets")
    assert goal.costs["latency_ms"] == Measured("nets.latency_ms")
    assert goal.costs["size_mb"] is table.devices["nets"]["size_mb"]
    exact = exact_front(table.space, table.looked_up(goal), table.loss)
    found = searched(table, rounds=6)
    points = [(one.error, one.metrics["nets.latency_ms"]) for one in found]
    assert hypervolume(np.array(points), exact.reference) > 0.9 * exact.volume
    assert len(found) == 30


def test_a_network_that_cannot_be_built_has_the_largest_cost(tmp_path):
    built = GRID[GRID.sum(axis=1) % 3 > 0]
    table = load_table(described(tmp_path, built, 'missing = "absent"'))
    (found,) = flat(table.evaluator()([(0, 0, 0)]))
    costs = table.devices["nets"]["latency_ms"](built)
    assert found.metrics == {"error": table.loss(built).max(), "nets.latency_ms": costs.max()}
    assert len({one.genotype for one in searched(table, rounds=3)}) == 15


def test_a_recipe_may_say_so_of_any_table(table):
    both = table.measuring("nets", ["size_mb"])
    assert {*both.goal("nets").costs.values()} == {
        Measured("nets.latency_ms"),
        Measured("nets.size_mb"),
    }
    with pytest.raises(TableError, match="no cost power_mw; measured may name latency_ms, size_mb"):
        table.measuring("nets", ["power_mw"])
    with pytest.raises(TableError, match="no device 'phone'"):
        table.measuring("phone", [])


def test_a_loss_is_always_measured(tmp_path):
    rows = [{"a": 0, "error": 1, "ms": 1}]
    text = (
        'loss = { column = "error", measured = true }\ncosts = { ms = "ms" }\nchoices = { a = {} }'
    )
    path = write(tmp_path, rows, 'files = ["nets.csv"]\n' + text)
    with pytest.raises(TableError, match=re.escape("loss.measured: unknown key")):
        load_table(path)


def test_a_run_says_which_cost_is_measured_and_is_judged_by_all_of_the_table(tmp_path):
    overrides = settings(
        f"table.description={described(tmp_path)}",
        "targets=[{name='nets', limits={latency_ms=7}, measured=['size_mb']}]",
        "search.budget=20",
    )
    outcome = nas("run", RECIPE, *overrides, "--out", tmp_path / "run")
    succeeded(outcome)
    assert "latency_ms (measured)" in outcome.out
    (target,) = load(tmp_path / "run" / "results.json").targets
    assert target.chosen is not None
    assert target.chosen.costs["latency_ms"] <= 7
    assert any("of the exact front's hypervolume" in note for note in target.notes)
    refused = nas("run", RECIPE, *overrides, *settings("targets.0.measured=['watts']"))
    assert_refused(refused, "no cost watts", "measured may name")
