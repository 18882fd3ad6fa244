"""The rules that the benchmarks of noisy and partial evaluations rest on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.learning_curves import chance, power_law, regression
from benchmarks.noise import attained


def test_the_power_law_finds_the_end_of_a_power_law() -> None:
    steps = np.arange(1.0, 51.0)
    curves = np.stack([2.0 + 3.0 * steps**-0.5, 1.0 + 0.2 * steps**-1.5])
    assert power_law(curves[:, :5]) == pytest.approx(curves[:, -1])


def test_the_regression_finds_an_end_that_is_linear_in_the_curve() -> None:
    curves = np.random.default_rng(0).random((400, 12))
    finals = 0.5 + curves[:, 11] - 0.3 * (curves[:, 5] - curves[:, 11])
    found = regression(curves[300:], curves[:300], finals[:300])
    assert found == pytest.approx(finals[300:], abs=0.02)


@pytest.mark.parametrize("count", [9, 19])
def test_a_curve_that_will_win_is_stopped_no_more_often_than_the_chance_says(count: int) -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(2000):
        fell = rng.lognormal(0, 1, count + 1)
        # The last one ends just below the best there is, from where its fall lets it come.
        wrong += chance(fell[-1], fell[:-1], np.zeros(count), best=1e-12) <= 0.1
    assert wrong / 2000 == pytest.approx(np.floor(0.1 * (count + 1)) / (count + 1), abs=0.02)


def test_what_is_attained_is_the_volume_of_what_is_picked() -> None:
    losses, costs = np.array([8.0, 5.0, 6.0]), np.array([1.0, 2.0, 4.0])
    # Between costs 4 and 5 the third is picked, though truly worse than the second.
    assert attained(losses, costs, np.array([10.0, 5.0])) == pytest.approx(2 + 2 * 5 + 4)
    assert attained(losses, costs, np.array([7.0, 3.0])) == pytest.approx(2)
