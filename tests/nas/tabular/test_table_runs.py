"""`nas run` on a table: archive, fronts and report as of any run, and nothing trained."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
from pathlib import Path

import pytest

from nas.report.store import load
from nas.report.text import quantity
from nas.run.predictor_bench import networks_of
from nas.tabular import load_table
from tests.nas.runs import assert_refused, evaluations, nas, settings, succeeded
from tests.nas.tabular.made import EXAMPLE, Row, write

RECIPE = EXAMPLE.parents[2] / "runs" / "table.toml"


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(EXAMPLE.parent, tmp_path_factory.mktemp("t") / "t")) / "nets.toml"


def arguments(description: Path, *overrides: str) -> list[str]:
    table = f"table.description={description}"
    return [str(RECIPE), *settings(table, *overrides)]


@pytest.fixture(scope="module")
def folder(description: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    succeeded(nas("run", *arguments(description), "--out", folder))
    return folder


def test_it_leaves_what_a_run_leaves_and_no_supernet(folder: Path) -> None:
    assert {path.name for path in folder.iterdir() if path.name != ".lock"} == {
        *("recipe.json", "space.json", "archive.journal", "results.json", "report.html"),
        *("front-one_image.csv", "front-many_images.csv"),
    }


def test_its_fronts_are_those_of_what_was_looked_up(folder: Path) -> None:
    table, known = load_table(EXAMPLE), evaluations(folder, study="table")
    assert len(known) == 20
    for target in load(folder / "results.json").targets:
        rows = list(csv.DictReader((folder / f"front-{target.name}.csv").read_text().splitlines()))
        assert len(rows) == len(target.front) > 1
        assert [r["chosen"] for r in rows].count("yes") == 1
        for point in target.front:
            ((one,),) = table.evaluator()([point.genotype])
            assert one.metrics["error"] == point.error
            for name, cost in point.costs.items():
                assert one.metrics[f"{target.name}.{name}"] == cost


def test_predictors_are_judged_on_its_evaluations(folder: Path) -> None:
    found, table = networks_of(str(folder)), load_table(EXAMPLE)
    assert found.losses.tolist() == table.loss(found.rows).tolist()
    for device, costs in table.devices.items():
        for name, cost in costs.items():
            assert found.costs[f"{device}.{name}"].tolist() == cost(found.rows).tolist()


def test_limits_hold_in_what_is_returned(folder: Path) -> None:
    _, limited = load(folder / "results.json").targets
    assert limited.limits == {"weights": 2000}
    assert all(point.costs["weights"] <= 2000 for point in limited.front)
    assert limited.chosen is not None
    assert limited.chosen.costs["weights"] <= 2000


def test_the_report_tells_a_table_from_a_supernet(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    for said in ("Looked up in", "nothing was trained", "of the exact front", "40 rows"):
        assert said in page, said
    for said in ("The devices compared", "Subnet of one_image", "Of 20 evaluated subnets"):
        assert said in page, said
    for unsaid in ("unfinished", "Supernet trained in", "recalibrated"):
        assert unsaid not in page, unsaid


def test_the_screen_shows_units_and_the_share_of_the_exact_front(
    description: Path, tmp_path: Path
) -> None:
    outcome = nas("run", *arguments(description, "search.budget=10"), "--out", tmp_path / "run")
    succeeded(outcome)
    target, other = load(tmp_path / "run" / "results.json").targets
    shares = [each.exact_share for each in (target, other)]
    assert None not in shares
    assert re.search(
        r"10 of 10, best validation error [\d.]+ %, at least [\d.]+% of each", outcome.out
    )
    assert f"at least {min(shares):.1%} of each exact front" in outcome.out
    assert "of exact front" in outcome.out
    assert target.chosen is not None
    assert f"{quantity('latency_ms', target.chosen.costs['latency_ms'])} " in outcome.out
    assert "reference point: validation error" in " ".join(target.notes)


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(
    folder: Path, description: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    succeeded(nas("run", *arguments(description, "search.budget=10"), "--out", out))
    assert_refused(nas("run", *arguments(description), "--out", out), "--resume")
    succeeded(nas("run", *arguments(description), "--out", out, "--resume"))
    assert evaluations(out, study="table") == evaluations(folder, study="table")


def test_a_table_that_was_changed_is_not_gone_on_with(folder: Path, description: Path) -> None:
    held = (description.parent / "nets.csv").read_text()
    try:
        (description.parent / "nets.csv").write_text(held.replace(",0.", ",0.0"))
        outcome = nas("run", *arguments(description), "--out", folder, "--resume")
    finally:
        (description.parent / "nets.csv").write_text(held)
    assert_refused(outcome, "table 'nets' is another one", "20 of 20", "--out")


def test_every_device_is_searched_where_none_is_named(description: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "all.toml"
    recipe.write_text(f'table = {{ description = "{description}" }}\nsearch = {{ budget = 5 }}\n')
    succeeded(nas("run", recipe))
    results = load(tmp_path / "all" / "results.json")
    assert [target.name for target in results.targets] == ["one_image", "many_images"]
    assert [target.objectives for target in results.targets] == [("latency_ms",)] * 2


def test_it_can_be_shown_exported_and_reported_again(folder: Path, tmp_path: Path) -> None:
    outcome = nas("spaces", RECIPE, *settings(f"table.description={EXAMPLE}"))
    assert outcome.code == 0
    assert "weights ≤ 2000" in outcome.out
    succeeded(nas("archive", "export", folder, tmp_path / "all.csv"))
    header = (tmp_path / "all.csv").read_text().splitlines()[0].split(",")
    assert {"layers", "error", "one_image.latency_ms"} <= set(header)
    succeeded(nas("report", folder))


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("targets.0.name=watch", ("no device 'watch'", "one_image, many_images")),
        ("targets.0.objective=energy_mj", ("no cost energy_mj", "latency_ms, weights")),
        ("targets.1.name=one_image", ("distinct names",)),
        ("targets.1.limits={weights = 1}", ("limits weights to 1", "below 310")),
        ("table.description=nasbench101", ("no table 'nasbench101'",)),
        ("search.searcher=best", ("there is no searcher 'best'",)),
        ("search.proxies=4", ("search.proxies: unknown key",)),
        ("search.budget=0", ("search.budget = 0",)),
        ("training.float_epochs=3", ("training: unknown key",)),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(
    description: Path, tmp_path: Path, override: str, parts: tuple[str, ...]
) -> None:
    outcome = nas("run", *arguments(description, override), "--out", tmp_path / "run")
    assert_refused(outcome, *parts)
    assert not (tmp_path / "run" / "archive.journal").exists()


@pytest.mark.parametrize("command", ["train", "search", "export", "profile"])
def test_steps_that_a_table_does_not_have_say_so(command: str, tmp_path: Path) -> None:
    outcome = nas(command, RECIPE, "--out", tmp_path / "run")
    assert_refused(outcome, "searches a table", "nas run")


def test_a_folder_of_another_kind_of_run_is_refused(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    content = json.loads((other / "recipe.json").read_text())
    content["table"] = {"description": "nasbench201", "data": None}
    (other / "recipe.json").write_text(json.dumps(content))
    outcome = nas("run", RECIPE, "--out", other, "--resume")
    assert_refused(outcome, "another table")


def test_a_budget_beyond_the_table_evaluates_all_of_it_and_says_so(
    description: Path, tmp_path: Path
) -> None:
    outcome = nas("run", *arguments(description, "search.budget=100"), "--out", tmp_path / "run")
    succeeded(outcome)
    size = load_table(EXAMPLE).space.size
    assert len(evaluations(tmp_path / "run", study="table")) == size < 100
    assert "Every network of the space is evaluated" in outcome.out
    more = arguments(description, "search.budget=200")
    succeeded(nas("run", *more, "--out", tmp_path / "run", "--resume"))


@pytest.mark.parametrize("searcher", ["guided", "nsga2", "policy-gradient"])
@pytest.mark.parametrize("sizes", [(1,), (1, 1), (1, 2)])
def test_a_table_of_one_or_two_networks_is_searched_and_reported(
    tmp_path: Path, searcher: str, sizes: tuple[int, ...]
) -> None:
    names = [f"choice{number}" for number in range(len(sizes))]
    rows: list[Row] = [
        {**dict(zip(names, picks, strict=True)), "accuracy": 70.0, "ms": 2.0}  # equal in everything
        for picks in itertools.product(*map(range, sizes))
    ]
    choices = "\n".join(f"{name} = {{}}" for name in names)
    text = f"""
files = ["nets.csv"]
[choices]
{choices}
[loss]
column = "accuracy"
reading = "accuracy"
[devices.phone]
ms = "ms"
"""
    overrides = settings(
        f"table.description={write(tmp_path, rows, text)}",
        "targets=[{name='phone'}]",
        f"search.searcher={searcher}",
    )
    succeeded(nas("run", RECIPE, *overrides, "--out", tmp_path / "run"))
    results = load(tmp_path / "run" / "results.json")
    (phone,) = results.targets
    assert len(results.evaluated) == results.budget == len(rows)
    assert [point.error for point in phone.front] == [30.0]
    assert phone.chosen is not None
    assert phone.chosen.costs == {"ms": 2.0}
