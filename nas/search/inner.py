"""Evolution on predictions, at the level of arrays: no Python object per individual.

One goal at a time: the loss a network promises against its known costs. Every row scored on the
way is kept, since a batch is later chosen from all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.objectives import Goal
from nas.search.evolution import front_ranks
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
Promise = Callable[[IntArray], FloatArray]

UNREACHABLE = 1e12


@dataclass(frozen=True)
class Effort:
    """How much an inner search may spend: rows per generation, and generations over all goals."""

    population: int = 200
    generations: int = 20


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

    NSGA-II's survival and tournament, uniform crossover, mutation by resets and single steps.

    Args:
        space: The space searched.
        goal: Whose costs and limits count; rows beyond a limit score worse than any within.
        promise: The loss each row promises, smaller is better.
        seeds: Rows to start from; random ones fill up the population.
        effort: Population and generations.
        rng: Drives every draw.
    """
    size = effort.population
    rows = np.concatenate(
        [seeds[:size], space.sample_array(rng, max(size - len(seeds), size // 4))]
    )
    key = rng.integers(1, 1 << 62, size=len(space.choices)) | 1
    rows, known = _unseen(rows, key, np.empty(0, dtype=np.int64))
    scores = score(goal, promise, rows)
    every_row, every_score = [rows], [scores]
    kept, fitness = survivors(scores, size)
    rows, scores = rows[kept], scores[kept]
    for _ in range(effort.generations):
        offspring = space.canonical_array(vary(rows, fitness, space.counts, size=size, rng=rng))
        offspring, known = _unseen(offspring, key, known)
        if not len(offspring):
            continue
        new = score(goal, promise, offspring)
        every_row.append(offspring)
        every_score.append(new)
        rows, scores = np.concatenate([rows, offspring]), np.concatenate([scores, new])
        kept, fitness = survivors(scores, size)
        rows, scores = rows[kept], scores[kept]
    return np.concatenate(every_row), np.concatenate(every_score)


def score(goal: Goal, promise: Promise, rows: IntArray) -> FloatArray:
    """Promised loss and costs `(n, 1 + objectives)`; beyond a limit, worse than any within."""
    values, excess = goal.assess(rows)
    points = np.column_stack([promise(rows), values])
    return np.where(
        excess[:, None] > 0, UNREACHABLE * (1 + np.minimum(excess, 1e3))[:, None], points
    )


def survivors(scores: FloatArray, size: int) -> tuple[NDArray[np.intp], FloatArray]:
    """Indices of the `size` best and their fitness: front number less crowding, small is good."""
    rank = np.full(len(scores), len(scores))
    for number, front in enumerate(front_ranks(scores, until=size)):
        rank[front] = number
    fitness = rank - _crowding(scores, rank)
    kept = np.argsort(fitness, kind="stable")[:size]
    return kept, fitness[kept]


def _crowding(scores: FloatArray, rank: NDArray[np.intp]) -> FloatArray:
    """NSGA-II's crowding distance within each front, squeezed into [0, 1)."""
    distance = np.zeros(len(scores))
    for column in scores.T:
        order = np.lexsort((column, rank))
        ordered, fronts = column[order], rank[order]
        starts = np.concatenate([[True], fronts[1:] != fronts[:-1]])
        ends = np.concatenate([starts[1:], [True]])
        group = np.cumsum(starts) - 1
        span = ordered[ends] - ordered[starts]
        gap = np.empty(len(ordered))
        gap[1:-1] = ordered[2:] - ordered[:-2]
        gap[[0, -1]] = 0.0
        share = gap / np.where(span > 0, span, 1.0)[group]
        distance[order] += np.where(starts | ends, np.inf, share)
    distance = np.minimum(distance, 1e6)
    return distance / (1 + distance)


def vary(
    rows: IntArray,
    fitness: FloatArray,
    counts: NDArray[np.int64],
    *,
    size: int,
    rng: np.random.Generator,
) -> IntArray:
    """`size` children: tournament, uniform crossover, then resets and steps of single picks."""
    entrants = rng.integers(0, len(rows), size=(2, 2, size))
    first, second = np.where(fitness[entrants[0]] <= fitness[entrants[1]], entrants[0], entrants[1])
    shape = (size, rows.shape[1])
    crossed = rng.random((size, 1), dtype=np.float32) * (rng.random((size, 1)) < 0.9)
    take = rng.random(shape, dtype=np.float32) < crossed
    children = np.where(take, rows[second], rows[first])
    return mutate(children, counts, rate=rng.choice([1.0, 2.0, 4.0], size=(size, 1)), rng=rng)


def mutate(
    rows: IntArray, counts: NDArray[np.int64], *, rate: FloatArray, rng: np.random.Generator
) -> IntArray:
    """`rows` with about `rate` picks of each changed, half to a neighbour, half to any option."""
    shape = rows.shape
    hit = rng.random(shape, dtype=np.float32) < rate / shape[1]
    place = np.nonzero(hit)
    result = rows.copy()
    limit = counts[place[1]]
    drawn = (rng.random(len(limit)) * limit).astype(np.int64)
    step = np.clip(rows[place] + rng.choice([-1, 1], size=len(limit)), 0, limit - 1)
    result[place] = np.where(rng.random(len(limit)) < 0.5, drawn, step)
    return result


def _unseen(
    rows: IntArray, key: IntArray, known: NDArray[np.int64]
) -> tuple[IntArray, NDArray[np.int64]]:
    """The rows not met before, by a 62-bit hash, and the hashes known afterwards (sorted)."""
    hashes = (rows * key).sum(axis=1)
    _, first = np.unique(hashes, return_index=True)
    place = np.searchsorted(known, hashes[first])
    is_new = known[np.minimum(place, len(known) - 1)] != hashes[first] if len(known) else True
    first = first[np.broadcast_to(is_new, first.shape)]
    first.sort()
    return rows[first], np.sort(np.concatenate([known, hashes[first]]))
