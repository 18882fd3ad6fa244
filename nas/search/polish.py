"""Local search on predictions: from the best rows, change one pick, or several picks at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import Goal
from nas.search.inner import UNREACHABLE, Promise, score, survivors
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

# The number of rounds, of networks that a round starts from, and of prices per network.
_SWEEPS = 3
_ANCHORS = 40
_PRICES = 4
# How many picks a local step changes at once.
_LENGTHS = (1, 2, 3, 5, 8)


def polish(
    space: SearchSpace,
    goal: Goal,
    promise: Promise,
    *,
    rows: IntArray,
    scores: FloatArray,
    rng: np.random.Generator,
) -> tuple[IntArray, FloatArray]:
    """The rows and scores that local steps from the best of `rows` lead to, with the given ones.

    Every sweep scores all networks one pick away from some rows of the front. With the effects of
    single picks taken as additive, each random price of cost then determines which picks to change
    at once. The price is the multiplier of the multiple-choice knapsack (Everett 1963).

    Args:
        space: The space to search.
        goal: The goal with the costs and limits.
        promise: The promised loss of rows, `(n, choices)` to `(n,)`; smaller is better.
        rows: Rows scored before, `(n, choices)`.
        scores: The scores of `rows`, `(n, 1 + cost objectives)`.
        rng: The source of all random numbers.
    """
    every_row, every_score = [rows], [scores]
    for _ in range(_SWEEPS):
        kept = survivors(scores, _ANCHORS)
        anchors, at = rows[kept], scores[kept]
        near = mutants(anchors, space)
        new = score(goal, promise, near)
        steps = space.canonical_array(_allocations(anchors, at, new, space=space, rng=rng))
        every_row += [near, steps]
        every_score += [new, score(goal, promise, steps)]
        rows, scores = (
            np.concatenate([anchors, *every_row[-2:]]),
            np.concatenate([at, *every_score[-2:]]),
        )
        rows, first = np.unique(rows, axis=0, return_index=True)
        scores = scores[first]
    return np.concatenate(every_row), np.concatenate(every_score)


def _allocations(
    anchors: IntArray,
    at: FloatArray,
    near: FloatArray,
    *,
    space: SearchSpace,
    rng: np.random.Generator,
) -> IntArray:
    """Rows with the best 1, 2, 3, 5 and 8 changes of each anchor, for several random prices.

    The changes are the best if the effects of single picks add up.

    Args:
        anchors: Rows `(n, choices)`.
        at: Scores of the anchors, `(n, 1 + costs)`.
        near: Scores of the anchors' `mutants`, `(n * options, 1 + costs)`.
        space: The space.
        rng: The source of the prices.

    Returns:
        `(n * prices * 5, choices)`, not yet canonical.
    """
    n, options = len(anchors), int(space.counts.sum())
    change = near.reshape(n, options, -1) - at[:, None]
    # Mean change per anchor and objective; scores beyond a limit would dominate it.
    within = (near[:, :1] < UNREACHABLE).reshape(n, options, 1)
    total = (np.abs(change) * within).sum(axis=1) / within.sum(axis=1).clip(1, None)
    spread = total.clip(1e-12, None)
    prices = np.exp(rng.normal(0, 1, size=(n, _PRICES, at.shape[1])))
    prices[:, :, 0] = 1
    value = np.einsum("npk,nok->npo", prices / spread[:, None], change)
    starts = np.concatenate([[0], np.cumsum(space.counts)[:-1]])
    best = np.minimum.reduceat(value, starts, axis=2)  # (n, prices, choices)
    padded = np.full((n, _PRICES, len(space.counts), int(space.counts.max())), np.inf)
    choice = np.repeat(np.arange(len(space.counts)), space.counts)
    padded[:, :, choice, np.arange(options) - starts[choice]] = value
    pick = padded.argmin(axis=3)
    place = np.argsort(np.argsort(best, axis=2), axis=2)
    wanted = (place[:, :, None] < np.array(_LENGTHS)[:, None]) & (best[:, :, None] < 0)
    result = np.where(wanted, pick[:, :, None], anchors[:, None, None])
    return result.reshape(-1, anchors.shape[1])


def mutants(rows: IntArray, space: SearchSpace) -> IntArray:
    """Every network one pick away from a row of `rows`, canonical, with repeats.

    Args:
        rows: `(n, choices)`.
        space: The space of the rows.

    Returns:
        `(n * options, choices)`: for each row, one network per option of each choice.
    """
    changes = [
        (choice, option) for choice, count in enumerate(space.counts) for option in range(count)
    ]
    where, options = np.array(changes, dtype=np.int64).reshape(-1, 2).T
    result = np.repeat(rows, len(changes), axis=0)
    result[np.arange(len(result)), np.tile(where, len(rows))] = np.tile(options, len(rows))
    return space.canonical_array(result)
