import numpy as np
import pytest

from nas.search.evolution import front_ranks
from nas.search.inner import Effort, evolve, score, survivors, vary
from nas.testing.searcher import chain, problem_of, rugged


@pytest.mark.parametrize("effort", [Effort(40, 6), Effort(40, 5), Effort(40, 6, 1, 2)])
def test_every_row_is_canonical_distinct_and_has_its_score(effort):
    space = chain(depth=6)
    goal = problem_of(space, picks=20.0).goals[0]
    seeds = space.sample_array(np.random.default_rng(1), 30)
    rows, scores = evolve(
        space, goal, rugged, seeds=seeds, effort=effort, rng=np.random.default_rng(0)
    )
    assert len(np.unique(rows, axis=0)) == len(rows)
    np.testing.assert_array_equal(rows, space.canonical_array(rows))
    np.testing.assert_allclose(scores, score(goal, rugged, rows), rtol=1e-9)
    steps = -(-effort.generations // effort.brood)
    assert len(rows) <= 40 + steps * effort.brood * 40
    assert len(rows) > 0.7 * steps * effort.brood * 40


def test_a_space_smaller_than_the_effort_is_scored_whole():
    space = chain(depth=2, widths=(4, 8))
    goal = problem_of(space).goals[0]
    rows, _ = evolve(
        space,
        goal,
        rugged,
        seeds=space.sample_array(np.random.default_rng(1), 5),
        effort=Effort(20, 30),
        rng=np.random.default_rng(0),
    )
    assert len(rows) == space.size


def crowding(points):
    """Deb et al. 2002, section III-B, point by point."""
    total = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column)
        for before, at, after in zip(order[:-2], order[1:-1], order[2:], strict=True):
            total[at] += (column[after] - column[before]) / (column.max() - column.min())
        total[order[[0, -1]]] = np.inf
    return total


@pytest.mark.parametrize("objectives", [2, 3])
def test_lower_fronts_survive_and_the_less_crowded_of_the_last(objectives):
    points = np.random.default_rng(0).random((120, objectives))
    kept = survivors(points, 50)
    assert len(set(kept.tolist())) == 50
    fronts = front_ranks(points, until=len(points))
    for front in fronts:
        stays = np.isin(front, kept)
        if not stays.all():
            apart = crowding(points[front])
            assert apart[stays].min() >= apart[~stays].max()
            break
    later = np.concatenate(fronts[[f is front for f in fronts].index(True) + 1 :])
    assert not np.isin(later, kept).any()
    first = kept[: len(fronts[0])]
    assert set(first.tolist()) == set(fronts[0].tolist())
    apart = crowding(points[first])
    assert (apart[:-1] >= apart[1:]).all()


def test_children_stay_in_range_and_change_few_picks():
    counts = np.array([2, 3, 5, 1] * 10)
    rng = np.random.default_rng(0)
    parents = np.repeat(rng.integers(0, counts, size=(1, 40)), 30, axis=0)
    children = vary(parents, counts, size=2000, tournament=3, rng=rng)
    assert ((children >= 0) & (children < counts)).all()
    changed = (children != parents[0]).sum(axis=1)
    # One, two or four are drawn anew, of which some come out as they were.
    assert 0.8 < changed.mean() < 7 / 3
    assert (changed > 0).mean() > 0.5


def test_parents_are_among_the_first():
    rows = np.arange(100)[:, None] * np.ones((1, 30), dtype=np.int64)
    counts = np.full(30, 100)
    few, many = (
        vary(rows, counts, size=2000, tournament=n, rng=np.random.default_rng(0)).mean()
        for n in (2, 6)
    )
    # The least of n uniform draws below 100 is about 100 / (n + 1); resets add a little.
    assert few == pytest.approx(100 / 3, rel=0.1)
    assert many == pytest.approx(100 / 7, rel=0.2)
