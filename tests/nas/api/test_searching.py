"""`nas.search`: a function of picks is searched by the loop and archive of all other searches."""

import itertools
import threading

import numpy as np
import pytest

import nas
from nas.archive.archive import Archive, ArchiveError
from nas.evaluation.evaluation import Evaluation, EvaluationError
from nas.problem.goals import Goal
from nas.search.loop import search as loop
from nas.search.named import searcher_named
from nas.targets import legal, load_target
from search_spaces.ops import Input
from search_spaces.residual import residual
from tests.nas.api.toys import error, objective, size, toy_space

SPACE = toy_space()


@pytest.fixture(scope="module")
def study():
    return nas.search(SPACE, objective, objectives="size", budget=24, searcher="random")


def genotypes(study):
    return [one.genotype for one in study.networks]


def test_an_objective_gets_plain_picks_of_open_choices():
    seen = []

    def watch(picks):
        seen.append(dict(picks))
        return error(picks)

    nas.search(SPACE, watch, budget=12, searcher="random")
    assert len(seen) == 12
    assert {type(value) for picks in seen for value in picks.values()} == {int}
    assert {value for picks in seen for value in picks.values()} <= {1, 2, 4, 8, 16, 32, 64}
    assert all(("bits1" in picks) == (picks["depth"] == 2) for picks in seen)


def test_the_front_is_that_of_the_figures(study):
    front = study.front()
    assert list(front.columns) == ["error", "size", *SPACE.column, "genotype"]
    assert list(front["size"]) == sorted(front["size"])
    assert list(front["error"]) == sorted(front["error"], reverse=True)
    every = study.frame()
    assert len(every) == 24
    for row in front.itertuples():
        better = every[(every["error"] <= row.error) & (every["size"] <= row.size)]
        assert better["error"].nunique() == better["size"].nunique() == 1


def test_columns_are_plain_and_empty_where_closed(study):
    frame = study.frame()
    assert str(frame["width"].dtype) == "Int64"
    shallow = frame["depth"] == 1
    assert frame["bits1"].isna().tolist() == shallow.tolist()
    picks = study.networks[0].picks
    assert {name: frame[name][0] for name in picks} == picks
    assert frame["genotype"][0] == study.networks[0].genotype


def test_the_best_network_has_the_lowest_error(study):
    assert study.best.metrics["error"] == study.frame()["error"].min()
    assert study.best.costs["any device"]["size"] == size(study.best.picks)
    assert repr(study.best).startswith("<Network error ")
    assert repr(study) == "<Study 'search': 24 of 24 networks; any device>"
    assert "width" in study.best._repr_html_()
    assert "any device" in study._repr_html_()


def test_it_is_the_loop_and_the_searcher_of_the_engine(study, tmp_path):
    problem = study.asked.problem
    archive = Archive(tmp_path / "archive", SPACE, study="same")

    def evaluate(asked):
        for genotype in asked:
            metrics = objective(SPACE.picks(genotype))
            yield [Evaluation(genotype, metrics, 0, 0.0, "here")]

    loop(searcher_named("random", problem, seed=0), evaluate, archive, budget=24, batch=10)
    assert [one.genotype for one in archive.evaluations()] == genotypes(study)


@pytest.mark.parametrize("searcher", ["guided", "nsga2"])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path, searcher):
    how = {"objectives": "size", "searcher": searcher, "batch": 5}
    whole = nas.search(SPACE, objective, budget=20, **how)
    calls = itertools.count()

    def killed(picks):
        if next(calls) == 8:
            raise KeyboardInterrupt
        return objective(picks)

    storage = tmp_path / "study.journal"
    with pytest.raises(KeyboardInterrupt):
        nas.search(SPACE, killed, budget=20, storage=storage, **how)
    shorter = nas.search(SPACE, objective, budget=12, storage=storage, **how)
    assert len(shorter) == 12
    resumed = nas.search(SPACE, objective, budget=20, storage=storage, **how)
    assert [(n.genotype, n.metrics) for n in resumed.networks] == [
        (n.genotype, n.metrics) for n in whole.networks
    ]
    assert resumed.front().equals(whole.front())


def test_nothing_is_evaluated_twice(tmp_path):
    storage = tmp_path / "study.journal"
    how = {"budget": 10, "searcher": "random", "storage": storage}
    nas.search(SPACE, error, **how)

    def never(picks):
        raise AssertionError(picks)

    assert len(nas.search(SPACE, never, **how)) == 10


def test_an_asynchronous_search_spends_its_budget_and_goes_on(tmp_path):
    how = {"asynchronous": True, "searcher": "random", "storage": tmp_path / "s"}
    assert len(nas.search(SPACE, error, budget=7, **how)) == 7
    study = nas.search(SPACE, error, budget=12, **how)
    assert len(study) == len({*genotypes(study)}) == 12


