"""Evolution on predictions, on arrays of genotypes, without a Python object per individual.

Each call serves one goal, and minimises the promised loss and the known costs. A promised loss is
a prediction, which may be lowered by its uncertainty. All rows that were scored are returned,
since the searcher chooses its batch among all of them.
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
# Children made for each wanted child, since some children repeat known rows.
_SPARE = 1.1
# The share of children with two parents, and of changed picks that may become any option.
_CROSSED, _RESET = 0.9, 0.5
# The average number of changed picks; each child draws one of these numbers.
_CHANGES = np.array([1, 2, 4], dtype=np.float32)


@dataclass(frozen=True)
class Effort:
    """The size of an inner evolution and the strength of its selection.

    NSGA-II has a brood of 1 and tournaments of 2. A larger brood is faster, since arrays are
    longer; larger tournaments make up for the fewer selections.

    Attributes:
        population: The number of rows that survive a selection.
        generations: The number of rows to score in all, as a multiple of `population`.
        brood: The number of rows scored between two selections, as a multiple of `population`.
        tournament: The number of rows drawn for each parent; the best of these is the parent.
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
    """All distinct rows that an evolution scored, `(n, choices)`, and their scores.

    The evolution has the survival of NSGA-II (Deb et al. 2002), tournaments, uniform crossover,
    and a mutation by resets and single steps.

    Args:
        space: The space to search.
        goal: The goal with the costs and limits; rows beyond a limit score worse than all within.
        promise: The promised loss of rows, `(n, choices)` to `(n,)`; smaller is better.
        seeds: Rows to start from; random rows complete the population.
        effort: The size of the evolution.
        rng: The source of all random numbers.

    Returns:
        The rows, and their scores `(n, 1 + cost objectives)`, see `score`.
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
    """The promised loss and the cost objectives of rows, `(n, 1 + objectives)`.

    A row beyond a limit has `UNREACHABLE * (1 + excess)` everywhere, worse than all rows within.
    """
    values, excess = goal.assess(rows)
    points = np.column_stack([promise(rows), values])
    return np.where(
        excess[:, None] > 0, UNREACHABLE * (1 + np.minimum(excess, 1e3))[:, None], points
    )


def survivors(scores: FloatArray, size: int) -> NDArray[np.intp]:
    """The positions of the `size` best scores, best first: by front, then by crowding distance."""
    fronts = front_ranks(scores, until=size)
    ranked = np.concatenate(fronts)
    rank = np.repeat(np.arange(len(fronts), dtype=np.int16), [len(front) for front in fronts])
    fitness = rank - _crowding(scores[ranked], rank)
    return ranked[np.argsort(fitness)[:size]]


def _crowding(scores: FloatArray, rank: NDArray[np.int16]) -> FloatArray:
    """The crowding distance of NSGA-II within each front, mapped to [0, 1), `(n,)`.

    Args:
        scores: `(n, objectives)`, sorted by front.
        rank: The number of each row's front, `(n,)`, ascending.
    """
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
    """The children of `rows`, `(size, choices)`, not yet canonical.

    Parents are the winners of tournaments, so `rows` must be sorted, best first. One random
    number per pick decides: below a first threshold the pick comes from the second parent, above
    a second threshold it is changed (`_changed`), else it comes from the first parent.
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
    """New picks in place of `picks`: for half of them a neighbouring option, else any option.

    Args:
        picks: `(n,)`.
        limit: The number of options of each pick's choice, `(n,)`.
        rng: The source of all random numbers.
    """
    resets = (rng.random(len(picks)) * limit).astype(np.int64)
    steps = picks + 2 * rng.integers(0, 2, size=len(picks)) - 1
    steps = np.minimum(np.maximum(steps, 0), limit - 1)
    return np.where(rng.random(len(picks)) < _RESET, resets, steps)


def _unseen(
    rows: IntArray, key: IntArray, known: NDArray[np.int64], *, at_most: int
) -> tuple[IntArray, NDArray[np.int64]]:
    """The distinct rows whose hashes are not in `known`, and all known hashes afterwards.

    Args:
        rows: `(n, choices)`.
        key: The factors of the hash, `(choices,)`.
        known: Sorted hashes; the last is the largest integer, so that each hash has a place.
        at_most: The largest number of rows returned.
    """
    hashes = rows @ key
    order = np.argsort(hashes)
    hashes = hashes[order]
    new = known[np.searchsorted(known, hashes)] != hashes
    new[1:] &= hashes[1:] != hashes[:-1]
    kept = np.flatnonzero(new)[:at_most]
    # The array is two sorted runs, which a stable sort merges.
    known = np.sort(np.concatenate([known, hashes[kept]]), kind="stable")
    return rows[order[kept]], known
