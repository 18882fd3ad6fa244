import csv
import math
import re
from dataclasses import replace

import pytest

from nas.report.data import Provenance, TargetResult
from nas.report.estimates import Comparison, Estimate, LatencyBand
from nas.report.html import html
from nas.report.subnets import Chosen, CostCheck, FrontPoint, Reference
from nas.report.summary import summary_table, told, write_front_csv
from nas.report.targets import front_table
from nas.terminal.display import TerminalTable, say
from search_spaces.formats import Int
from search_spaces.quant import Quant
from search_spaces.serialize import encode
from tests.nas.report.sample import CLASSES
from tests.nas.report.two import FAST, SLOW, device, of

COLUMNS = ["rank", "chosen", "error", "latency_ms", "bitops", "macs", "model_bytes"]
LATENCIES = ["latency_std_ms", "measured_latency_ms", "measured_latency_std_ms"]


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.reader(file)]


def test_columns_are_stable_and_the_chosen_one_is_marked(results, tmp_path):
    target = results.targets[0]
    write_front_csv(target, tmp_path / "front.csv", words=CLASSES)
    header, *rows = read(tmp_path / "front.csv")
    assert header == [*COLUMNS, *LATENCIES, "genotype", "description"]
    assert [float(row[2]) for row in rows] == [point.error for point in target.front]
    assert [float(row[3]) for row in rows] == [p.costs["latency_ms"] for p in target.front]
    assert [int(row[0]) for row in rows] == [*range(1, len(target.front) + 1)]
    chosen = [row for row in rows if row[1] == "yes"]
    assert [row[-2] for row in chosen] == [" ".join(map(str, target.chosen.genotype))]


def front_of_three(**known) -> TargetResult:
    """Subnets of 1, 2 and 3 ms, the second of which was run as a whole."""
    front = tuple(FrontPoint((n,), 9.0 - n, {"latency_ms": float(n)}) for n in (1, 2, 3))
    checks = (CostCheck((2,), 2.0, Estimate(2.25, 0.5)),)
    cpu = Provenance("measured")
    return TargetResult("t", cpu, ("latency_ms",), front=front, cost_checks=checks, **known)


def latency_cells(target, tmp_path):
    write_front_csv(target, tmp_path / "front.csv", words=CLASSES)
    with (tmp_path / "front.csv").open() as file:
        return [[row.get(name) for name in LATENCIES] for row in csv.DictReader(file)]


def test_a_measured_latency_stands_beside_its_subnet_alone(tmp_path):
    cells = latency_cells(front_of_three(), tmp_path)
    assert cells == [[None, "", ""], [None, "2.25", "0.5"], [None, "", ""]]


def test_the_chosen_subnets_measured_latency_and_the_band_are_told(tmp_path):
    timed = Comparison(Estimate(3.0), Estimate(3.5))
    pick = Chosen((3,), Comparison(), {"latency_ms": 3.0}, latency_ms=timed)
    band = LatencyBand(0.01, tail=0.1645, within_5=0.5, within_10=0.8, networks=9)
    cells = latency_cells(front_of_three(chosen=pick, latency_band=band), tmp_path)
    assert [float(sure) for sure, *_ in cells] == pytest.approx([0.1, 0.2, 0.3])
    assert [rest for _, *rest in cells] == [["", ""], ["2.25", "0.5"], ["3.5", ""]]


def test_nothing_measured_adds_no_column(tmp_path):
    write_front_csv(
        replace(front_of_three(), cost_checks=()), tmp_path / "front.csv", words=CLASSES
    )
    assert not {*LATENCIES} & {*read(tmp_path / "front.csv")[0]}


def test_the_reports_table_shows_predicted_beside_measured():
    band = LatencyBand(0.01, tail=0.1645, within_5=0.5, within_10=0.8, networks=9)
    shown = front_table(CLASSES, front_of_three(latency_band=band))
    second = re.sub("<[^>]+>", "|", shown.split("<tr>")[3])
    assert "Latency, measured" in shown
    assert re.sub(r"\|+", "|", second).endswith("|2.25 ms| ± 0.50 ms|2.00 ms| ± 0.20 ms|")
    assert "Latency, measured" not in front_table(
        CLASSES, replace(front_of_three(), cost_checks=())
    )


