import numpy as np
import pytest

from nas.problem.choosing import cheapest, good_enough

ERRORS = np.array([30.0, 5.0, 1.5, 1.0, 1.0])
COST = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
ALL = np.ones(5, dtype=np.bool_)


@pytest.mark.parametrize(("tolerance", "expected"), [(0.0, 3), (0.5, 2), (4.0, 1), (29.0, 0)])
def test_the_cheapest_of_those_near_the_lowest_error_is_chosen(tolerance, expected):
    assert cheapest(ERRORS, COST, ALL, tolerance=tolerance) == expected


def test_what_is_not_allowed_sets_no_standard():
    allowed = np.array([True, True, False, False, False])
    assert cheapest(ERRORS, COST, allowed) == 1
    assert good_enough(ERRORS, allowed, tolerance=1.0).tolist() == [False, True, *[False] * 3]


def test_of_equal_costs_the_lower_error_is_chosen_and_then_the_first():
    same = np.ones(5)
    assert cheapest(ERRORS, same, ALL, tolerance=99.0) == 3
    assert cheapest(np.zeros(5), same, ALL) == 0


def test_nothing_is_chosen_where_nothing_is_allowed():
    assert cheapest(ERRORS, COST, ~ALL) is None
    assert not good_enough(ERRORS, ~ALL, tolerance=1.0).any()
    assert cheapest(ERRORS[:0], COST[:0], ALL[:0]) is None
