"""Figures of the task's criterion as objectives and limits, from the recipe to the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from nas.report.store import load
from tests.nas.runs import assert_refused, evaluations, nas, settings, succeeded

FIGURES = (
    "targets.0.objective=['latency_ms', 'ece']",
    "targets.1.limits={macro_f1 = 30}",
    "search.budget=12",
)


@pytest.mark.parametrize("searcher", ["guided", "nsga2"])
def test_figures_are_measured_searched_and_limited(
    recipe: Path, tmp_path: Path, searcher: str
) -> None:
    folder = tmp_path / "run"
    options = settings(*FIGURES, f"search.searcher={searcher}", "search.proxies=4")
    succeeded(nas("run", recipe, "--out", folder, *options))
    told = {one.genotype: one.metrics for one in evaluations(folder)}
    assert {*next(iter(told.values()))} == {"error", "loss", "ece", "macro_f1_loss"}
    first, second = load(folder / "results.json").targets
    front = [(point.error, point.costs["latency_ms"], point.costs["ece"]) for point in first.front]
    for point in first.front:
        assert point.costs["ece"] == told[point.genotype]["ece"]
    assert not any(all(np.array(a) >= b) and a != b for a in front for b in front)
    assert second.limits == {"macro_f1": 70.0}  # at least 30 is a loss of at most 70
    for point in second.front:
        assert point.costs["macro_f1"] == told[point.genotype]["macro_f1_loss"] <= 70.0


def test_what_a_file_was_made_for_is_in_the_file(finished: Path) -> None:
    (path, *_) = finished.glob("*.onnx")
    held = {prop.key.split(".")[-1]: prop.value for prop in onnx.load(path).metadata_props}
    assert json.loads(held["output"])["names"] == [str(number) for number in range(10)]
    assert json.loads(held["inputs"])["image"].keys() >= {"mean", "std"}


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("search.early_stop=true", ("early_stop", "ece, macro_f1")),
        ("search.searcher=differentiable", ("differentiable", "'ece' is measured")),
    ],
)
def test_who_needs_costs_before_is_told_before_training(
    recipe: Path, tmp_path: Path, override: str, parts: tuple[str, ...]
) -> None:
    folder = tmp_path / "run"
    assert_refused(nas("run", recipe, "--out", folder, *settings(*FIGURES, override)), *parts)
    assert not (folder / "training.safetensors").exists()
