import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from nas.problem.front import hypervolume, nondominated


def fronts():
    shapes = st.tuples(st.integers(0, 30), st.integers(1, 4))
    return shapes.flatmap(
        lambda shape: arrays.arrays(np.float64, shape, elements=st.integers(0, 12).map(float))
    )


@given(fronts())
def test_nondominated_is_pymoos_first_front(points):
    expected = np.zeros(len(points), dtype=bool)
    if len(points):
        expected[NonDominatedSorting().do(points, only_non_dominated_front=True)] = True
    np.testing.assert_array_equal(nondominated(points), expected)


@given(fronts())
def test_hypervolume_is_pymoos(points):
    reference = np.full(points.shape[1], 10.0)
    inside = points[(points < reference).all(axis=1)]
    expected = HV(ref_point=reference)(inside) if len(inside) else 0.0
    assert hypervolume(points, reference) == pytest.approx(expected)


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
