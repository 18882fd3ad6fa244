import numpy as np
import pytest
from scipy import stats

from nas.evaluation.answers import Answers
from nas.facts.noise import (
    WRONG,
    chance_of_equals,
    chance_tau,
    interval_of,
    resampled,
    tau_interval,
)


def answers(wrong: int, count: int) -> np.ndarray:
    return WRONG * (np.arange(count) < wrong).astype(np.float32)


@pytest.mark.parametrize(
    ("wrong", "count", "low", "high"),
    # The formula of Wilson (1927) by hand: z = 1.96.
    [(0, 63, 0.0, 5.75), (63, 63, 94.25, 100.0), (31, 63, 37.27, 61.24), (4, 288, 0.54, 3.52)],
)
def test_shares_have_the_interval_of_wilson(wrong, count, low, high):
    found = interval_of(answers(wrong, count))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert (found.samples, found.wrong) == (count, wrong)


def test_other_losses_have_the_interval_of_student():
    losses = np.random.default_rng(0).gamma(2.0, size=40)
    found = interval_of(losses)
    expected = stats.ttest_1samp(losses, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.samples, found.wrong) == (40, None)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    drawn = (interval_of(WRONG * (rng.random(80) < 0.1)) for _ in range(500))
    assert sum(found.low <= 10.0 <= found.high for found in drawn) >= 450


def test_one_loss_of_any_size_has_no_interval_and_no_interval_is_negative():
    assert interval_of(np.array([3.7])) is None
    assert interval_of(np.array([0.1, 9.0])).low == 0.0


def test_pairs_of_answers_are_compared_by_the_exact_test_of_mcnemar():
    first, second = answers(10, 50), answers(3, 50)
    assert chance_of_equals(first, second) == pytest.approx(2 * 0.5**7)
    assert chance_of_equals(first, first) == 1.0
    assert chance_of_equals(answers(2, 50), answers(1, 50)) == 1.0  # one sample decides nothing


def test_pairs_of_other_losses_are_compared_by_the_test_of_student():
    rng = np.random.default_rng(2)
    hard = rng.gamma(2.0, 10.0, size=200)  # what both find equally hard cancels
    better, worse = hard + rng.random(200), hard + rng.random(200) + 0.3
    assert chance_of_equals(better, worse) < 1e-4 < stats.ttest_ind(better, worse).pvalue
    assert chance_of_equals(np.array([1.0]), np.array([2.0])) is None


def test_only_samples_that_both_networks_saw_are_compared():
    first = answers(10, 50)
    assert chance_of_equals(first, np.concatenate([first, answers(50, 50)])) == 1.0


def test_the_bootstrap_of_a_mean_has_its_standard_error():
    losses = np.random.default_rng(3).gamma(2.0, size=400)
    found = resampled(lambda rows: float(losses[rows].mean()), (400,))
    error = losses.std(ddof=1) / np.sqrt(400)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.25)
    assert (found.low + found.high) / 2 == pytest.approx(losses.mean())


@pytest.mark.parametrize("size", [(1,), (10_000, 64, 65)])
def test_the_bootstrap_is_left_out_where_it_says_nothing_or_takes_minutes(size):
    assert resampled(lambda rows: pytest.fail("it must not be drawn"), size) is None


def test_a_figure_that_never_varies_has_no_interval_by_the_bootstrap():
    assert resampled(lambda rows: 0.0, (50,)) is None


def test_ranks_of_few_networks_say_nothing():
    assert chance_tau(3) > 1
    assert chance_tau(1) == np.inf
    rng = np.random.default_rng(4)
    taus = [stats.kendalltau(np.arange(30), rng.permutation(30))[0] for _ in range(400)]
    assert np.mean(np.abs(taus) > chance_tau(30)) == pytest.approx(0.05, abs=0.03)


def test_answers_know_their_interval_and_their_difference():
    first, second = (Answers.of(answers(wrong, 50), 50) for wrong in (10, 3))
    assert first.interval == interval_of(answers(10, 50))
    assert first.chance_of_equals(second) == pytest.approx(2 * 0.5**7)


def test_the_interval_of_tau_says_little_of_few_networks_and_holds_chance() -> None:
    low, high = tau_interval(1.0, 3)
    assert low < 0 < high == pytest.approx(1.0)
    assert tau_interval(-1.0, 3) == pytest.approx((-high, -low))
    assert tau_interval(chance_tau(50), 50)[0] == pytest.approx(0.0, abs=1e-9)
    assert tau_interval(float("nan"), 50) == (-1.0, 1.0)
    assert tau_interval(0.5, 1) == (-1.0, 1.0)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
@pytest.mark.parametrize("count", [8, 40])
def test_the_interval_of_tau_holds_at_least_as_often_as_it_says(correlation, count) -> None:
    rng, true = np.random.default_rng(count), 2 / np.pi * np.arcsin(correlation)
    covered = []
    for _ in range(200):
        one, noise = rng.normal(size=(2, count))
        other = correlation * one + np.sqrt(1 - correlation**2) * noise
        low, high = tau_interval(stats.kendalltau(one, other)[0], count)
        covered.append(low <= true <= high)
    assert np.mean(covered) >= 0.92
