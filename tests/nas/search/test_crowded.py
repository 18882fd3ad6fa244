"""A crowd of cheap networks of nearly equal loss must not keep a search from better ones."""

import numpy as np
import pytest

from nas.evaluation.evaluation import Evaluation
from nas.problem.goals import Goal, Measured, Problem
from nas.search.guided import Guided
from predictors.warp import Warp
from search_spaces.space import as_genotypes
from search_spaces.tabular import Decision, tabular_space

SPACE = tabular_space([Decision(f"pick{i}", (0, 1, 2, 3), {}) for i in range(5)], name="crowded")
RNG = np.random.default_rng(0)
ROWS = SPACE.every_row()
CHEAP = ROWS[:, 0] == 0
OTHERS = 60 + (ROWS[:, 1:] != [1, 2, 3, 0]) @ np.array([8.0, 6.0, 4.0, 2.0])
LOSS = np.where(CHEAP, 66 + 0.02 * RNG.random(len(ROWS)), OTHERS)
COST = np.where(CHEAP, RNG.uniform(4, 5, len(ROWS)), RNG.uniform(6, 14, len(ROWS)))


def place(rows):
    return np.asarray(rows) @ 4 ** np.arange(5)[::-1]


@pytest.mark.parametrize(
    "cost", [lambda rows: COST[place(rows)], Measured("cost")], ids=["known", "unknown"]
)
def test_a_search_leaves_many_cheap_networks_of_nearly_equal_loss_for_better_ones(cost):
    problem = Problem(SPACE, (Goal("device", {"cost": cost}, ("cost",)),))
    guided = Guided(problem, seed=0, initial=())
    rng = np.random.default_rng(0)
    parts = CHEAP, ~CHEAP & (LOSS > 66)  # nothing that was evaluated is better than the crowd
    told = np.concatenate([rng.choice(np.flatnonzero(part), 40, replace=False) for part in parts])
    figures = zip(as_genotypes(ROWS[told]), LOSS[told], COST[told], strict=True)
    guided.tell(
        [
            Evaluation(row, {"error": float(loss), "cost": float(cost)}, 0, 0.0, "table")
            for row, loss, cost in figures
        ]
    )
    assert (LOSS[place(guided.ask(10))] < 66).sum() >= 3


def test_losses_that_hardly_differ_do_not_make_the_map_fine():
    spread = np.linspace(60, 80, 20)
    crowd = 66 + 1e-3 * np.arange(60)
    alone, crowded = Warp(spread), Warp(np.concatenate([spread, crowd]))
    ends = np.array([60.0, 66.0])
    assert np.ptp(crowded(ends)) < 1.5 * np.ptp(alone(ends))


def test_equal_losses_and_one_loss_have_a_map():
    for losses in (np.array([5.0]), np.full(3, 5.0), np.array([5.0, 5.0, 5.0, 7.0])):
        assert np.isfinite(Warp(losses)(losses)).all()
