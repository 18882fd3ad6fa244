"""The rules that the benchmarks of noisy and partial evaluations rest on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.learning_curves import EPOCHS, FIRST, stopped_search
from benchmarks.noise import attained
from predictors.curves.forecast import Forecast


def test_a_curve_that_is_surely_worse_is_stopped_at_the_first_look() -> None:
    curves = np.array([np.linspace(3, 1, EPOCHS), np.linspace(4, 2, EPOCHS)])

    def sure(_known: int) -> Forecast:
        return Forecast(np.ones((2, 1)), curves[:, -1:], np.full((2, 1), 1e-6))

    seen = [sure(known) for known in range(FIRST, EPOCHS)]
    used, lost = stopped_search(curves, [0, 1], seen, least=0.1)
    assert used == pytest.approx((EPOCHS + FIRST) / (2 * EPOCHS))
    assert not lost
    used, lost = stopped_search(curves, [1, 0], seen, least=0.1)
    assert used == 1.0
    assert not lost


def test_what_is_attained_is_the_volume_of_what_is_picked() -> None:
    losses, costs = np.array([8.0, 5.0, 6.0]), np.array([1.0, 2.0, 4.0])
    # Between costs 4 and 5 the third is picked, though truly worse than the second.
    assert attained(losses, costs, np.array([10.0, 5.0])) == pytest.approx(2 + 2 * 5 + 4)
    assert attained(losses, costs, np.array([7.0, 3.0])) == pytest.approx(2)