def test_evaluations_of_another_figure_are_refused(tmp_path):
    how = {"budget": 3, "searcher": "random", "storage": tmp_path / "s"}
    nas.search(SPACE, error, **how)
    with pytest.raises(ArchiveError, match="figure error, given figure accuracy"):
        nas.search(SPACE, error, metric=nas.MetricWords("accuracy", "%", best=100), **how)
    with pytest.raises(ValueError, match="have no figure size"):
        nas.search(SPACE, objective, objectives="size", **how)
    assert len(nas.search(SPACE, objective, objectives="size", name="another", **how)) == 3


def test_error_alone_is_minimised_without_targets():
    study = nas.search(SPACE, error, budget=40)
    assert len(study.front()) == 1
    assert list(study.front().columns) == ["error", *SPACE.column, "genotype"]
    every = [error(SPACE.picks(row)) for row in map(tuple, SPACE.every_row().tolist())]
    assert study.best.metrics["error"] == min(every)


def test_a_figure_may_be_better_when_larger():
    words = nas.MetricWords("accuracy", "%", best=100)
    study = nas.search(SPACE, lambda picks: 100 - error(picks), metric=words, budget=30)
    assert study.best.metrics["accuracy"] == study.frame()["accuracy"].max()


def test_first_networks_are_evaluated_first():
    first = [{"width": 32, "bits0": 4}, {"width": 64, "depth": 2, "bits0": 8, "bits1": 2}]
    study = nas.search(SPACE, error, budget=10, first=first)
    assert [SPACE.genotype(picks) for picks in first] == genotypes(study)[:2]


def test_callbacks_see_every_new_network_once_and_may_stop(tmp_path):
    seen = []

    def watch(study, networks):
        seen.extend(networks)
        if len(seen) == 7:
            study.stop()

    how = {"searcher": "random", "storage": tmp_path / "study"}
    stopped = nas.search(SPACE, error, budget=20, callbacks=[watch], **how)
    assert len(stopped) == len(seen) == 7
    assert stopped.stopped
    nas.search(SPACE, error, budget=10, callbacks=[watch], **how)
    assert len({network.genotype for network in seen}) == len(seen) == 10


def test_no_evaluation_begins_after_the_time():
    passed = threading.Event()

    def slow(picks):
        passed.wait(0.02)
        return error(picks)

    study = nas.search(SPACE, slow, budget=40, timeout=0.01, searcher="random")
    assert len(study) == 1


def flawed(picks):
    if picks["width"] == 8:
        raise ValueError("too\nnarrow")
    return np.nan if picks["depth"] == 1 else objective(picks)


def test_failures_are_recorded_with_a_sentence_and_are_on_no_front(tmp_path):
    how = {"objectives": "size", "failed": {"error": 900.0, "size": 1e-3}, "searcher": "random"}
    study = nas.search(SPACE, flawed, budget=30, storage=tmp_path / "s", **how)
    reasons = {failure.reason for failure in study.failures}
    assert reasons == {"raised ValueError: too narrow", "returned error=nan"}
    assert len(study.failures) + len(study.networks) == len(study) == 30
    assert all(one.picks["width"] > 8 and one.picks["depth"] == 2 for one in study.networks)
    assert study.front()["size"].min() > 1
    again = nas.search(SPACE, flawed, budget=30, storage=tmp_path / "s", **how)
    assert again.failures == study.failures


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (np.nan, r"returned error=nan \(picks: width="),
        ({"error": 1.0, "size": np.inf}, "returned size=inf"),
        (1.0, r"returned \['error'\] without size"),
        ({"size": 2.0}, "without error"),
        ({}, "an empty dict without error, size"),
        (None, "NoneType; give a number, or a dict"),
        (True, "error: bool"),
        ("3", "error: str"),
        ({"error": 1.0, "size": [2]}, "size: list"),
        (np.ones(1), r"error: ndarray; .*`.item\(\)`"),
        ({"error": 1.0, "size": 2.0, "failed": 1.0}, "a further figure called failed"),
    ],
)
def test_what_is_no_figure_ends_the_search_with_a_sentence(returned, said):
    with pytest.raises(EvaluationError, match=said) as caught:
        nas.search(SPACE, lambda picks: returned, objectives="size", budget=3, searcher="random")
    assert "\n" not in str(caught.value)


def test_a_tensor_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(EvaluationError, match=r"error: Tensor; .*`.item\(\)`"):
        nas.search(SPACE, lambda picks: torch.tensor(1.0), budget=3, searcher="random")


