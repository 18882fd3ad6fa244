"""Tables that lack networks or figures: refused, or answered by a surrogate that says so."""

from __future__ import annotations

import numpy as np
import pytest

from nas.tabular import TableError, Tabular, load_table
from nas.tabular.figures import Column
from predictors.rank import kendall_tau
from tests.nas.tabular.made import write

COUNTS = {"a": 4, "b": 4, "c": 4}
TEXT = """
files = ["nets.csv"]
missing = "extra-trees"
duplicates = "mean"
loss = "error"
costs = { latency_ms = "ms" }
[choices]
a = [0, 1, 2, 3]
b = [0, 1, 2, 3]
c = [0, 1, 2, 3]
"""


def true_loss(rows: np.ndarray) -> np.ndarray:
    return 50.0 - 8.0 * rows[:, 0] - 3.0 * rows[:, 1] + rows[:, 2]


@pytest.fixture
def half() -> list[dict[str, object]]:
    """Every other network of 64, without the latency of one of them."""
    grid = np.indices((4, 4, 4)).reshape(3, -1).T[::2]
    rows: list[dict[str, object]] = [
        {**dict(zip(COUNTS, row.tolist(), strict=True)), "error": loss, "ms": 1 + int(row.sum())}
        for row, loss in zip(grid, true_loss(grid).tolist(), strict=True)
    ]
    rows[5]["ms"] = ""
    return rows


@pytest.fixture
def sparse(half: list[dict[str, object]], tmp_path) -> Tabular:
    return load_table(write(tmp_path, half, TEXT))


def test_rows_are_answered_as_they_are_and_the_others_predicted(sparse: Tabular) -> None:
    assert (sparse.rows, sparse.space.size, sparse.exhaustive) == (32, 64, False)
    every = sparse.space.every_row()
    found, truth = sparse.loss(every), true_loss(every)
    assert (found[::2] == truth[::2]).all()
    assert not (found[1::2] == truth[1::2]).all()
    assert kendall_tau(found[1::2], truth[1::2]) > 0.7


def test_a_missing_figure_of_a_row_is_predicted_too(sparse: Tabular) -> None:
    row = sparse.space.every_row()[[10]]
    predicted = sparse.devices["nets"]["latency_ms"](row)[0]
    assert 1 <= predicted <= 10
    assert isinstance(sparse.loss, Column)
    assert sparse.loss.places(row) == 5


def test_it_says_what_predicts_and_how_well(sparse: Tabular) -> None:
    assert "fitted on 32 rows" in sparse.loss.note
    assert "Kendall tau 0." in sparse.loss.note
    assert "fitted on 31 rows" in sparse.devices["nets"]["latency_ms"].note


def test_the_same_table_predicts_the_same(half, tmp_path, sparse: Tabular) -> None:
    again = load_table(write(tmp_path, half[::-1], TEXT))
    every = sparse.space.every_row()
    assert (again.loss(every) == sparse.loss(every)).all()


def test_repeated_networks_are_averaged_where_that_is_asked_for(half, tmp_path) -> None:
    first = {**half[0], "error": half[0]["error"] + 4.0}
    table = load_table(write(tmp_path, [*half, first], TEXT))
    assert (table.rows, table.repeats) == (32, 1)
    assert table.loss(np.zeros((1, 3), dtype=int)) == half[0]["error"] + 2.0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('missing = "extra-trees"', r"32 of the 64 networks.*missing = \"extra-trees\""),
        ('duplicates = "mean"', r"row 33 is the same network as row 1 \(1 such rows\)"),
    ],
)
def test_without_being_asked_nothing_is_made_up(half, tmp_path, line: str, message: str) -> None:
    rows = [*half, half[0]] if "dup" in line else [r | {"ms": 1} for r in half]
    with pytest.raises(TableError, match=message):
        load_table(write(tmp_path, rows, TEXT.replace(line, "")))


def test_too_few_rows_for_a_surrogate_are_refused(half, tmp_path) -> None:
    with pytest.raises(TableError, match="at least 10 rows with a figure, given 9"):
        load_table(write(tmp_path, half[10:19], TEXT))
