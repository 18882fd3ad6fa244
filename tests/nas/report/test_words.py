"""Errors, further metrics and costs are told in the words of the task."""

from __future__ import annotations

import csv
import re
from dataclasses import replace

import pytest

from nas.facts.metric import MetricWords
from nas.report.data import Results
from nas.report.estimates import Comparison, Estimate
from nas.report.html import html
from nas.report.pareto import pareto
from nas.report.selection import in_short, reasons, selections
from nas.report.subnets import Chosen, ExportedFile, FrontPoint, Reference
from nas.report.summary import summary_table, told, write_front_csv
from nas.report.words import Words
from nas.tasks.criteria import Pixels, Regression
from nas.tasks.criterion import Criterion
from tests.nas.report.sample import CLASSES
from tests.nas.report.two import FAST, device, of


def words_of(criterion: Criterion) -> Words:
    further = {name: metric.words for name, metric in criterion.further.items()}
    return Words(criterion.error, criterion.shown, further)


PRESSURE = words_of(Regression(unit="mmHg", digits=1))
PIXELS = words_of(Pixels())
HELD = (0.95, 0.9, 0.8, 0.7, 0.5)  # R², of which larger figures are better


@pytest.mark.parametrize(
    ("words", "name", "loss", "said"),
    [
        (CLASSES, "error", 2.345, "2.35 %"),
        (CLASSES, "error", 0.0, "0.00 %"),
        (CLASSES, "latency_ms", 0.42134, "0.421 ms"),
        (PRESSURE, "error", 41.26, "41.3 mmHg"),
        (PRESSURE, "r2", 0.2, "0.800"),
        (PIXELS, "error", 65.0, "65.00 dB"),
        (PIXELS, "mean_absolute_error", 2.0, "2.00 % of the peak"),
    ],
)
def test_a_figure_has_the_unit_the_digits_and_the_direction_of_its_words(words, name, loss, said):
    assert words.quantity(name, loss) == said


def test_a_spread_has_the_unit_of_its_figure():
    assert CLASSES.estimate("error", Estimate(12.021, 0.2)) == "12.02 ± 0.20 %"
    assert CLASSES.estimate("error", Estimate(12.021)) == "12.02 %"
    assert CLASSES.estimate("error", None) == "—"
    assert PRESSURE.estimate("rmse", Estimate(40.0, 2.5)) == "40.0 ± 2.5 mmHg"
    assert PRESSURE.estimate("r2", Estimate(0.25, 0.01)) == "0.750 ± 0.010"


def test_names_are_told_in_sentences_headings_and_axes():
    assert PRESSURE.named("error") == "validation mean absolute error"
    assert PRESSURE.title("rmse") == "Validation RMSE"
    assert PRESSURE.axis("error") == "Validation mean absolute error (mmHg)"
    assert PRESSURE.axis("r2") == "Validation R²"
    assert [PRESSURE.named("latency_ms"), PRESSURE.axis("latency_ms")] == [
        *("latency", "Latency (ms)")
    ]


def test_a_limit_is_told_in_the_direction_of_its_figure():
    assert PRESSURE.limit("r2", 0.1) == "validation R² ≥ 0.900"
    assert PRESSURE.limit("rmse", 50.0) == "validation RMSE ≤ 50.0 mmHg"
    assert PRESSURE.limit("latency_ms", 2.0) == "latency ≤ 2.00 ms"
    assert PRESSURE.best("r2") == "highest validation R²"
    assert PRESSURE.best("latency_ms") == "lowest latency"


@pytest.mark.parametrize(
    ("unit", "value", "said"),
    [
        *[("%", 1, "1 point"), ("%", 0.5, "0.5 points"), ("% of it", 2, "2 points of it")],
        *[("dB", 0.25, "0.25 dB"), ("", 0.1, "0.1")],
    ],
)
def test_a_difference_of_percentages_is_told_in_points(unit, value, said):
    assert MetricWords("m", unit).difference(value) == said