def test_an_exception_ends_the_search_and_keeps_what_was_evaluated(tmp_path):
    calls = itertools.count()

    def breaks(picks):
        if next(calls) == 4:
            raise ZeroDivisionError("no width")
        return error(picks)

    how = {"budget": 10, "searcher": "random", "storage": tmp_path / "s"}
    with pytest.raises(EvaluationError, match=r"raised ZeroDivisionError: no width .*`failed`"):
        nas.search(SPACE, breaks, **how)
    assert len(nas.search(SPACE, error, **{**how, "budget": 4})) == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"budget": 0, "batch": 0, "timeout": -1}, "budget .*; batch .*; timeout .* -1"),
        ({"seed": -1, "workers": -1}, "seed .*; workers"),
        ({"failed": "bad"}, "failed = 'bad' is no result"),
        ({"failed": np.nan}, "not finite"),
        ({"targets": [3]}, "a target is a name"),
        ({"targets": "no-such-board"}, "no-such-board"),
        ({"searcher": "no-such"}, "no searcher 'no-such'"),
        ({"first": [{"width": 9}]}, "'width' has the options"),
        ({"limits": {"size": 0.0}, "objectives": "size"}, "upper limits above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(given, said):
    def never(picks):
        raise AssertionError("called")

    with pytest.raises((ValueError, KeyError), match=said):
        nas.search(SPACE, never, **given)


def test_an_objective_that_cannot_be_called_is_refused():
    with pytest.raises(ValueError, match="a function of picks"):
        nas.search(SPACE, 3.0)


@pytest.fixture(scope="module")
def images():
    inputs = (Input("image", (1, 8, 8)),)
    return residual(inputs, (10,), widths=[[8], [8, 16]], depths=[[1, 2]])


def by_width(picks):
    return 100.0 / sum(value for value in picks.values() if isinstance(value, int))


@pytest.fixture(scope="module")
def on_devices(images):
    return nas.search(
        images, by_width, targets=["edge-npu", "microcontroller"], budget=12, searcher="random"
    )


def test_each_target_has_its_front_with_its_costs(images, on_devices):
    target = load_target("edge-npu")
    front = on_devices.front("edge-npu")
    costs = target.compile(on_devices.space)
    rows = np.array([*front["genotype"]])
    assert list(front.columns[:2]) == ["error", "latency_ms"]
    assert np.array_equal(front["latency_ms"], costs["latency_ms"](rows))
    assert {"model_bytes", "macs", "bitops"} <= {*front.columns}
    board = load_target("microcontroller")
    assert on_devices.goals[1].limits == board.limits
    assert on_devices.space == legal(images, [target, board])
    with pytest.raises(ValueError, match="name one of the targets edge-npu, microcontroller"):
        on_devices.front()
    with pytest.raises(ValueError, match="given 'gpu'"):
        on_devices.best_on("gpu")
    assert "edge-npu latency_ms" in repr(on_devices.networks[0])
    assert on_devices.asked.origins["edge-npu"].origin == target.provenance


def test_a_goal_made_by_hand_is_searched_as_it_is(images):
    target = load_target("microcontroller")
    space = legal(images, [target])
    goal = Goal(target.name, target.compile(space), ("model_bytes",))
    study = nas.search(space, by_width, targets=goal, budget=5, searcher="random")
    assert study.goals == (goal,)
    with pytest.raises(ValueError, match="has its own objectives"):
        nas.search(space, by_width, targets=goal, objectives="latency_ms")


def test_that_no_network_is_within_the_limits_is_told():
    tight = {"size": 1e-9}
    study = nas.search(
        SPACE, objective, objectives="size", limits=tight, budget=3, searcher="random"
    )
    with pytest.raises(ValueError, match="none of 3 evaluated networks is within the limits"):
        _ = study.best
    assert len(study.front()) == 0
    assert "none within the limits" in study._repr_html_()


def test_counted_costs_need_no_target(images):
    study = nas.search(images, by_width, objectives="macs", budget=6, searcher="random")
    assert (study.front()["macs"] > 0).all()
    assert study.asked.origins["any device"].origin == "counted"


def test_a_search_can_be_drawn_and_reported(study, tmp_path):
    figure = study.plot()
    assert {"evaluated subnets", "measured front"} <= {trace.name for trace in figure.data}
    page = study.report(tmp_path / "report.html")
    assert "An objective in Python" in page.read_text()
    assert study.asked.origins["any device"].origin == "measured"
    with pytest.raises(ValueError, match="has the objectives size; given 'latency_ms'"):
        study.plot(objective="latency_ms")


def test_of_error_alone_the_course_is_drawn(tmp_path):
    study = nas.search(SPACE, error, budget=10, searcher="random")
    best = list(study.plot().data[1].y)
    assert best == sorted(best, reverse=True)
    with pytest.raises(ValueError, match="minimises no cost"):
        study.report(tmp_path / "report.html")