def test_a_precision_is_written_by_its_bits(tmp_path):
    quant = encode(Quant(Int(4)))
    point = FrontPoint((0, 1), 2.0, {"macs": 7.0}, {"depth": 3, "w.bits": quant, "a.bits": None})
    target = TargetResult("t", Provenance("analytical"), ("macs",), front=(point,))
    write_front_csv(target, tmp_path / "front.csv", words=CLASSES)
    assert read(tmp_path / "front.csv")[1] == [
        *("1", "no", "2.0", "7.0", "0 1", "depth=3; w.bits=4; a.bits=float")
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r\n@"])
def test_no_text_is_run_as_a_formula(tmp_path, start):
    evil = f"{start}HYPERLINK(1)"
    point = FrontPoint((0,), -1.5, {evil: 7.0}, {evil: 1})
    target = TargetResult("t", Provenance("analytical"), (evil,), front=(point,))
    write_front_csv(target, tmp_path / "front.csv", words=CLASSES)
    header, row = read(tmp_path / "front.csv")
    assert header[3] == f"'{evil.strip()}"
    assert row[-1] == f"'{evil.strip()}=1"
    assert row[2] == "-1.5"  # a number stays a number


def test_an_empty_front_is_a_header(results, tmp_path):
    target = replace(results.targets[0], front=(), chosen=None)
    write_front_csv(target, tmp_path / "front.csv", words=CLASSES)
    header, *rows = read(tmp_path / "front.csv")
    assert header == ["rank", "chosen", "error", "latency_ms", "genotype", "description"]
    assert rows == []


@pytest.fixture
def shown(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")

    def printed(results):
        say(summary_table(results))
        return capsys.readouterr().out

    return printed


def test_the_console_gets_one_line_per_target(results, shown):
    lines = shown(results).splitlines()
    for target in results.targets:
        (line,) = [line for line in lines if target.name in line]
        assert target.provenance.origin in line
        assert f"{100 - target.chosen.file.test_error:.2f} %" in line


def test_the_console_reads_no_markup_in_names_and_tells_what_is_missing(results, shown):
    target = replace(results.targets[0], name="[red]cpu[/red]", chosen=None)
    text = shown(replace(results, targets=(target,)))
    assert "[red]cpu[/red]" in text
    assert "none chosen" in text


def test_after_the_table_every_device_is_told_what_it_got_and_why():
    limited = {"limits": {"latency_ms": 50.0}}
    results = of(device("fast", 1, FAST, layers=2), device("slow", 2, SLOW, layers=2, **limited))
    table, *rest = told(results)
    assert table == summary_table(results)
    assert rest == [
        "fast: 2 layers of 8 channels, kernel 3, weights of 8 bits\n"
        "lowest latency of 2 that share the lowest error",
        "slow: 2 layers of 12 channels, kernel 3, weights of 8 bits\n"
        "lowest error among 3 of 5 within its limits; latency decided",
    ]


def test_policies_that_a_device_cannot_take_are_shown_with_the_reason():
    small, large = {"latency_ms": 2.0, "model_bytes": 9.0}, {"latency_ms": 1.0, "model_bytes": 99.0}
    references = (
        Reference("uniform int4", 3.0, small, objection=""),
        Reference("uniform int8", 1.0, large, objection="Model size 99 B, at most 50 B"),
        *(Reference(f"uniform {n}", 1.0, {"latency_ms": math.inf}, objection="no") for n in "abc"),
    )
    target = device("fast", 1, FAST, references=references)
    _, shown, *_ = told(of(target))
    assert isinstance(shown, TerminalTable)
    assert [(row[0], row[3]) for row in shown.rows[:2]] == [
        ("int8", "Model size 99 B, at most 50 B"),
        ("int4", ""),
    ]
    assert shown.rows[-1][1:] == ("cannot run", "1.00 %", "no")
    many = tuple(replace(references[0], name=f"uniform {n}") for n in range(15))
    _, shown, *_ = told(of(replace(target, references=many)))
    assert len(shown.rows) == 12
    assert shown.title.endswith("uniform policies, 3 more in the report")
    _, line, *_ = told(of(replace(target, references=(Reference("largest", 1.0, small),))))
    assert isinstance(line, str)  # networks for comparison that are no candidates


def test_the_page_tells_what_a_device_has_against_a_policy():
    costs = {"latency_ms": 1.0, "model_bytes": 99.0}
    references = (
        Reference("uniform int8", 1.0, costs, objection="Model size 99 B, at most 50 B"),
        Reference("uniform int4", 2.0, {**costs, "latency_ms": math.inf}, objection="refused"),
        Reference("uniform int2", 3.0, costs, objection=""),
    )
    results = of(device("fast", 1, FAST, references=references))
    page = html(results)
    assert "uniform int8<small> no candidate: Model size 99 B, at most 50 B</small>" in page
    assert "uniform int4<small> no candidate: refused</small>" in page
    assert "cannot run" in page
    assert "no candidate: uniform int8" in page  # the legend of the figure
    assert "no candidate: uniform int2" not in page


def test_without_layers_only_the_reason_is_told():
    _, line = told(of(device("fast", 1, FAST)))
    assert line == "fast: lowest latency of 2 that share the lowest error"


def test_devices_that_got_the_same_subnet_are_told_last():
    *_, last = told(of(device("a", 1, FAST), device("b", 1, FAST)))
    assert last == "a and b got the same subnet."
