"""The first batch of a search: networks spread over the costs and over the options."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import Problem
from nas.search.learned_cost import log_costs
from predictors.order import ranks_by_cost
from search_spaces.space import IntArray, SearchSpace

_POOL = 4096


def spread_over_costs(
    problem: Problem, rng: np.random.Generator, count: int, *, rows: IntArray | None = None
) -> IntArray:
    """Up to `count` distinct feasible rows, evenly spread over costs, different in their options.

    First come the most expensive and the cheapest row. Then a pool of rows is cut into strata of
    rising cost, and each stratum gives the row that differs most from the rows taken before.

    Args:
        problem: The space, and the goals with the costs and limits.
        rng: The source of random numbers, for the pool and the order of its strata.
        count: The number of rows.
        rows: The pool, `(n, choices)`; by default random rows of the space.
    """
    ranks = ranks_by_cost(problem.space, log_costs(problem.goals))
    rows = _pool(problem.space, rng, ranks) if rows is None else rows
    allowed = np.any([goal.violation(rows) == 0 for goal in problem.goals], axis=0)
    rows = rows[allowed] if allowed.any() else rows
    level = _level(np.column_stack([goal.values(rows) for goal in problem.goals]))
    picked = [rank[column] for rank, column in zip(ranks, rows.T, strict=True)]
    options = np.array(picked).reshape(rows.T.shape).T / np.maximum(problem.space.counts - 1, 1)
    edges = np.linspace(0, 1, max(2, count) - 1)
    stratum = np.searchsorted(edges, level)
    chosen = [int(level.argmax()), int(level.argmin())]
    distance = np.full(len(rows), np.inf)
    for number in rng.permutation(np.unique(stratum)):
        distance = np.minimum(distance, np.abs(options - options[chosen[-1]]).sum(axis=1))
        members = np.flatnonzero(stratum == number)
        chosen.append(int(members[distance[members].argmax()]))
    return rows[list(dict.fromkeys(chosen))[:count]]


def _level(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The level of cost of each row, `(n,)`, from 0 (cheapest) to 1 (most expensive).

    The level is the average of the rank and of the scaled logarithm of the costs
    `(n, objectives)`. An infinite cost counts as the largest finite one.
    """
    finite = np.isfinite(costs)
    dearest = np.max(costs, initial=1e-12, where=finite)
    logs = np.log(np.maximum(np.where(finite, costs, dearest), 1e-12))
    logs = (logs - logs.min(axis=0)) / np.maximum(np.ptp(logs, axis=0), 1e-12)
    mean = logs.mean(axis=1)
    rank = np.argsort(np.argsort(mean, kind="stable"), kind="stable") / max(1, len(mean) - 1)
    blend = (rank + mean) / 2
    return (blend - blend.min()) / max(float(np.ptp(blend)), 1e-12)


def _pool(space: SearchSpace, rng: np.random.Generator, ranks: Sequence[IntArray]) -> IntArray:
    """Random distinct rows; half prefer the cheapest or the dearest options, to a random degree."""
    plain = space.sample_array(rng, _POOL // 2)
    lean = rng.beta(0.7, 0.7, size=(_POOL // 2, 1))
    tilted = rng.binomial(np.broadcast_to(space.counts - 1, (_POOL // 2, len(space.counts))), lean)
    ends = np.array([0 * space.counts, space.counts - 1])
    tilted = np.concatenate([ends, tilted])
    for column, rank in enumerate(ranks):
        tilted[:, column] = np.argsort(rank)[tilted[:, column]]
    ends = np.array([space.smallest, space.largest])
    return np.unique(space.canonical_array(np.concatenate([ends, plain, tilted])), axis=0)
