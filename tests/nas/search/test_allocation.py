import functools
import itertools

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from nas.search.allocation import allocate, reallocated
from nas.testing.searcher import widths
from search_spaces.costs import SpaceKernels, bitops, model_bytes
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual


def made(seed, *, choices):
    """Effects of options whose costs are whole numbers, so that many sums are alike."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, size=choices)
    losses = rng.normal(size=counts.sum())
    return losses, rng.integers(-5, 30, size=counts.sum()).astype(float), counts


def between(costs, counts, *shares):
    """Budgets so far on the way from the cheapest to the dearest options."""
    starts = np.cumsum(counts) - counts
    low, high = (f.reduceat(costs, starts).sum() for f in (np.minimum, np.maximum))
    return low + np.array(shares) * (high - low)


def total(values, counts, picks):
    return values[(np.cumsum(counts) - counts) + picks].sum(axis=-1)


def by_milp(losses, costs, counts, budget):
    each = np.repeat(np.eye(len(counts)), counts, axis=1)
    found = milp(
        losses,
        constraints=[LinearConstraint(each, 1, 1), LinearConstraint(costs[None], -np.inf, budget)],
        integrality=np.ones(len(losses)),
        bounds=Bounds(0, 1),
    )
    return found.fun


@pytest.mark.parametrize("seed", range(8))
def test_no_other_picks_are_better_within_the_budget(seed):
    losses, costs, counts = made(seed, choices=5)
    every = np.array(list(itertools.product(*map(range, counts))))
    spent, lost = total(costs, counts, every), total(losses, counts, every)
    budgets = np.quantile(spent, [0.0, 0.1, 0.4, 0.8, 1.0])
    picks = allocate(losses, costs, counts=counts, budgets=budgets)
    assert (total(costs, counts, picks) <= budgets).all()
    best = [lost[spent <= budget].min() for budget in budgets]
    np.testing.assert_allclose(total(losses, counts, picks), best)


@pytest.mark.parametrize("seed", range(3))
def test_forty_choices_are_as_good_as_integer_programming(seed):
    losses, costs, counts = made(seed, choices=40)
    costs += np.random.default_rng(seed).random(len(costs))
    budgets = between(costs, counts, 0.02, 0.1, 0.5)
    picks = allocate(losses, costs, counts=counts, budgets=budgets)
    wanted = [by_milp(losses, costs, counts, budget) for budget in budgets]
    np.testing.assert_allclose(total(losses, counts, picks), wanted)


def test_few_sums_come_close_and_stay_within():
    losses, costs, counts = made(1, choices=40)
    costs += np.random.default_rng(1).random(len(costs))
    budgets = between(costs, counts, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8)
    exact = total(losses, counts, allocate(losses, costs, counts=counts, budgets=budgets))
    picks = allocate(losses, costs, counts=counts, budgets=budgets, states=300)
    assert (total(costs, counts, picks) <= budgets).all()
    found = total(losses, counts, picks)
    assert (exact <= found + 1e-9).all()
    assert (found <= exact + 0.01 * np.abs(exact)).all()


def test_what_is_not_allowed_is_not_picked_however_cheap():
    losses = np.array([np.inf, 2.0, 1.0, 0.0, np.inf])
    costs = np.array([-9.0, 1.0, 3.0, 0.0, 0.0])
    found = allocate(losses, costs, counts=np.array([3, 2]), budgets=np.array([-5.0, 1.0, 3.0]))
    np.testing.assert_array_equal(found, [[1, 0], [1, 0], [2, 0]])


def test_a_choice_with_nothing_allowed_is_named():
    losses = np.array([0.0, np.inf, np.inf])
    with pytest.raises(ValueError, match="choice 1 has no option"):
        allocate(losses, np.zeros(3), counts=np.array([1, 2]), budgets=np.zeros(1))


@pytest.fixture(scope="module")
def space():
    policy = Policy(weight_bits=(2, 4, 8), activation_bits=(4, 8), fineness="block")
    widths = ((4, 8), (4, 8), (8, 12))
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(4,),
        widths=widths,
        depths=((1, 2),) * 2,
        policy=policy,
    )


def test_a_network_without_anything_to_pick_anew_is_given_or_refused():
    single = widths(1)
    ask = functools.partial(
        reallocated, single, (), loss=lambda rows: np.zeros(len(rows)), choices=[]
    )
    budgets = np.array([1.0, 2.0])
    found = ask(cost=lambda rows: np.ones(len(rows)), budgets=budgets)
    assert found.shape == (2, 0)
    with pytest.raises(ValueError, match=r"within cost <= 2; the least .* cost = 3"):
        ask(cost=lambda rows: np.full(len(rows), 3.0), budgets=budgets)


def loss_of_bits(space):
    """Falls with bits, layer by layer by another amount, as sensitivities do."""
    worth = np.random.default_rng(0).uniform(0.1, 2, size=len(space.choices))
    return lambda rows: (worth * 0.3**rows * space.active_array(rows)).sum(axis=1)


@pytest.mark.parametrize(("cost", "ratio"), [(model_bytes, 1.0), (bitops, 1.01)])
def test_bits_of_a_network_are_the_best_within_each_budget(space, cost, ratio):
    """Bytes are a sum over choices; BitOPs are not, the two precisions of a layer multiply."""
    bits = [name for name in space.column if name.endswith(".bits")]
    columns = [space.column[name] for name in bits]
    cost, loss = SpaceKernels(space).compile(cost), loss_of_bits(space)
    every = np.array([space.largest] * int(np.prod(space.counts[columns])))
    every[:, columns] = list(itertools.product(*(range(space.counts[c]) for c in columns)))
    budgets = np.quantile(cost(every), [0.0, 0.1, 0.3, 0.6, 1.0])
    found = reallocated(space, space.largest, loss=loss, cost=cost, budgets=budgets, choices=bits)
    assert (cost(found) <= budgets).all()
    kept = [space.column[name] for name in space.column if name not in bits]
    assert (found[:, kept] == np.array(space.largest)[kept]).all()
    for row, budget in zip(found, budgets, strict=True):
        best = loss(every)[cost(every) <= budget].min()
        assert loss(row[None])[0] <= ratio * best + 1e-9


def test_a_budget_that_no_bits_meet_is_told(space):
    cost = SpaceKernels(space).compile(model_bytes)
    with pytest.raises(ValueError, match="least that can be reached"):
        reallocated(
            space,
            space.largest,
            loss=loss_of_bits(space),
            cost=cost,
            budgets=np.array([10.0, 1e6]),
            choices=["stage0.block0.weight.bits"],
        )


def test_a_choice_that_is_not_there_is_told(space):
    with pytest.raises(ValueError, match=r"stem\.bits"):
        reallocated(
            space,
            space.largest,
            loss=loss_of_bits(space),
            cost=loss_of_bits(space),
            budgets=np.array([1.0]),
            choices=["stem.bits"],
        )
