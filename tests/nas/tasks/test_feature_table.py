"""A table of measured values is an ordinary task; what cannot be a feature is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.tasks import FeaturesTask, TaskError
from nas.tasks.facts import facts_of_task

RNG = np.random.default_rng(0)
HEADER = ["id", "length", "width", "sex", "kind"]
ROWS = [
    [n, f"{3 + n % 3 + 0.25 * (n % 5):g}", f"{0.5 * (n % 4) + 1:g}", "fm"[n % 2], "abc"[n % 3]]
    for n in range(120)
]
OPTIONS: dict[str, object] = {"label": "kind", "categories": ("sex",), "leave_out": ("id",)}


def written(path: Path, rows=ROWS, header=HEADER, sign: str = ",", decimal: str = ".") -> Path:
    lines = [sign.join(str(cell).replace(".", decimal) for cell in row) for row in rows]
    path.write_text("\n".join([sign.join(header), *lines, ""]), encoding="utf-8-sig")
    return path


def loaded(path: Path, **options: object):
    return FeaturesTask(train=path, **{**OPTIONS, **options}).load()


def test_columns_become_features_with_names(tmp_path):
    task = loaded(written(tmp_path / "t.csv"))
    port = task.usage.inputs["features"]
    assert port.names == ("length", "width", "sex=f", "sex=m")
    assert port.low == (3.0, 1.0, 0.0, 0.0)
    assert port.high == (6.0, 2.5, 1.0, 1.0)
    assert task.usage.output.names == ("a", "b", "c")
    assert task.sizes()["test"] == 24
    facts = facts_of_task(task)
    assert facts.notes == ("column 'sex' became 2 features: sex=f, sex=m",)
    assert facts.passed_over == ("column 'id': left out by the recipe",)
    assert facts.splits["train"].origin == "t.csv"


def test_a_table_of_a_spreadsheet_is_the_same_task(tmp_path):
    plain = loaded(written(tmp_path / "t.csv"))
    for name, sign in (("t.csv", ";"), ("t.tsv", "\t")):
        again = loaded(written(tmp_path / name, sign=sign, decimal=","))
        for split, (inputs, targets) in plain.content().items():
            other, same = again.content()[split]
            assert inputs["features"].equal(other["features"])
            assert targets.equal(same)


def test_fractions_are_values_and_a_recipe_decides_on_numbers(tmp_path):
    rows = [[n, 1 + n % 7, n % 5 + 0.5, "f", n % 30 * 2] for n in range(120)]
    path = written(tmp_path / "t.csv", rows)
    task = loaded(path, label="width", leave_out=("id", "sex", "kind"), categories=(), unit="cm")
    assert task.output == (1,)
    assert task.usage.output.unit == "cm"
    with pytest.raises(TaskError, match="set target ="):
        loaded(path, categories=(), leave_out=("id", "sex"))
    numbers = {"categories": (), "leave_out": ("id", "sex"), "target": "regression"}
    assert loaded(path, **numbers).output == (1,)


def test_another_table_may_have_its_columns_in_another_order(tmp_path):
    train = written(tmp_path / "train.csv")
    turned = written(tmp_path / "test.csv", [row[::-1] for row in ROWS], HEADER[::-1])
    task = loaded(train, test=turned)
    test = dict(zip(("inputs", "targets"), task.content()["test"], strict=True))
    assert len(test["targets"]) == 120
    port = task.usage.inputs["features"]
    raw = port.scaling.undone(test["inputs"]["features"].numpy())
    assert raw[:, 0] == pytest.approx([float(row[1]) for row in ROWS], abs=1e-5)


def test_a_column_that_numbers_the_rows_is_told(tmp_path):
    task = loaded(written(tmp_path / "t.csv"), leave_out=())
    assert any("column 'id' numbers the rows" in words for words in facts_of_task(task).warnings)


def changed(row: int, column: int, value: object) -> list[list[object]]:
    rows = [[*each] for each in ROWS]
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "options", "fault"),
    [
        (ROWS, {"label": "species"}, "no columns 'species'; its columns are 'id', 'length'"),
        (ROWS, {"leave_out": ("ID",)}, "no columns 'ID'"),
        (
            ROWS,
            {"categories": ()},
            r"no numbers in the columns 'sex' in 120 lines, first 'f' in li",
        ),
        (changed(4, 1, ""), {}, "lacks values of the columns 'length' in 1 lines, first 6"),
        (changed(4, 1, "NaN"), {}, "no numbers in the columns 'length' in 1 lines, first 'NaN'"),
        (changed(4, 1, "1e99"), {}, "beyond"),
        (changed(4, 4, ""), {}, "lacks values of the columns 'kind'"),
        ([[*ROWS[0], 1], *ROWS], {}, "line 2 of .* has 6 values, but there are 5 columns"),
        (ROWS, {"categories": (), "leave_out": ("id", "length", "width", "sex")}, "shape .120, 0."),
        ([], {}, "no row below"),
    ],
)
def test_what_is_no_table_of_features_is_named(tmp_path, rows, options, fault):
    with pytest.raises(TaskError, match=fault):
        loaded(written(tmp_path / "t.csv", rows), **options)


def test_all_columns_of_text_are_named_at_once(tmp_path):
    with pytest.raises(TaskError, match=r"'sex' in 120 lines.*; 'kind' in 120 lines"):
        loaded(written(tmp_path / "t.csv"), label="length", categories=())


def test_a_name_that_no_training_sample_has_is_refused(tmp_path):
    test = written(tmp_path / "test.csv", changed(0, 3, "x"))
    with pytest.raises(TaskError, match="the name 'x' in column 'sex', of which there is no train"):
        loaded(written(tmp_path / "train.csv"), test=test)
    lacking = written(tmp_path / "short.csv", [row[:3] for row in ROWS], HEADER[:3])
    with pytest.raises(TaskError, match=r"short\.csv has no columns 'sex', 'kind', which the"):
        loaded(written(tmp_path / "train.csv"), test=lacking)


def test_columns_of_one_name_or_none_are_refused(tmp_path):
    twice = written(tmp_path / "t.csv", header=["id", "length", "length", "sex", "kind"])
    with pytest.raises(TaskError, match="several columns 'length'"):
        loaded(twice)
    nameless = written(tmp_path / "t.csv", header=["id", "", "width", "sex", "kind"])
    with pytest.raises(TaskError, match="a nameless one"):
        loaded(nameless)
