import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from nas.search.allocation import allocate, closed_form
from nas.search.allocation.closed_form import continuous

BITS = np.array([2.0, 3.0, 4.0, 6.0, 8.0])


def layers(seed, count):
    """Losses c 4^-R, costs n R and rates of `count` layers."""
    rng = np.random.default_rng(seed)
    scales, sizes = np.exp(rng.normal(0, 2, count)), np.exp(rng.normal(0, 1, count))
    losses = (scales[:, None] * 4.0**-BITS).ravel()
    costs = (sizes[:, None] * BITS).ravel()
    return losses, costs, np.tile(BITS, count), scales, sizes


def test_rates_equal_the_published_formula():
    losses, costs, rates, scales, sizes = layers(0, 6)
    scales = 8 * sizes * np.exp(np.random.default_rng(1).normal(0, 0.3, 6))
    losses = (scales[:, None] * 4.0**-BITS).ravel()
    mean = 5.0
    found = continuous(
        losses, costs, counts=np.full(6, 5), budgets=np.array([mean * sizes.sum()]), rates=rates
    )
    geometric = np.exp((sizes * np.log(scales / sizes)).sum() / sizes.sum())
    np.testing.assert_allclose(found.rates[0], mean + 0.5 * np.log2(scales / sizes / geometric))
    lost = scales * 4.0 ** -found.rates[0]
    np.testing.assert_allclose(lost / sizes, (lost / sizes).mean())


def test_rates_beyond_the_options_stay_at_the_ends_and_the_others_are_best():
    losses, costs, rates, scales, sizes = layers(2, 4)
    budget = 3.0 * sizes.sum()
    found = continuous(losses, costs, counts=np.full(4, 5), budgets=np.array([budget]), rates=rates)
    other = minimize(
        lambda r: (scales * 4.0**-r).sum(),
        np.full(4, 3.0),
        bounds=[(2, 8)] * 4,
        constraints=[{"type": "ineq", "fun": lambda r: budget - (sizes * r).sum()}],
    )
    np.testing.assert_allclose(found.rates[0], other.x, atol=0.02)
    assert found.loss[0] == pytest.approx(other.fun, rel=1e-3)
    assert (found.rates[0] @ sizes) == pytest.approx(budget)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), share=st.floats(0, 1))
def test_options_keep_the_budget_and_lie_between_the_bound_and_one_step_above_the_best(
    seed, count, share
):
    losses, costs, rates, _, sizes = layers(seed, count)
    budgets = np.array([sizes.sum() * (2 + 6 * share)])
    problem = {"counts": np.full(count, 5), "budgets": budgets}
    picks = closed_form(losses, costs, **problem, rates=rates)
    at = np.arange(count) * 5 + picks[0]
    best = losses[np.arange(count) * 5 + allocate(losses, costs, **problem)[0]].sum()
    assert costs[at].sum() <= budgets[0] * (1 + 1e-9)
    assert continuous(losses, costs, **problem, rates=rates).loss[0] <= best * (1 + 1e-9)
    step = losses[at] - losses[np.minimum(at + 1, np.arange(count) * 5 + 4)]
    assert best * (1 - 1e-9) <= losses[at].sum() <= best + step.max() * (1 + 1e-9)


def test_fifty_budgets_are_within_a_percent_of_the_exact_knapsack_on_the_mean():
    losses, costs, rates, _, sizes = layers(3, 30)
    budgets = np.linspace(2, 8, 50) * sizes.sum()
    problem = {"counts": np.full(30, 5), "budgets": budgets}
    starts = np.arange(30) * 5
    lost = losses[starts + closed_form(losses, costs, **problem, rates=rates)].sum(axis=1)
    exact = losses[starts + allocate(losses, costs, **problem)].sum(axis=1)
    assert (lost / exact - 1).mean() < 0.01


def test_a_budget_below_the_cheapest_gives_the_cheapest():
    losses, costs, rates, *_ = layers(4, 3)
    found = closed_form(losses, costs, counts=np.full(3, 5), budgets=np.zeros(1), rates=rates)
    np.testing.assert_array_equal(found, [[0, 0, 0]])


def test_what_is_not_allowed_is_not_picked():
    losses, costs, rates, _, sizes = layers(5, 2)
    losses[[0, 4]] = np.inf
    budgets = np.array([0.0, 100 * sizes.sum()])
    found = closed_form(losses, costs, counts=np.full(2, 5), budgets=budgets, rates=rates)
    np.testing.assert_array_equal(found, [[1, 0], [3, 4]])
    losses[:5] = np.inf
    with pytest.raises(ValueError, match="choice 0 has no option"):
        closed_form(losses, costs, counts=np.full(2, 5), budgets=budgets, rates=rates)
