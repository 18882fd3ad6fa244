"""Evolution on predictions, at the level of arrays: no Python object per individual.

One goal at a time: the loss a network promises against its known costs. Every row scored on the
way is kept, since a batch is later chosen from all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import Goal
from nas.search.evolution import front_ranks
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
Promise = Callable[[IntArray], FloatArray]

UNREACHABLE = 1e12
# Children made for each that is wanted: some repeat what is known.
_SPARE = 1.1
# The share of children with two parents, and of changed picks that may become any option.
_CROSSED, _RESET = 0.9, 0.5
# How many picks of a child change on average: one of these.
_CHANGES = np.array([1, 2, 4], dtype=np.float32)


@dataclass(frozen=True)
class Effort:
    """How much an inner search may spend, and how greedy it is.

    NSGA-II has a brood of 1 and tournaments of 2. A larger brood is faster, as every array is
    longer; larger tournaments make up for the fewer selections.

    Attributes:
        population: Rows that survive a selection.
        generations: Rows to score, in populations.
        brood: Rows scored between two selections, in populations.
        tournament: Rows drawn for every parent, which is the best of them.
    """

    population: int = 200
    generations: int = 20
    brood: int = 2
    tournament: int = 6


def evolve(
    space: SearchSpace,
    goal: Goal,
    promise: Promise,
    *,
    seeds: IntArray,
    effort: Effort,
    rng: np.random.Generator,
) -> tuple[IntArray, FloatArray]:
    """The distinct rows scored and their scores `(n, 1 + cost objectives)`.

    NSGA-II's survival, tournaments, uniform crossover, mutation by resets and single steps.

    Args:
        space: The space searched.
        goal: Whose costs and limits count; rows beyond a limit score worse than any within.
        promise: The loss each row promises, smaller is better.
        seeds: Rows to start from; random ones fill up the population.
        effort: Population and generations.
        rng: Drives every draw.
    """
    size = effort.population
    brood = effort.brood * size
    rows = np.concatenate(
        [seeds[:size], space.sample_array(rng, max(size - len(seeds), size // 4))]
    )
    key = rng.integers(1, 1 << 62, size=len(space.choices)) | 1
    rows, known = _unseen(rows, key, np.array([np.iinfo(np.int64).max]), at_most=len(rows))
    scores = score(goal, promise, rows)
    every_row, every_score = [rows], [scores]
    for _ in range(math.ceil(effort.generations / effort.brood)):
        kept = survivors(scores, size)
        rows, scores = rows[kept], scores[kept]
        made = vary(
            rows, space.counts, size=int(_SPARE * brood), tournament=effort.tournament, rng=rng
        )
        children, known = _unseen(space.canonical_array(made), key, known, at_most=brood)
        if len(children):
            every_row.append(children)
            every_score.append(score(goal, promise, children))
            rows = np.concatenate([rows, children])
            scores = np.concatenate([scores, every_score[-1]])
    return np.concatenate(every_row), np.concatenate(every_score)


def score(goal: Goal, promise: Promise, rows: IntArray) -> FloatArray:
    """Promised loss and costs `(n, 1 + objectives)`; beyond a limit, worse than any within."""
    values, excess = goal.assess(rows)
    points = np.column_stack([promise(rows), values])
    return np.where(
        excess[:, None] > 0, UNREACHABLE * (1 + np.minimum(excess, 1e3))[:, None], points
    )


def survivors(scores: FloatArray, size: int) -> NDArray[np.intp]:
    """Indices of the `size` best, best first: by front, then by how far apart they are."""
    fronts = front_ranks(scores, until=size)
    ranked = np.concatenate(fronts)
    rank = np.repeat(np.arange(len(fronts), dtype=np.int16), [len(front) for front in fronts])
    fitness = rank - _crowding(scores[ranked], rank)
    return ranked[np.argsort(fitness)[:size]]


def _crowding(scores: FloatArray, rank: NDArray[np.int16]) -> FloatArray:
    """NSGA-II's crowding distance within each front, squeezed into [0, 1); `rank` ascends."""
    columns = np.ascontiguousarray(scores.T)
    order = np.argsort(columns, axis=1)
    # Two fast sorts, by value and by small integers, instead of one by both.
    by_rank = np.argsort(rank[order], axis=1, kind="stable")
    order = np.take_along_axis(order, by_rank, axis=1)
    ordered = np.take_along_axis(columns, order, axis=1)
    ends = np.flatnonzero(np.diff(rank, append=-1))
    starts = np.concatenate([[0], ends[:-1] + 1])
    span = ordered[:, ends] - ordered[:, starts]
    gap = np.empty_like(ordered)
    gap[:, 1:-1] = ordered[:, 2:] - ordered[:, :-2]
    gap[:, starts] = gap[:, ends] = np.inf
    gap /= np.where(span > 0, span, 1.0)[:, rank]
    distance = np.empty_like(gap)
    np.put_along_axis(distance, order, gap, axis=1)
    total = np.minimum(distance.sum(axis=0), 1e6)
    return total / (1 + total)


def vary(
    rows: IntArray,
    counts: NDArray[np.int64],
    *,
    size: int,
    tournament: int,
    rng: np.random.Generator,
) -> IntArray:
    """`size` children of `rows`, best first: tournaments, uniform crossover, changed picks.

    One draw per pick decides: the lowest come from the second parent, the highest change.
    """
    first, second = rng.integers(0, len(rows), size=(tournament, 2, size)).min(axis=0)
    draw = rng.random((size, rows.shape[1]), dtype=np.float32)
    crossed = rng.random((size, 1), dtype=np.float32) * (rng.random((size, 1)) < _CROSSED)
    children = np.where(draw < crossed, rows[second], rows[first])
    changes = _CHANGES[rng.integers(0, len(_CHANGES), size=(size, 1))]
    place = np.flatnonzero(draw > 1 - changes / max(1, rows.shape[1]))
    picks = children.ravel()
    picks[place] = _changed(picks[place], counts[place % rows.shape[1]], rng)
    return children


def _changed(picks: IntArray, limit: IntArray, rng: np.random.Generator) -> IntArray:
    """New picks below `limit`: for half of them a neighbour, for half any option."""
    resets = (rng.random(len(picks)) * limit).astype(np.int64)
    steps = picks + 2 * rng.integers(0, 2, size=len(picks)) - 1
    steps = np.minimum(np.maximum(steps, 0), limit - 1)
    return np.where(rng.random(len(picks)) < _RESET, resets, steps)


def _unseen(
    rows: IntArray, key: IntArray, known: NDArray[np.int64], *, at_most: int
) -> tuple[IntArray, NDArray[np.int64]]:
    """Distinct rows not met before, by hash, and the hashes known afterwards, sorted.

    The largest integer ends `known`, so that every hash has its place in it.
    """
    hashes = rows @ key
    order = np.argsort(hashes)
    hashes = hashes[order]
    new = known[np.searchsorted(known, hashes)] != hashes
    new[1:] &= hashes[1:] != hashes[:-1]
    kept = np.flatnonzero(new)[:at_most]
    # Two sorted runs, which a stable sort merges.
    known = np.sort(np.concatenate([known, hashes[kept]]), kind="stable")
    return rows[order[kept]], known
