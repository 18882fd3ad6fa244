"""Tables whose other networks cannot be built, spellings of one network, and texts of digits."""

import re

import numpy as np
import pytest

from nas.evaluation.evaluation import flat
from nas.search.named import searcher_named
from nas.tabular import TableError, exact_front, load_table
from tests.nas.tabular.made import write

TEXT = """
files = ["nets.csv"]
missing = "absent"
loss = "error"
costs = { latency_ms = "ms" }
[choices]
a = [0, 1, 2, 3]
b = [0, 1, 2, 3]
c = [0, 1, 2, 3]
"""
GRID = np.indices((4, 4, 4)).reshape(3, -1).T
BUILT = (GRID.sum(axis=1) % 3) > 0  # 42 of 64


def listed(rows):
    return [
        {"a": a, "b": b, "c": c, "error": 50.0 - 8 * a - 3 * b + c, "ms": 1 + a + b + c}
        for a, b, c in rows.tolist()
    ]


@pytest.fixture
def table(tmp_path):
    return load_table(write(tmp_path, listed(GRID[BUILT]), TEXT))


def test_networks_without_a_row_cost_endlessly_and_are_as_bad_as_the_worst(table):
    cost = table.devices["nets"]["latency_ms"](GRID)
    assert (np.isfinite(cost) == BUILT).all()
    assert (table.loss(GRID[~BUILT]) == table.loss(GRID[BUILT]).max()).all()
    assert table.loss.note == "22 of the 64 networks cannot be built"


def test_the_exact_front_holds_only_networks_that_can_be_built(table):
    exact = exact_front(table.space, table.goal("nets"), table.loss)
    assert table.exhaustive
    assert BUILT[exact.genotypes @ [16, 4, 1]].all()
    assert np.isfinite(exact.corner_volume)
    assert exact.share(exact.points) == pytest.approx(1.0)


def test_a_searcher_that_knows_the_costs_proposes_none_that_cannot_be_built(table):
    searcher, evaluate = searcher_named("guided", table.problem(), seed=0), table.evaluator()
    asked = [genotype for _ in range(3) for genotype in told(searcher, evaluate)]
    assert BUILT[np.array(asked) @ [16, 4, 1]].all()


def told(searcher, evaluate):
    asked = searcher.ask(8)
    searcher.tell(flat(evaluate(asked)))
    return asked


def test_an_evaluation_of_one_that_cannot_be_built_has_no_costs(table):
    missing = tuple(GRID[~BUILT][0].tolist())
    (found,) = flat(table.evaluator()([missing]))
    assert set(found.metrics) == {"error"}


def test_a_row_that_lacks_a_figure_is_absent(tmp_path):
    rows = listed(GRID)
    rows[5]["ms"] = ""
    table = load_table(write(tmp_path, rows, TEXT))
    assert table.rows == 63
    assert np.isinf(table.devices["nets"]["latency_ms"](GRID[[5]]))


def test_a_table_without_any_whole_network_is_refused(tmp_path):
    rows = [
        row | {"error": "" if i % 2 else 3} | {"ms": 1 if i % 2 else ""}
        for i, row in enumerate(listed(GRID))
    ]
    with pytest.raises(TableError, match="no network with a loss and all costs"):
        load_table(write(tmp_path, rows, TEXT))


def test_of_several_spellings_the_first_is_searched(tmp_path):
    rows = [row | {"same": row["a"] * 10 + max(row["b"], row["c"])} for row in listed(GRID)]
    table = load_table(write(tmp_path, rows, 'alias = "same"\n' + TEXT))
    assert table.rows == 16
    assert np.isfinite(table.devices["nets"]["latency_ms"](np.array([[1, 0, 2]]))).all()
    assert np.isinf(table.devices["nets"]["latency_ms"](np.array([[1, 2, 0]]))).all()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TEXT.replace("absent", "extra-trees"), 'give missing = "absent"'),
        (TEXT, "alias column 'same' is empty in row 2"),
        (TEXT.replace('"absent"', '"absent"\nalias = "other"', 1), "no column 'other'"),
    ],
)
def test_aliases_that_cannot_be_meant_are_refused(tmp_path, text, problem):
    rows = [row | {"same": "" if i == 1 else i} for i, row in enumerate(listed(GRID))]
    text = text if "alias" in text else 'alias = "same"\n' + text
    with pytest.raises(TableError, match=re.escape(problem)):
        load_table(write(tmp_path, rows, text))


CODES = """
files = ["nets.csv"]
loss = "error"
costs = { latency_ms = "ms" }
[choices]
code = OPTIONS
"""


@pytest.mark.parametrize("options", ["{}", '["0011", "1011", "0101"]'])
def test_texts_of_digits_stay_texts(tmp_path, options):
    rows = [
        {"code": code, "error": i, "ms": i + 1} for i, code in enumerate(("0011", "1011", "0101"))
    ]
    (made,) = load_table(write(tmp_path, rows, CODES.replace("OPTIONS", options))).space.choices
    assert sorted(made.options) == ["0011", "0101", "1011"]


def test_numbers_for_a_column_of_texts_are_refused_with_what_it_holds(tmp_path):
    rows = [{"code": code, "error": 1, "ms": 1} for code in ("0011", "1011")]
    with pytest.raises(TableError, match="choice 'code' is '0011' in row 1"):
        load_table(write(tmp_path, rows, CODES.replace("OPTIONS", "[11, 1011]")))
