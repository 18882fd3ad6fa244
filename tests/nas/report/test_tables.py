import csv
from dataclasses import replace

import pytest
from rich.console import Console

from nas.report.data import FrontPoint, Provenance, TargetResult
from nas.report.tables import summary_table, write_front_csv

COLUMNS = ["rank", "chosen", "error", "latency_ms", "bitops", "macs", "model_bytes"]


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.reader(file)]


def test_columns_are_stable_and_the_chosen_one_is_marked(results, tmp_path):
    target = results.targets[0]
    write_front_csv(target, tmp_path / "front.csv")
    header, *rows = read(tmp_path / "front.csv")
    assert header == [*COLUMNS, "genotype", "description"]
    assert [float(row[2]) for row in rows] == [point.error for point in target.front]
    assert [float(row[3]) for row in rows] == [p.costs["latency_ms"] for p in target.front]
    assert [int(row[0]) for row in rows] == [*range(1, len(target.front) + 1)]
    chosen = [row for row in rows if row[1] == "yes"]
    assert [row[7] for row in chosen] == [" ".join(map(str, target.chosen.genotype))]


def test_a_precision_is_written_by_its_bits(tmp_path):
    quant = {"$spec": "Quant", "bits": 4, "symmetric": True}
    point = FrontPoint((0, 1), 2.0, {"macs": 7.0}, {"depth": 3, "w.bits": quant, "a.bits": None})
    target = TargetResult("t", Provenance("analytical"), ("macs",), front=(point,))
    write_front_csv(target, tmp_path / "front.csv")
    assert read(tmp_path / "front.csv")[1] == [
        *("1", "no", "2.0", "7.0", "0 1", "depth=3; w.bits=4; a.bits=float")
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r\n@"])
def test_no_text_is_run_as_a_formula(tmp_path, start):
    evil = f"{start}HYPERLINK(1)"
    point = FrontPoint((0,), -1.5, {evil: 7.0}, {evil: 1})
    target = TargetResult("t", Provenance("analytical"), (evil,), front=(point,))
    write_front_csv(target, tmp_path / "front.csv")
    header, row = read(tmp_path / "front.csv")
    assert header[3] == f"'{evil.strip()}"
    assert row[-1] == f"'{evil.strip()}=1"
    assert row[2] == "-1.5"  # a number stays a number


def test_an_empty_front_is_a_header(results, tmp_path):
    target = replace(results.targets[0], front=(), chosen=None)
    write_front_csv(target, tmp_path / "front.csv")
    header, *rows = read(tmp_path / "front.csv")
    assert header == ["rank", "chosen", "error", "latency_ms", "genotype", "description"]
    assert rows == []


def shown(results):
    console = Console(width=140, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(summary_table(results))
    return captured.get()


def test_the_console_gets_one_line_per_target(results):
    lines = shown(results).splitlines()
    for target in results.targets:
        (line,) = [line for line in lines if target.name in line]
        assert target.provenance.origin in line
        assert f"{target.chosen.file.test_accuracy:.2f} %" in line


def test_the_console_reads_no_markup_in_names_and_tells_what_is_missing(results):
    target = replace(results.targets[0], name="[red]cpu[/red]", chosen=None)
    text = shown(replace(results, targets=(target,)))
    assert "[red]cpu[/red]" in text
    assert "none chosen" in text
