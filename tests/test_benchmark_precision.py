"""The budgets of the benchmark of a trained network's bits."""

import numpy as np
import pytest

from benchmarks.own_model.precision import BITS, allocated


@pytest.mark.parametrize("mean", [2.0, 2.5, 3.7, 8.0])
def test_mean_bits_stay_within_a_budget_and_more_bits_never_lose(mean):
    rng = np.random.default_rng(0)
    weights = rng.integers(100, 1000, 6).astype(float)
    losses = rng.random((6, 1)) * 4.0 ** -np.array(BITS) * weights[:, None]
    losses[2, 3] = 10.0  # a measured loss that is worse than that of fewer bits
    bits = np.array([BITS[option] for option in allocated(losses, weights, mean)])
    spent = float((bits * weights).sum() / weights.sum())
    assert spent <= mean + 1e-9
    richer = np.array([BITS[option] for option in allocated(losses, weights, mean + 1)])
    assert (richer * weights).sum() >= (bits * weights).sum()