def regression() -> Results:
    """A run of a regression over one device, whose limits and objectives name further metrics."""
    losses = tuple(1 - figure for figure in HELD)
    costs = {**FAST, "r2": losses}
    made = device(
        "board", 2, costs, limits={"r2": 0.25}, tolerance=0.5, objectives=("latency_ms", "r2")
    )
    assert made.chosen is not None
    file = ExportedFile("onnx", "board.onnx", 43.21, {"rmse": 55.5, "r2": 0.3}, Comparison(), 1e-6)
    front = tuple(
        FrontPoint((row,), error, {name: values[row] for name, values in costs.items()})
        for row, error in enumerate((1.0, 1.0, 1.4))
    )
    pick: Chosen = replace(made.chosen, files=(file,), error=Comparison(None, Estimate(1.4)))
    made = replace(made, chosen=pick, front=front)
    compared = (Reference("largest", 1.2, {"latency_ms": 9.0}),)
    return of(replace(made, references=compared), words=PRESSURE)


def test_the_report_of_a_regression_speaks_of_its_own_figures():
    page = html(regression())
    code = r'<script(?! type="application/json").*?</script>|<style.*?</style>'
    body = re.sub(code, "", page, flags=re.DOTALL)
    for told_there in (
        *("Test mean absolute error", "43.2 mmHg", "Test RMSE", "55.5 mmHg"),
        *("Test R²", "0.700", "validation R² ≥ 0.750", "1.4 mmHg"),
        *("Validation mean absolute error (mmHg)", "Mean absolute error against latency"),
    ):
        assert told_there in body, told_there
    assert not re.search(r"accurac|classes|images|logit|\d % (?!more|less)", body, re.IGNORECASE)


def test_the_terminal_tells_a_regression_in_its_own_words():
    table, *lines = told(regression())
    assert table == summary_table(regression())
    assert table.header[4:6] == ("validation mean absolute error", "test mean absolute error")
    assert table.rows[0][4:6] == ("1.4 mmHg", "43.2 mmHg")
    assert lines == [
        "board: lowest latency of 3 within 0.5 mmHg of the lowest mean absolute error among 3 of 5 "
        "within its limits"
    ]


def test_the_reasons_of_a_choice_have_the_unit_and_the_direction_of_the_task():
    made = selections(regression())["board"]
    text = " ".join(reasons(made))
    assert "3 subnets are at most 0.5 mmHg above the lowest mean absolute error, 1.0 mmHg" in text
    assert (
        "a subnet with mean absolute error 1.0 mmHg, latency 8.00 ms, validation R² 0.900" in text
    )
    assert "point" not in text + in_short(made)


def test_a_limit_on_a_figure_rules_out_what_is_below():
    (target,) = regression().targets
    exact = replace(target, limits={"r2": 0.15}, tolerance=9.0)
    (row,) = [n for n, figure in enumerate(HELD) if figure == 0.9]
    pick = replace(target.chosen, genotype=(row,))
    made = selections(replace(regression(), targets=(replace(exact, chosen=pick),)))["board"]
    assert "The limit on validation R² decided" in " ".join(reasons(made))


def test_an_axis_shows_the_figure_and_the_front_still_falls():
    results = regression()
    (target,) = results.targets
    drawn = pareto(results, target, "r2").figure.to_plotly_json()
    traces = {trace["name"]: trace for trace in drawn["data"]}
    assert [*traces["evaluated subnets"]["x"]] == pytest.approx([*HELD])
    assert [*traces["measured front"]["x"]] == pytest.approx([0.95])
    assert drawn["layout"]["shapes"][0]["x0"] == pytest.approx(0.75)
    assert drawn["layout"]["annotations"][-1]["text"] == "limit 0.750"


def test_a_table_of_the_front_holds_figures_as_readers_know_them(tmp_path):
    (target,) = regression().targets
    write_front_csv(target, tmp_path / "front.csv", words=PRESSURE)
    with (tmp_path / "front.csv").open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert [float(row["r2"]) for row in rows] == pytest.approx(HELD[:3])
    assert [float(row["error"]) for row in rows] == [1.0, 1.0, 1.4]


def test_a_figure_without_words_is_refused():
    with pytest.raises(ValueError, match="figures without words, r2, rmse; the words are of no"):
        replace(regression(), words=CLASSES)


@pytest.mark.parametrize("wrong", [{"name": ""}, {"digits": -1}, {"digits": 10**9}])
def test_words_that_cannot_be_written_are_refused(wrong):
    with pytest.raises(ValueError, match="has a name and 0 to 15 digits"):
        MetricWords(**{"name": "m", **wrong})
