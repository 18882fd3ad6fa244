import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from nas.problem.front import hypervolume, nondominated


def fronts():
    shapes = st.tuples(st.integers(0, 30), st.integers(1, 4))
    return shapes.flatmap(
        lambda shape: arrays.arrays(np.float64, shape, elements=st.integers(0, 12).map(float))
    )


def cornered():
    """Points of whole numbers around a cube of side 4."""
    shapes = st.tuples(st.integers(0, 12), st.integers(1, 4))
    return shapes.flatmap(
        lambda shape: arrays.arrays(np.float64, shape, elements=st.integers(0, 5).map(float))
    )


@given(fronts())
def test_nondominated_is_pymoos_first_front(points):
    expected = np.zeros(len(points), dtype=bool)
    if len(points):
        expected[NonDominatedSorting().do(points, only_non_dominated_front=True)] = True
    np.testing.assert_array_equal(nondominated(points), expected)


@given(cornered())
def test_hypervolume_is_the_number_of_unit_cells_that_a_point_dominates(points):
    reference = np.full(points.shape[1], 4.0)
    cells = np.indices([4] * points.shape[1]).reshape(points.shape[1], -1).T
    dominated = (points[:, None] <= cells).all(axis=2).any(axis=0)
    assert hypervolume(points, reference) == pytest.approx(float(dominated.sum()))


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([[0.25]], 0.75),
        ([[0.2, 0.5], [0.5, 0.2]], 0.8 * 0.5 + 0.5 * 0.3),
        ([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]], 0.5),
        ([[0.5, 0.5, 0.5, 0.5], [0.75, 0.0, 0.5, 0.5], [0.9, 0.9, 0.9, 0.9]], 0.0625 + 0.03125),
    ],
)
def test_hypervolume_of_points_that_were_worked_out_by_hand(points, volume):
    assert hypervolume(np.array(points), np.ones(len(points[0]))) == pytest.approx(volume)


def test_equal_points_all_stay():
    points = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0], [0.0, 5.0]])
    assert nondominated(points).tolist() == [True, True, False, True]


def test_infinite_costs_are_dominated_and_add_nothing():
    points = np.array([[1.0, np.inf], [1.0, 2.0]])
    assert nondominated(points).tolist() == [False, True]
    assert hypervolume(points, np.array([2.0, 4.0])) == 2.0


def test_bad_points_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        nondominated(np.array([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match="shape"):
        nondominated(np.zeros(3))
    with pytest.raises(ValueError, match="share their objectives"):
        hypervolume(np.zeros((2, 3)), np.ones(2))
