"""A latency table in every form and unit in which people bring one: read, or told to look wrong."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from nas.targets import HardwareTarget, load_target
from nas.targets.coverage import findings, suspicions
from nas.targets.plausible import doubts, timed
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.targets.transfer.doubts import measured_doubts
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from tests.nas.runs import nas

NOTES = {
    "device": "a board, small",
    "runtime": "onnxruntime",
    "threads": "1",
    "weights": "unsigned",
    "date": "today",
}
TARGET = """name = "mine"
device = "a board"
runtime = "onnxruntime"
provenance = "measured"
otherwise = "container"
table = "v.csv"
supports = [
    { operators = ["Conv2d", "Linear"], formats = ["int8xint8", "floatxfloat"] },
    { operators = ["Add", "GlobalPool", "Activation", "BatchNorm2d"], formats = ["int8", "float"] },
]
"""


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    """A table of a device that computes 20 GMAC/s and needs a microsecond to start a kernel."""
    space = residual(
        inputs=(Input("image", (3, 16, 16)),),
        output=(10,),
        widths=((8, 16), (16, 32)),
        depths=((1, 2),),
        kernels=(3, 5),
        policy=Policy(weight_bits=(8, None), activation_bits=(8,)),
    )
    kernels = load_target("this-cpu").natively(space)
    rows = {
        KernelKey.of(kernel, numerics): Row(
            (1e-3 + kernel.macs / 20e6) * (1 + 0.01 * (place % 7)), 1e-5, 20
        )
        for place, (kernel, numerics) in enumerate(kernels)
    }
    assert len(rows) > 50
    return LatencyTable(rows, NOTES)


def scaled(table: LatencyTable, factor: float, *, share: float = 1.0) -> LatencyTable:
    """The table with the first rows in another unit."""
    count = round(share * len(table.rows))
    rows = {
        key: dataclasses.replace(row, latency_ms=row.latency_ms * factor) if n < count else row
        for n, (key, row) in enumerate(table.rows.items())
    }
    return LatencyTable(rows, table.notes)


def target(table: LatencyTable, *, provenance: str = "measured") -> HardwareTarget:
    return dataclasses.replace(
        load_target("this-cpu"), model=table, notes=table.notes, provenance=provenance
    )


def written(table: LatencyTable, folder: Path) -> list[str]:
    table.write(folder / "v.csv")
    return (folder / "v.csv").read_text().splitlines()


# The forms of `table_variants.py` among the inputs of a newcomer, of a table with columns of today.
FORMS = {
    "as it is": lambda text: text,
    "BOM": lambda text: "\ufeff" + text,
    "BOM, no notes": lambda text: "\ufeff" + text[text.index("operator") :],
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "semicolons": lambda text: as_saved(text, ";"),
    "semicolons, decimal commas": lambda text: as_saved(text, ";", decimal=","),
    "tabs": lambda text: as_saved(text, "\t"),
    "sep= line": lambda text: "sep=,\n" + text[text.index("operator") :],
    "notes padded with commas": lambda text: text.replace("\n", "," * 9 + "\n", len(NOTES)),
    "space behind commas": lambda text: as_saved(text, ", "),
    "blank lines at the end": lambda text: text + "\n\n",
    "row of commas": lambda text: text + "," * 9 + "\n",
}


def as_saved(text: str, sign: str, *, decimal: str = ".") -> str:
    """The text as a spreadsheet saves it with another sign between cells."""
    *notes, header = text[: text.index("\nConv")].splitlines()
    lines = []
    for cells in csv.reader(text[text.index("\nConv") + 1 :].splitlines()):
        figures = [cell.replace(".", decimal) for cell in cells[7:9]]
        quoted = [
            f'"{cell}"' if "," in cell else cell for cell in (*cells[:7], *figures, *cells[9:])
        ]
        lines.append(sign.join(quoted))
    return "\n".join([*notes, header.replace(",", sign), *lines, ""])


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_the_same_in_every_form(table, tmp_path, form):
    lines = written(table, tmp_path)
    text = FORMS[form]("\n".join([*lines, ""]))
    (tmp_path / "v.csv").write_text(text, encoding="utf-8", newline="")
    read = LatencyTable.read(tmp_path / "v.csv")
    assert read.rows == table.rows
    assert read.notes == ({} if form in ("BOM, no notes", "sep= line") else NOTES)
    assert suspicions(target(read)) == []


UNITS = {
    "us": (
        1e3,
        "slower than any processor that runs onnxruntime; are they milliseconds, not micro",
    ),
    "s": (1e-3, "are below 10 ns, less than any kernel takes"),
    "ns": (1e6, "are of no known device"),
}


@pytest.mark.parametrize("unit", UNITS)
def test_figures_in_another_unit_are_told(table, unit):
    factor, said = UNITS[unit]
    assert any(said in words for words in findings(target(scaled(table, factor))))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("factor", [1e3, 1e-3])
def test_some_rows_in_another_unit_are_told(table, share, factor):
    (said,) = [
        words
        for words in findings(target(scaled(table, factor, share=share)))
        if "slower than a row of a like kernel" in words
    ]
    assert "is the unit the same everywhere" in said


def test_one_disturbed_kernel_is_told(table):
    key = [*table.rows][7]
    rows = {**table.rows, key: dataclasses.replace(table.rows[key], latency_ms=3.0)}
    (said,) = suspicions(target(LatencyTable(rows, NOTES)))
    assert said.startswith(f"1 of {len(rows)} rows are over 60 times slower")
    assert str(key) in said


def test_all_zero_is_told(table):
    said = findings(target(scaled(table, 0)))
    assert any("take no time at all" in words for words in said)


def test_simulated_figures_may_be_shorter_than_a_clock_tells(table):
    assert suspicions(target(scaled(table, 1e-3), provenance="simulated")) == []


def test_a_row_whose_shapes_fit_no_operator_is_passed_over():
    key = KernelKey("Linear", "out=10", "8+8+8", "", "int8", "int8")
    odd = KernelKey("Conv2d", "out=8,kernel=3", "8", "", "int8", "int8")
    assert [each.macs for each in timed({key: Row(1.0, 0.0, 1), odd: Row(1.0, 0.0, 1)})] == [80]
    assert doubts([]) == []


@pytest.fixture
def mine(table, tmp_path: Path) -> Path:
    scaled(table, 1e3, share=0.5).write(tmp_path / "v.csv")
    (tmp_path / "mine.toml").write_text(TARGET)
    return tmp_path / "mine.toml"


def test_the_check_tells_what_looks_wrong_and_how_fast_kernels_are(mine):
    done = nas("targets", "check", str(mine))
    assert done.code == 0, done.err
    assert "look at this: " in done.out
    assert "is the unit the same everywhere" in " ".join(done.out.split())
    assert "GMAC/s, the slowest and the fastest kernel" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("move", "named"),
    [
        (lambda folder: (folder / "v.csv").rename(folder / "V.CSV"), "'V.CSV' (upper and lower"),
        (lambda folder: (folder / "v.csv").unlink(), "v.csv; write it, or correct its name"),
    ],
)
def test_a_table_that_is_not_there_is_an_error(mine, move, named):
    move(mine.parent)
    done = nas("targets", "check", str(mine))
    assert done.code == 1
    assert "0 rows" not in done.out
    said = " ".join(done.err.split())
    assert "there is no file" in said
    assert named in said


def test_measured_networks_are_not_compared_with_a_device_that_takes_no_time():
    measured, known = np.linspace(1, 2, 10), np.zeros((10, 1))
    assert [*measured_doubts(measured, known, names=["still"])] == []
    stalled = np.where(np.arange(10) == 3, 100.0, measured)
    (said,) = measured_doubts(stalled, measured[:, None], names=["alike"])
    assert said.startswith("measured network 4 took 100 ms, 75 times longer than alike")
