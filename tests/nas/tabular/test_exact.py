"""Exact fronts: every network looked at, against brute force and the published figures."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.tables import NAMES, ROOT, load
from nas.problem.goals import Goal
from nas.tabular import exact_front, is_listable
from search_spaces.space import SearchSpace
from search_spaces.tabular import Decision, tabular_space

REFERENCES = ROOT / "search_tables" / "references.json"


def small() -> SearchSpace:
    return tabular_space(
        [
            Decision("a", (0, 1, 2), {}),
            Decision("b", (0, 1, 2, 3), {"a": (1, 2)}),
            Decision("c", (0, 1), {"b": (0, 3)}),
        ],
        name="small",
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 2), st.booleans())
def test_it_is_what_no_other_network_beats(seed: int, costs: int, limited: bool) -> None:
    space, rng = small(), np.random.default_rng(seed)
    every = space.every_row()
    figures = rng.integers(1, 9, size=(len(every), 1 + costs)).astype(float)
    place = {row: number for number, row in enumerate(map(tuple, every.tolist()))}

    def column(number):
        return lambda rows: figures[[place[row] for row in map(tuple, rows.tolist())], number]

    names = tuple(f"cost{number}" for number in range(costs))
    known = {name: column(number) for number, name in enumerate(names, 1)}
    limits = {"cost0": float(np.median(figures[:, 1]))} if limited else {}
    found = exact_front(space, Goal("device", known, names, limits), column(0))
    within = [f for f in figures.tolist() if not limited or f[1] <= limits["cost0"]]
    expected = [
        point
        for point in within
        if not any(
            o != point and all(a <= b for a, b in zip(o, point, strict=True)) for o in within
        )
    ]
    assert sorted(found.points.tolist()) == sorted(expected)
    assert (np.diff(found.points[:, 1]) >= 0).all()
    assert found.share(found.points) == pytest.approx(1)
    assert found.corner.tolist() == figures.max(axis=0).tolist()
    grid = itertools.product(*(np.arange(0.5, edge) for edge in found.corner))  # unit cells
    dominated = sum(any(all(np.array(p) <= cell) for p in expected) for cell in map(np.array, grid))
    assert found.corner_volume == pytest.approx(dominated)


def test_limits_that_none_meets_and_spaces_that_cannot_be_listed_are_refused() -> None:
    def ones(rows):
        return np.ones(len(rows))

    goal = Goal("device", {"cost": ones}, ("cost",), {"cost": 0.5})
    with pytest.raises(ValueError, match="no network of space 'small' is within"):
        exact_front(small(), goal, ones)
    large = tabular_space([Decision(f"c{i}", tuple(range(8)), {}) for i in range(9)], name="large")
    with pytest.raises(ValueError, match="space 'large' has"):
        exact_front(large, goal, ones)


SLOW = ("mp201_joint",)  # half a million networks


@pytest.mark.skipif(not REFERENCES.exists(), reason="the public tables are not here")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NAMES if "ofa" not in n],
)
def test_published_tables_have_the_fronts_and_volumes_that_peers_were_measured_by(name) -> None:
    expected = json.loads(REFERENCES.read_text())[name]
    table = load(name)
    found = exact_front(table.problem.space, table.problem.goals[0], table.loss)
    front = np.unique(found.points, axis=0)[::-1]
    assert front == pytest.approx(np.array(expected["front"]), abs=2e-6)
    assert found.reference == pytest.approx(expected["tight_reference"], abs=2e-6)
    assert found.corner == pytest.approx(expected["corner_reference"], abs=2e-6)
    assert found.volume == pytest.approx(expected["exact_area_tight"])
    assert found.corner_volume == pytest.approx(expected["exact_area_corner"])


@pytest.mark.skipif(not REFERENCES.exists(), reason="the public tables are not here")
def test_the_largest_published_space_is_not_listed() -> None:
    assert not is_listable(load("ofa_note10").problem.space)
