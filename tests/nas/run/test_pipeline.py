"""A whole run, held against what its own files say when they are read by other means."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.ort import onnxruntime
from nas.problem.goals import Goal
from nas.recipe.recipe import Recipe, load_recipe
from nas.report.data import Results, TargetResult
from nas.report.selection import selections
from nas.report.store import load
from nas.run.folder import RunFolder
from nas.run.pipeline import run
from nas.run.plan import prepare
from nas.run.probing import probed
from nas.run.steps.exporting import chosen
from nas.run.steps.training import trained
from nas.terminal.display import Silent
from nas.testing.searcher import widths
from search_spaces.costs import SpaceKernels
from search_spaces.space import IntArray, SearchSpace
from tests.nas.runs import assert_refused, evaluations, measured, nas, settings, succeeded

TARGETS = ("edge-npu", "bit-serial")
LIMIT_BYTES = 1200
OVERRIDES = (
    "search.searcher=guided",
    "search.budget=26",
    f"targets.1.limits.model_bytes={LIMIT_BYTES}",
    "targets.1.tolerance=5",
)


@pytest.fixture(scope="module")
def guided(recipe: Path) -> Recipe:
    return load_recipe(recipe, OVERRIDES)


@pytest.fixture(scope="module")
def made(guided: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Results]:
    files = RunFolder(tmp_path_factory.mktemp("guided") / "run")
    return files, run(guided, folder=files.path)


def result(results: Results, name: str) -> TargetResult:
    return next(target for target in results.targets if target.name == name)


def test_the_results_on_the_disk_are_those_given(made):
    files, results = made
    assert load(files.results) == results
    assert results.run == "tiny"
    assert len(results.evaluated) == 26
    assert len({point.genotype for point in results.evaluated}) == 26
    assert results.task.endswith(" test samples")
    assert {"elastic-nas", "torch", "onnxruntime"} <= results.versions.keys()
    assert files.report.read_text().count("<html") == 1


def test_every_evaluation_is_a_canonical_network_of_the_space(made):
    files, results = made
    space = SearchSpace.from_json(files.space.read_text())
    assert all(space.canonical(point.genotype) == point.genotype for point in results.evaluated)
    archive = [(point.genotype, dict(point.metrics)) for point in results.evaluated]
    assert archive == measured(files.path)


def test_errors_are_predicted_before_they_are_measured(made):
    _, results = made
    assert all(point.predicted is None for point in results.evaluated[:8])
    assert all(point.predicted is not None for point in results.evaluated[8:])


@pytest.mark.parametrize("name", TARGETS)
def test_precisions_for_a_budget_are_those_of_least_summed_sensitivity(made, guided, name):
    files, _ = made
    plan = prepare(guided, files)
    probe = probed(plan, trained(plan, Silent()))
    (goal,) = (goal for goal in plan.problem.goals if goal.name == name)
    bits = [column for choice, column in plan.space.column.items() if choice.endswith(".bits")]
    every = np.array([plan.space.largest] * int(np.prod(plan.space.counts[bits])))
    every[:, bits] = list(itertools.product(*(range(plan.space.counts[b]) for b in bits)))
    loss = SpaceKernels(plan.space).compile_by_address(probe.sensitivity)(every)
    cost = goal.values(every)[:, 0]
    budgets = np.quantile(cost, [0.0, 0.5, 1.0])
    found = probe.precisions(plan, plan.space.largest, goal, budgets=budgets)
    best = [every[np.where(cost <= budget, loss, np.inf).argmin()] for budget in budgets]
    np.testing.assert_array_equal(found, best)


@pytest.mark.parametrize("name", TARGETS)
def test_the_front_holds_all_that_nothing_beats_within_the_limits(made, name):
    _, results = made
    target = result(results, name)
    points = [
        (point.metrics["error"], target.costs["latency_ms"][i])
        for i, point in enumerate(results.evaluated)
        if all(target.costs[cost][i] <= limit for cost, limit in target.limits.items())
    ]
    best = {p for p in points if not any(beats(q, p) for q in points)}
    assert sorted(best) == sorted(
        (point.error, point.costs["latency_ms"]) for point in target.front
    )


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


@pytest.mark.parametrize("name", TARGETS)
def test_the_pareto_table_is_the_front(made, name):
    files, results = made
    target = result(results, name)
    rows = list(csv.DictReader(files.front(name).read_text().splitlines()))
    assert [(float(r["error"]), float(r["latency_ms"])) for r in rows] == [
        (point.error, point.costs["latency_ms"]) for point in target.front
    ]
    assert [tuple(map(int, row["genotype"].split())) for row in rows] == [
        point.genotype for point in target.front
    ]


@pytest.mark.parametrize("name", TARGETS)
def test_the_chosen_subnet_meets_its_limits_and_is_on_the_front_or_within_tolerance(made, name):
    _, results = made
    target = result(results, name)
    assert target.chosen is not None
    assert all(target.chosen.costs[cost] <= limit for cost, limit in target.limits.items())
    least = min(point.error for point in target.front)
    allowed = least + (5 if name == "bit-serial" else 0)
    assert target.chosen.error.measured is not None
    assert target.chosen.error.measured.mean <= allowed
    cheaper = [p for p in target.front if p.costs["latency_ms"] < target.chosen.costs["latency_ms"]]
    assert all(point.error > allowed for point in cheaper)
    assert target.chosen.genotype in [point.genotype for point in target.front]


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_shipped_is_what_the_report_explains(made, name):
    files, results = made
    why = selections(load(files.results))[name]
    assert results.evaluated[why.row].genotype == result(results, name).chosen.genotype
    assert why.target.tolerance == (5.0 if name == "bit-serial" else 0.0)


@pytest.mark.parametrize("name", TARGETS)
def test_the_exported_file_has_the_accuracy_that_the_report_states(made, guided, name):
    files, results = made
    picked = result(results, name).chosen
    assert picked is not None
    assert picked.file is not None
    session = onnxruntime.InferenceSession(files.path / picked.file.path)
    right = total = 0
    for inputs, labels in guided.task.load().test_batches(64):
        (logits,) = session.run(None, {name: x.numpy() for name, x in inputs.items()})
        right += int((np.asarray(logits).argmax(1) == labels.numpy()).sum())
        total += len(labels)
    assert results.words.shown.figure(picked.file.test_error) == pytest.approx(100 * right / total)
    assert picked.file.bytes.measured is not None
    assert picked.file.bytes.measured.mean == (files.path / picked.file.path).stat().st_size


@pytest.mark.parametrize("name", TARGETS)
def test_every_error_has_its_interval_and_every_step_of_the_front_its_test(made, name):
    _, results = made
    target = result(results, name)
    samples = results.data.splits["validation"].samples
    for point in (*target.front, *target.references):
        assert point.interval.low <= point.error <= point.interval.high
        assert point.interval.wrong == round(point.error * samples / 100)
    worst, *others = sorted(target.front, key=lambda point: -point.error)
    assert worst.p_value is None
    assert all(0 <= point.p_value <= 1 for point in others)
    file = target.chosen.file
    assert file.test_intervals["error"].samples == results.data.splits["test"].samples
    assert {"error", "top5", "nll"} <= file.test_intervals.keys() <= {"error", *file.test_metrics}


def test_the_largest_network_is_compared_with_its_rounding_and_with_a_constant_answer(made):
    _, results = made
    largest, counts = results.largest, results.data.splits["validation"].classes
    assert largest.constant == pytest.approx(
        100 - 100 * max(counts.values()) / sum(counts.values())
    )
    named = {r.name: r.error for target in results.targets for r in target.references}
    assert named["full precision, largest"] == largest.full_precision
    assert named["uniform 8-bit, largest"] == largest.uniform
    assert 0 <= largest.p_value <= 1


@pytest.mark.parametrize("name", TARGETS)
def test_the_drawn_graph_has_every_layer_of_the_chosen_subnet(made, name):
    chosen = result(made[1], name).chosen
    weighted = [node.address for node in chosen.graph if node.weight is not None]
    assert weighted == [layer.address for layer in chosen.layers]


def test_a_finished_run_resumed_trains_and_evaluates_nothing(made, guided, tmp_path, monkeypatch):
    files, results = made
    folder = Path(shutil.copytree(files.path, tmp_path / "run"))
    before = (folder / "archive.journal").read_bytes()
    monkeypatch.setattr("nas.run.steps.training.train", None)
    monkeypatch.setattr("nas.archive.archive.Archive.append", None)
    again = run(guided, folder=folder, resume=True)
    assert (folder / "archive.journal").read_bytes() == before
    assert again.evaluated == results.evaluated
    assert again.targets == results.targets


def test_a_larger_budget_goes_on_as_if_it_had_been_given_at_first(
    recipe, finished, folder, tmp_path
):
    more = list(settings("search.budget=11"))
    succeeded(nas("run", recipe, "--out", folder, "--resume", *more))
    assert measured(folder)[:8] == measured(finished)
    succeeded(nas("run", recipe, "--out", tmp_path / "new", *more))
    assert measured(folder) == measured(tmp_path / "new")


@pytest.mark.parametrize("searcher", ["random", "nsga2", "guided", "differentiable"])
def test_every_searcher_goes_on_from_half_an_archive(recipe, folder, searcher):
    options = list(settings(f"search.searcher={searcher}", "search.budget=24", "search.batch=6"))
    journal = folder / "archive.journal"
    journal.unlink()
    succeeded(nas("search", recipe, "--out", folder, *options))
    whole, lines = measured(folder), journal.read_bytes().splitlines(keepends=True)
    assert len({genotype for genotype, _ in whole}) == 24
    journal.write_bytes(b"".join(lines[:-9]))
    succeeded(nas("search", recipe, "--out", folder, *options))
    assert measured(folder) == whole


def test_a_run_with_early_stopping_is_honest_and_goes_on_as_it_would_have(recipe, folder):
    options = list(settings("search.early_stop=true", "search.budget=24", "search.batch=6"))
    journal = folder / "archive.journal"
    journal.unlink()
    succeeded(nas("run", recipe, "--out", folder, "--resume", *options))
    whole, lines = evaluations(folder), journal.read_bytes().splitlines(keepends=True)
    stopped = {one.genotype for one in whole if not one.complete}
    assert stopped
    results = load(folder / "results.json")
    assert {point.genotype for point in results.evaluated if point.stopped} == stopped
    for target in results.targets:
        assert stopped.isdisjoint(point.genotype for point in target.front)
        assert f"{len(stopped)} of 24 evaluations were stopped early" in " ".join(target.notes)
    journal.write_bytes(b"".join(lines[:-9]))
    succeeded(nas("search", recipe, "--out", folder, *options))
    assert [(one.genotype, one.answers) for one in evaluations(folder)] == [
        (one.genotype, one.answers) for one in whole
    ]


def test_front_members_are_shown_the_images_held_back(recipe, folder):
    options = list(settings("search.validation_samples=100", "search.confirm_samples=150"))
    (folder / "archive.journal").unlink()
    succeeded(nas("run", recipe, "--out", folder, "--resume", *options))
    found = {one.genotype: one for one in evaluations(folder)}
    assert {one.answers.seen for one in found.values()} == {100, 250}
    for target in load(folder / "results.json").targets:
        for point in target.front:
            answers = found[point.genotype].answers
            assert (answers.seen, point.error) == (250, answers.error)
    before = (folder / "archive.journal").read_bytes()
    succeeded(nas("run", recipe, "--out", folder, "--resume", *options))
    assert (folder / "archive.journal").read_bytes() == before


def test_more_images_than_are_held_back_are_refused(recipe, tmp_path):
    refused = nas("run", recipe, "--out", tmp_path, *settings("search.confirm_samples=1"))
    assert_refused(refused, "search.confirm_samples = 1", "leaves 0 of")


def test_the_steps_one_by_one_make_what_a_run_makes(recipe, finished, tmp_path):
    for step in ("profile", "train", "search", "export"):
        succeeded(nas(step, recipe, "--out", tmp_path))
    assert measured(tmp_path) == measured(finished)
    for path in [*finished.glob("*.onnx"), *finished.glob("front-*.csv")]:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_data_of_ones_own(recipe, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 60)
    images = rng.integers(0, 40, (180, 8, 8), dtype=np.uint8)
    images[np.arange(180), labels * 2] += 200
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels)
    own = settings(f"task={{kind='arrays', path='{tmp_path / 'own.npz'}'}}")
    succeeded(nas("run", recipe, "--out", tmp_path / "run", *own))
    results = load(tmp_path / "run" / "results.json")
    assert "own" in results.task
    assert all(target.chosen is not None for target in results.targets)


# Which subnet a target gets


def evaluated(errors: Sequence[float]) -> Measurements:
    made = [Evaluation((i,), {"error": error}, 0, 0.0, "") for i, error in enumerate(errors)]
    return Measurements.of(made, widths(5))


def goal(latencies: Sequence[float], limits: Mapping[str, float]) -> Goal:
    def cost(rows: IntArray) -> np.ndarray:
        return np.array(latencies)[rows[:, 0]]

    return Goal("device", {"latency_ms": cost}, ("latency_ms",), limits)


@pytest.mark.parametrize(
    ("tolerance", "limit", "expected"),
    [
        (0.0, 9.0, 3),  # the least error
        (0.5, 9.0, 2),  # the cheapest within half a point of it
        (5.0, 9.0, 1),
        (99.0, 9.0, 0),
        (0.0, 2.5, 1),  # what is beyond the limit does not count
        (0.0, 2.0, 1),  # a limit may be reached
        (0.4, 3.0, 2),
    ],
)
def test_the_cheapest_subnet_within_tolerance_of_the_best_is_chosen(tolerance, limit, expected):
    measured = evaluated([30.0, 5.0, 1.5, 1.0, 1.0])
    device = goal([1.0, 2.0, 3.0, 4.0, 5.0], {"latency_ms": limit})
    pick = chosen(device, measured, tolerance=tolerance)
    assert pick == measured.evaluations[expected]


def test_nothing_is_chosen_where_nothing_fits():
    assert chosen(goal([1.0], {"latency_ms": 0.5}), evaluated([1.0])) is None
    assert chosen(goal([1.0], {}), evaluated([])) is None


def test_a_subnet_that_the_device_cannot_run_is_never_chosen():
    device = goal([np.inf, 3.0], {})
    measured = evaluated([0.0, 50.0])
    assert chosen(device, measured, tolerance=0.0) == measured.evaluations[1]
