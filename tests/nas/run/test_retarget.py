"""A finished run's archive for another device."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from nas.evaluation.measurements import Measurements
from nas.problem.front import measured_front
from nas.recipe.recipe import validate_recipe
from nas.report.store import load
from nas.run.folder import RunFolder
from nas.run.plan import prepare
from nas.targets.target_files import DEVICES
from tests.nas.runs import assert_refused, evaluations, measured, nas, succeeded


def other_device(tmp_path: Path) -> Path:
    """A device twice as slow at computing, and with other overheads."""
    text = (DEVICES / "edge-npu.toml").read_text()
    path = tmp_path / "slow-npu.toml"
    path.write_text(
        text.replace('"edge-npu"', '"slow-npu"').replace("overhead_us = 2.0", "overhead_us = 9.0")
    )
    return path


def test_a_new_device_needs_no_new_evaluation(finished, tmp_path):
    device, out = other_device(tmp_path), tmp_path / "new"
    succeeded(nas("search", "--from", finished, "--target", device, "--out", out))
    assert measured(out) == measured(finished)
    results = load(RunFolder(out).results)
    [target] = results.targets
    assert target.name == "slow-npu"
    assert target.chosen is not None
    assert RunFolder(out).exported("slow-npu").exists()
    assert RunFolder(out).supernet.read_bytes() == RunFolder(finished).supernet.read_bytes()


def test_its_front_is_that_of_the_archive_under_its_own_costs(finished, tmp_path):
    device, out = other_device(tmp_path), tmp_path / "new"
    succeeded(
        nas("search", "--from", finished / "archive.journal", "--target", device, "--out", out)
    )
    with RunFolder(out).front("slow-npu").open() as file:
        latencies = [float(line["latency_ms"]) for line in csv.DictReader(file)]
    recipe = load_recipe_of(out)
    plan = prepare(recipe, RunFolder(out))
    found = Measurements.of(evaluations(finished), plan.space)
    front = measured_front(plan.problem.goals[0], found)
    rows = np.array([evaluation.genotype for evaluation in front])
    expected = plan.problem.goals[0].costs["latency_ms"](rows)
    assert latencies == pytest.approx(expected.tolist(), rel=1e-6)


def load_recipe_of(folder: Path):
    return validate_recipe(json.loads(RunFolder(folder).recipe.read_bytes()))


def test_new_evaluations_come_on_top_and_a_second_call_adds_none(finished, tmp_path):
    device, out = other_device(tmp_path), tmp_path / "new"
    command = ("search", "--from", finished, "--target", device, "--out", out, "--evaluations", "3")
    succeeded(nas(*command, "--set", "search.searcher=guided"))
    first = measured(out)
    assert first[: len(measured(finished))] == measured(finished)
    assert len(first) == len(measured(finished)) + 3
    succeeded(nas(*command, "--set", "search.searcher=guided"))
    assert measured(out) == first


def test_what_is_no_searched_run_is_refused(tmp_path, finished, recipe):
    assert_refused(nas("search", "--from", tmp_path, "--target", "edge-npu"), "lacks", "nas run")
    assert_refused(nas("search", "--from", finished), "--target")
    assert_refused(nas("search"), "--from")
    assert_refused(nas("search", recipe, "--target", "edge-npu"), "--from")
    outcome = nas("search", "--from", finished, "--target", "no-such", "--out", tmp_path / "x")
    assert_refused(outcome, "no-such")


@pytest.mark.parametrize("other", ["search.validation_samples=20", "training.float_epochs=9"])
def test_evaluations_are_not_mixed_with_others(finished, tmp_path, other):
    command = ("search", "--from", finished, "--target", "edge-npu", "--out", tmp_path / "new")
    assert_refused(nas(*command, "--evaluations", "1", "--set", other), other.split(".")[0])
    assert not (tmp_path / "new").exists()
