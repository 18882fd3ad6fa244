"""Targets are classes or values where that is beyond doubt; else the user is asked."""

import numpy as np
import pytest

from nas.tasks.targets import meaning, values
from nas.tasks.task import TaskError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (np.array(["cat", "dog"]), "classes"),
        (np.array([True, False]), "classes"),
        (np.array([-1, 1, 1]), "classes"),
        (np.array([3, 7, 3])[:, None], "classes"),
        (np.arange(1000) % 100, "classes"),
        (1 + np.arange(1000) % 100, "classes"),
        (np.array([0.5, 1.0]), "regression"),
        (np.array([1.0, np.nan]), "regression"),
        (RNG.normal(size=(9, 3)), "regression"),
    ],
)
def test_what_is_clear_is_not_asked(targets, found):
    assert meaning("data", targets) == found


@pytest.mark.parametrize(
    "targets",
    [
        RNG.integers(18, 90, size=1000),  # ages
        RNG.integers(100_000, 900_000, size=50),  # prices
        np.arange(1990, 2020),  # years
        np.arange(99) % 33,  # three samples each
        np.array([0.0, 1.0, 2.0]),
        np.eye(3, dtype=np.int64),
    ],
    ids=("ages", "prices", "years", "few of each", "whole floats", "one-hot"),
)
def test_whole_numbers_that_may_be_values_are_asked_for(targets):
    with pytest.raises(TaskError, match=r'may be classes or values; set target = "classes" or'):
        meaning("data", targets)


def test_values_are_rows_of_float32():
    assert values("data", np.array([1, 2])).tolist() == [[1.0], [2.0]]
    assert values("data", np.zeros((4, 2, 3))).shape == (4, 2, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_values_that_cannot_be_are_named(bad):
    targets = np.zeros((5, 2))
    targets[3, 1] = bad
    with pytest.raises(TaskError, match=r"first in sample 3; repair or drop"):
        values("data", targets)
    with pytest.raises(TaskError, match="no values"):
        values("data", np.array(["a"]))
