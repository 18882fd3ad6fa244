"""How the latency benchmark compares measured fronts, on fronts where the answers are known."""

import numpy as np
import pytest

from benchmarks.fronts import beaten, corner_of, share, slower

FRONT = np.array([[1.0, 10.0], [2.0, 5.0], [4.0, 2.0]])


def test_a_front_at_twice_the_latency_is_dominated_and_twice_as_slow():
    late = FRONT * [2, 1]
    assert slower(late, FRONT) == pytest.approx(1.0)
    assert slower(FRONT, late) == pytest.approx(-0.5)
    assert (beaten(late, FRONT), beaten(FRONT, late), beaten(FRONT, FRONT)) == (1.0, 0.0, 0.0)


def test_errors_that_one_front_never_reaches_are_not_compared():
    accurate = np.vstack([FRONT, [100.0, 0.5]])
    assert slower(accurate, FRONT) == 0.0
    assert slower(FRONT, accurate) == 0.0


def test_share_is_of_the_area_in_log_latency():
    # By hand: corner (log10 of 100, 10); one step of two decades by 10, another of one by 5.
    whole, part = np.array([[1.0, 0.0]]), np.array([[10.0, 5.0]])
    corner = np.array([2.0, 10.0])
    assert share(part, whole, corner) == pytest.approx(1 * 5 / (2 * 10))


def test_the_corner_is_set_by_nondominated_points_alone():
    bad = np.array([[1000.0, 90.0]])
    corner = corner_of(np.vstack([FRONT, bad]))
    assert corner == pytest.approx(corner_of(FRONT))
    assert corner == pytest.approx([np.log10(4) * 1.1, 10.8])
