import itertools

import numpy as np
import pytest

from nas.problem.goals import Goal, Problem
from nas.search.allocation.ordered import bisected, descent
from nas.search.allocation.seeds import precision_choices, seeds
from nas.testing.searcher import widths
from search_spaces.costs import SpaceKernels, bitops, model_bytes
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual


@pytest.fixture(scope="module")
def space():
    policy = Policy(weight_bits=(2, 4, 8), activation_bits=(4, 8), fineness="block")
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(4,),
        widths=((4,), (4,), (8,)),
        depths=((1,), (2,)),
        policy=policy,
    )


@pytest.fixture(scope="module")
def kernels(space):
    return SpaceKernels(space)


def loss_of(space):
    worth = np.random.default_rng(0).uniform(0.1, 2, size=len(space.choices))
    return lambda rows: (worth * 0.3**rows).sum(axis=1)


@pytest.mark.parametrize("per_cost", [True, False])
def test_a_descent_takes_the_cheapest_loss_at_every_step(space, kernels, per_cost):
    loss, cost = loss_of(space), kernels.compile(model_bytes)
    bits = [name for name in precision_choices(space) if "weight" in name]
    rows = descent(space, space.largest, loss=loss, cost=cost, choices=bits, per_cost=per_cost)
    columns = [space.column[name] for name in bits]
    assert tuple(rows[0]) == space.largest
    assert (rows[-1][columns] == 0).all()
    assert len(rows) == 1 + 2 * len(bits)
    assert (np.diff(cost(rows)) < 0).all()
    for before, after in itertools.pairwise(rows):
        (changed,) = np.flatnonzero(before != after)
        prices = []
        for column in columns:
            if before[column] > 0:
                other = before.copy()
                other[column] -= 1
                lost = loss(other[None])[0] - loss(before[None])[0]
                saved = cost(before[None])[0] - cost(other[None])[0]
                prices.append((lost / saved if per_cost else lost, column))
        assert min(prices)[1] == changed


def test_a_joint_loss_changes_the_order(space, kernels):
    """Two choices that only together lose nothing are taken one after the other."""
    bits = [name for name in precision_choices(space) if "weight" in name][:3]
    one, other, third = (space.column[name] for name in bits)

    def joint(rows):
        away = 2 - rows
        return (away[:, one] - away[:, other]) ** 2 + 0.1 * away[:, one] + 1.5 * away[:, third]

    cost = kernels.compile(model_bytes)
    options = {"cost": cost, "choices": bits, "per_cost": False}
    rows = descent(space, space.largest, loss=joint, **options)
    first = [int(np.flatnonzero(a != b)[0]) for a, b in itertools.pairwise(rows)]
    assert set(first[:2]) == {one, other}


@pytest.mark.parametrize("good", range(8))
def test_bisection_finds_the_last_good_network(space, good):
    rows = np.repeat(np.array([space.largest]), 8, axis=0)
    rows[:, 0] = np.arange(8)  # only told apart, not decoded
    last, tried = bisected(rows, lambda genotype: genotype[0] <= good)
    assert last[0] == good
    assert tried <= 3


def test_seeds_are_distinct_within_limits_and_on_the_front_of_a_sum(space, kernels):
    loss = loss_of(space)
    costs = {"bytes": kernels.compile(model_bytes), "bitops": kernels.compile(bitops)}
    rows = space.every_row()
    limit = float(np.quantile(costs["bitops"](rows), 0.7))
    goal = Goal("device", costs, ("bytes",), limits={"bitops": limit})
    problem = Problem(space, (goal,))
    found = seeds(problem, {"sum": loss}, genotype=space.largest, count=12)
    assert len(set(found)) == len(found) > 3
    kept = np.array(found)
    assert (goal.violation(kept) == 0).all()
    assert (space.canonical_array(kept) == kept).all()
    within = rows[costs["bitops"](rows) <= limit]
    assert loss(kept).min() == pytest.approx(loss(within).min())


def test_the_best_of_every_budget_is_among_the_seeds(space, kernels):
    loss, cost = loss_of(space), kernels.compile(model_bytes)
    problem = Problem(space, (Goal("device", {"bytes": cost}, ("bytes",)),))
    kept = np.array(seeds(problem, {"sum": loss}, genotype=space.largest, count=40))
    rows = space.every_row()
    for row in kept:
        best = loss(rows[cost(rows) <= cost(row[None])[0] * (1 + 1e-9)]).min()
        assert loss(row[None])[0] <= 1.5 * best
    exact = [
        loss(row[None])[0] <= loss(rows[cost(rows) <= cost(row[None])[0] * (1 + 1e-9)]).min() + 1e-9
        for row in kept
    ]
    assert np.mean(exact) > 0.5


def test_a_space_without_precisions_has_itself_as_seed():
    single = widths(3)
    cost = SpaceKernels(single).compile(model_bytes)
    problem = Problem(single, (Goal("device", {"bytes": cost}, ("bytes",)),))
    assert seeds(problem, {"sum": loss_of(single)}, genotype=single.largest, count=5) == [
        single.largest
    ]


def test_choices_that_only_together_save_anything_go_together(space):
    """A layer runs in few bits only if both its weight and its inputs have them."""
    names = [name for name in precision_choices(space) if name.startswith("stage0")]
    weight, read = (space.column[name] for name in names)

    def slower(rows):
        return 1.0 + np.maximum(rows[:, weight] / 2, rows[:, read])

    rows = descent(space, space.largest, loss=loss_of(space), cost=slower, choices=names)
    assert (rows[-1][[weight, read]] == 0).all()
    assert (np.diff(slower(rows)) < 0).all()
