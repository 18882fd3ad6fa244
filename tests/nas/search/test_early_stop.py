"""Stopping evaluations that cannot reach a front: the statistics, the rivals, the search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from nas.archive.archive import Archive
from nas.evaluation.answers import LEAST_CHANCE, Answers, Duel, estimated_error, hopeless
from nas.evaluation.evaluation import Evaluation, RivalOf, flat, no_rival
from nas.evaluation.measurements import Measurements
from nas.problem.front import measured_front
from nas.problem.goals import Goal, Problem
from nas.run.steps.exporting import chosen
from nas.search.early_stop import EarlyStopping, rival, unsettled
from nas.search.loop import search
from nas.search.random import RandomSearch
from search_spaces.space import Genotype, IntArray
from tests.nas.spaces import small_space

WHOLE = 400
SPACE = small_space()


def cost(weights: Sequence[float]) -> Callable[[IntArray], np.ndarray]:
    return lambda rows: rows @ np.resize(np.array(weights), rows.shape[1])


PROBLEM = Problem(
    SPACE,
    (
        Goal("one", {"ms": cost([1.0, 2.0])}, ("ms",), {"ms": 9.0}),
        Goal("two", {"ms": cost([3.0, 1.0]), "mj": cost([1.0, 1.0])}, ("ms", "mj")),
    ),
)


def arrays(evaluations: Sequence[Evaluation]) -> Measurements:
    return Measurements.of(evaluations, SPACE)


class Drawn:
    """Answers samples with a chance of its own per genotype, and stops as told."""

    def __init__(self) -> None:
        self.rivals: dict[Genotype, Evaluation] = {}

    def __call__(
        self, genotypes: Iterable[Genotype], rival_of: RivalOf = no_rival
    ) -> Iterator[list[Evaluation]]:
        for genotype in genotypes:
            rng = np.random.default_rng([7, *genotype])
            losses = 100.0 * (rng.random(WHOLE) < rng.uniform(0.05, 0.6))
            answers, faced = Answers.of(losses, WHOLE), None
            if (ahead := rival_of(genotype)) is not None:
                self.rivals[genotype], faced = ahead, ahead.answers
                assert faced is not None
                parts = (Answers.of(losses[:end], WHOLE) for end in range(50, WHOLE, 50))
                answers = next((part for part in parts if hopeless(part, faced)), answers)
            error = {"error": estimated_error(answers, faced)}
            yield [Evaluation(genotype, error, 0, 0.0, "", answers)]


def searched(path: Path, budget: int) -> tuple[list[Evaluation], Drawn]:
    drawn = Drawn()
    stopping = EarlyStopping(PROBLEM, RandomSearch(SPACE, seed=0), drawn)
    archive = Archive(path, SPACE, study="net")
    return search(stopping, stopping, archive, budget=budget, batch=5), drawn


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 9))
def test_right_and_wrong_answers_are_one_bit_each(wrong: list[bool], more: int) -> None:
    answers = Answers.of(100.0 * np.array(wrong), len(wrong) + more)
    assert answers.packed
    assert len(answers.held) == -(-len(wrong) // 8)
    assert answers.losses.tolist() == [100.0 * one for one in wrong]
    assert answers.complete == (more == 0)
    assert answers.error == 100.0 * float(np.mean(wrong))


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=40))
def test_losses_of_any_size_come_back(losses: list[float]) -> None:
    answers = Answers.of(np.array(losses, dtype=np.float32), len(losses))
    assert answers.losses.tolist() == losses
    assert answers.error == pytest.approx(float(np.mean(losses)))


@pytest.mark.parametrize(
    ("size", "seen", "packed"), [(1, 9, True), (2, 8, True), (0, 0, True), (9, 2, False)]
)
def test_answers_of_another_length_are_refused(size: int, seen: int, packed: bool) -> None:
    with pytest.raises(ValueError, match="per sample shown"):
        Answers(bytes(size), seen, 10, packed)


def test_losses_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Answers.of(np.array([1.0, np.nan]), 2)


def old_chance(lost: int, won: int, seen: int, whole: int) -> float:
    """The chance for right and wrong answers, as it was before losses of any size."""
    mean = (lost - won) / seen
    variance = (lost + won + 1) / seen - mean**2
    left = 1.0 / seen - 1.0 / whole
    if left <= 0.0:
        return float(mean < 0.0)
    return 0.5 * math.erfc((mean + 0.5 / whole) / math.sqrt(2.0 * variance * left))


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60),
    st.integers(0, 200),
)
def test_of_bits_every_decision_is_what_it_was(pairs: list[tuple[bool, bool]], more: int) -> None:
    wrong = np.array(pairs)
    whole = len(pairs) + more
    first, second = (Answers.of(100.0 * wrong[:, column], whole) for column in range(2))
    lost, won = int((wrong[:, 0] & ~wrong[:, 1]).sum()), int((wrong[:, 1] & ~wrong[:, 0]).sum())
    made = Duel.between(first, second)
    assert made.chance(whole) == old_chance(lost, won, len(pairs), whole)
    assert made.behind == 100.0 * (lost - won) / len(pairs)


def assert_come_true(chances: list[float], outcomes: list[bool], *, within: float) -> None:
    """Of the outcomes with about the same chance, that share must have come true."""
    groups = np.digitize(chances, [0.05, 0.25, 0.5, 0.75, 0.95])
    for group in range(6):
        inside = groups == group
        assert inside.sum() > 50
        assert np.mean(np.array(outcomes)[inside]) == pytest.approx(
            np.mean(np.array(chances)[inside]), abs=within
        )


def test_of_measured_losses_the_chance_is_how_often_it_comes_true() -> None:
    rng = np.random.default_rng(0)
    chances, outcomes = [], []
    for _ in range(1500):
        hard = rng.exponential(1.0, WHOLE)
        shift = rng.uniform(-0.03, 0.03)
        both = [hard * rng.lognormal(0, 0.3, WHOLE) + s for s in (1 + shift, 1.0)]
        half = [Answers.of(losses[: WHOLE // 2], WHOLE) for losses in both]
        chances.append(Duel.between(*half).chance(WHOLE))
        outcomes.append(both[0].mean() < both[1].mean())
    assert_come_true(chances, outcomes, within=0.1)


def duel(lost: int, won: int, seen: int) -> Duel:
    return Duel(lost - won, lost + won, seen, unit=100.0, step=1.0)


@pytest.mark.parametrize(("lost", "won"), [(60, 30), (120, 90), (25, 10)])
def test_of_endless_samples_the_chance_is_mcnemars(lost: int, won: int) -> None:
    either = binom(lost + won, 0.5)
    exact = either.sf(lost) + either.pmf(lost) / 2  # mid-P, since a sum of steps has no half
    assert duel(lost, won, 2000).chance(10**9) == pytest.approx(exact, rel=0.25)
    assert duel(won, lost, 2000).chance(10**9) == pytest.approx(1 - exact, abs=0.01)


def test_when_all_samples_are_seen_nothing_is_left_to_chance() -> None:
    assert duel(5, 4, 100).chance(100) == 0.0
    assert duel(4, 4, 100).chance(100) == 0.0
    assert duel(4, 5, 100).chance(100) == 1.0


def test_the_chance_is_how_often_it_comes_true() -> None:
    rng = np.random.default_rng(0)
    chances, outcomes, stopped = [], [], []
    for _ in range(2000):
        level = rng.uniform(-0.06, 0.06)
        difference = rng.choice([1, 0, -1], size=WHOLE, p=[0.1 + level / 2, 0.8, 0.1 - level / 2])
        duels = [
            duel(int((part > 0).sum()), int((part < 0).sum()), len(part))
            for part in (difference[:end] for end in range(50, WHOLE, 50))
        ]
        chances.append(duels[3].chance(WHOLE))
        stopped.append(min(duel.chance(WHOLE) for duel in duels) < LEAST_CHANCE)
        outcomes.append(difference.sum() < 0)
    assert_come_true(chances, outcomes, within=0.08)
    assert np.mean(np.array(outcomes)[stopped]) < LEAST_CHANCE


def test_the_rival_is_the_one_to_beat_on_the_easiest_front() -> None:
    rng = np.random.default_rng(1)
    rows = [tuple(row) for row in SPACE.sample_array(rng, 40).tolist()]
    told = flat(Drawn()(list(dict.fromkeys(rows))[:12]))
    told[3] = replace(told[3], answers=Answers.of(told[3].answers.losses[:50], WHOLE))
    asked = sorted({tuple(row) for row in SPACE.sample_array(rng, 60).tolist()})
    found = {one: faced for one in asked if (faced := rival(PROBLEM, arrays(told), one))}
    for genotype in asked:
        hurdles = []
        for goal in PROBLEM.goals:
            if goal.violation(np.array([genotype]))[0] > 0:
                continue
            able = [
                one
                for one in told
                if one.complete
                and goal.violation(np.array([one.genotype]))[0] == 0
                and (
                    goal.values(np.array([one.genotype])) <= goal.values(np.array([genotype]))
                ).all()
            ]
            hurdles.append(min(able, key=lambda one: one.error, default=None))
        if not hurdles or None in hurdles:
            assert genotype not in found
        else:
            highest = max(hurdles, key=lambda one: one.error)
            assert found[genotype].error == highest.error
    assert 0 < len(found) < len(asked)
    assert rival(PROBLEM, arrays([]), asked[0]) is None


def test_what_is_stopped_is_behind_its_rival_and_on_no_front(tmp_path: Path) -> None:
    found, drawn = searched(tmp_path / "archive", 40)
    stopped = [one for one in found if not one.complete]
    assert 5 < len(stopped) < 35
    for one in stopped:
        assert one.error > drawn.rivals[one.genotype].error
    measured = arrays(found)
    assert unsettled(PROBLEM, measured, WHOLE) == []
    for goal in PROBLEM.goals:
        assert measured_front(goal, measured) == measured_front(goal, measured, stopped=True)


def test_a_stopped_evaluation_is_never_reported_or_exported() -> None:
    ((whole,),) = Drawn()([SPACE.largest])
    part = Answers.of(np.zeros(50), WHOLE)
    lucky = replace(whole, genotype=SPACE.smallest, metrics={"error": 0.0}, answers=part)
    goal = PROBLEM.goals[1]
    both = arrays([whole, lucky])
    assert measured_front(goal, both) == [whole]
    assert chosen(goal, both, tolerance=100.0) == whole
    assert chosen(goal, arrays([lucky])) is None
    assert unsettled(PROBLEM, arrays([whole]), WHOLE + 1) == [SPACE.largest]
    assert unsettled(PROBLEM, both, WHOLE) == [SPACE.smallest]


@pytest.mark.parametrize("kept", [7, 12, 20])
def test_a_killed_search_goes_on_to_the_same_evaluations(tmp_path: Path, kept: int) -> None:
    whole, _ = searched(tmp_path / "whole", 30)
    archive = Archive(tmp_path / "killed", SPACE, study="net")
    for one in whole[:kept]:
        archive.append(one)
    for (one,) in Drawn()([one.genotype for one in whole[:kept] if not one.complete]):
        archive.append(one)  # evaluated in full since, for another device
    again, _ = searched(tmp_path / "killed", 30)
    assert again == whole
    assert any(not one.complete for one in whole[kept:])
