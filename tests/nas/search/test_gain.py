import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.problem.front import hypervolume
from nas.search.gain import Box, bounding_box, gains, landscape


def clouds(costs: int):
    """Networks `(n, 1 + costs)`, loss first, some of them outside of the unit box."""
    value = st.integers(-2, 12).map(lambda tenths: tenths / 10)
    return st.lists(st.tuples(*[value] * (1 + costs)), min_size=1, max_size=12).map(np.array)


def gained(known: np.ndarray, candidate: np.ndarray) -> float:
    """What one network adds to the hypervolume within the unit box, as a share of its height."""
    known, candidate = np.maximum(known, [-1] + [0] * (known.shape[1] - 1)), candidate.copy()
    candidate[1:] = np.maximum(candidate[1:], 0)
    reference = np.ones(len(candidate))
    more = hypervolume(np.vstack([known, candidate]), reference) - hypervolume(known, reference)
    height = 1 - min(known[(known < 1).all(axis=1), 0], default=1.0)
    return more / max(height, 1e-12)


def expected(known: np.ndarray, candidate: np.ndarray) -> float:
    box = Box(np.zeros(known.shape[1] - 1), np.ones(known.shape[1] - 1), 1.0)
    land = landscape(box, known[:, 1:], known[:, 0])
    lowered = np.maximum(land.levels - candidate[0], 0.0)
    return float(gains(land, candidate[None, 1:], lowered[None])[0])


@given(clouds(1), clouds(1))
def test_the_gain_of_a_certain_loss_is_the_hypervolume_that_it_adds(known, candidates):
    for candidate in candidates:
        if known[(known < 1).all(axis=1), 0].size:
            assert expected(known, candidate) == pytest.approx(gained(known, candidate), abs=1e-9)


@given(clouds(2), clouds(2))
def test_with_two_costs_it_is_so_within_what_sampled_budgets_allow(known, candidates):
    low = np.minimum(known[:, 0], 0.9)
    known = np.column_stack([low, known[:, 1:]])
    if (known < 0.9).all(axis=1).any():
        for candidate in candidates:
            tolerance = 0.03 * max(1.0, 1 - candidate[0]) / (1 - low.min())
            assert expected(known, candidate) == pytest.approx(
                gained(known, candidate), abs=tolerance
            )


def empty(costs, losses):
    """The landscape of a box around these networks, with none of them evaluated yet."""
    box = bounding_box(costs, losses, 9.0)
    return landscape(box, costs[:0], losses[:0])


def test_costs_beyond_the_box_gain_nothing():
    land = empty(np.array([[1.0], [2.0]]), np.array([5.0, 3.0]))
    assert gains(land, np.array([[2.2], [np.inf], [1.0]]), np.ones((3, 1))).tolist()[:2] == [0, 0]


def test_a_device_without_networks_gains_nothing_and_one_has_an_empty_box():
    assert gains(empty(np.empty((0, 1)), np.empty(0)), np.array([[3.0]]), np.ones((1, 1))) == 0.0
    single = empty(np.array([[2.0]]), np.array([5.0]))
    assert gains(single, np.array([[2.0], [3.0]]), np.ones((2, 1))).tolist() != [0.0, 0.0]
