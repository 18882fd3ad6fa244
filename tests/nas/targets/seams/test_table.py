"""The file of seams beside a latency table: what it holds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nas.targets import load_target
from nas.targets.errors import TargetError
from nas.targets.seams.seam import Seam
from nas.targets.seams.table import Added, SeamTable, heading, line, seams_path
from nas.targets.table.csv_file import heading as table_heading

NOTES = {"device": "a box", "runtime": "onnxruntime 1, CPU", "threads": "1", "weights": "unsigned"}
FORK = Seam("Conv2d int8", ("Add int8 of uint8", 'Own(name="a, b") float of float'))
END = Seam("Linear int8", ())
ROWS = {FORK: {64: Added(-0.001, 1e-4, 30), 256: Added(0.003, 0.0, 9)}, END: {10: Added(0, 0, 3)}}


def written(folder: Path, text: str) -> Path:
    path = folder / "this-cpu.seams.csv"
    path.write_text(text)
    return path


def lines() -> str:
    return "".join(line(seam, n, row) for seam, sizes in ROWS.items() for n, row in sizes.items())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    table = SeamTable.read(written(tmp_path, heading(NOTES) + lines()), conditions=NOTES)
    assert table.rows == ROWS
    assert NOTES.items() <= table.notes.items()


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    table = SeamTable.read(written(tmp_path, heading(NOTES) + lines()[:-4]))
    assert table.rows == {FORK: ROWS[FORK]}


def test_sizes_between_the_measured_ones_lie_on_a_line_and_others_are_the_nearest() -> None:
    added = SeamTable(ROWS).added_ms(FORK, np.array([1.0, 64.0, 160.0, 256.0, 9e5]))
    assert added == pytest.approx([-0.001, -0.001, 0.001, 0.003, 0.003])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (heading(NOTES).replace("format: 2", "format: 1"), "has format '1'"),
        (heading(NOTES).replace("added_ms", "latency_ms"), "with writer,readers,elements,added_ms"),
        (heading(NOTES) + lines() + line(END, 10, Added(1, 0, 1)), "line 10: repeats Linear int8"),
        (heading(NOTES) + "a,b,1,nan,0,1\n", "added_ms must be finite"),
        (heading(NOTES) + "a,b,0.5,1,0,1\n", "elements and count are whole numbers"),
        (heading(NOTES) + "a,b,1,1\n", "4 values for 6 columns"),
        (heading(NOTES) + "a,b,x,1,0,1\n", "must be numbers"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        SeamTable.read(written(tmp_path, text))


def test_seams_of_other_conditions_than_those_of_the_table_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, heading({**NOTES, "threads": "2"}))
    with pytest.raises(TargetError, match="with threads = '2', its latency table with '1'"):
        SeamTable.read(path, conditions=NOTES)


def test_a_target_reads_the_seams_beside_its_table(tmp_path: Path) -> None:
    table = tmp_path / "this-cpu.csv"
    table.write_text(table_heading(NOTES))
    assert load_target("this-cpu", table=table).seams is None
    assert seams_path(table) == written(tmp_path, heading(NOTES) + lines())
    found = load_target("this-cpu", table=table).seams
    assert found is not None
    assert found.rows == ROWS


@pytest.mark.parametrize("noted", [{}, {"seams": "none"}])
def test_a_calibration_of_sums_without_seams_is_refused_beside_seams(
    tmp_path: Path, noted: dict[str, str]
) -> None:
    table = tmp_path / "this-cpu.csv"
    table.write_text(table_heading(NOTES))
    error = {"median": 0, "tail": 0, "within_5": 1, "within_10": 1, "networks": 5}
    fitted = {"scale": 1, "corrections": {}, "overhead_us": 0, "error": error, "before": error}
    content = {"format": 2, "calibration": {**fitted, "conditions": noted}}
    (tmp_path / "this-cpu.calibration.json").write_text(json.dumps(content))
    load_target("this-cpu", table=table)
    written(tmp_path, heading(NOTES) + lines())
    with pytest.raises(TargetError, match="was measured with seams = 'none', its table with 'mea"):
        load_target("this-cpu", table=table)
