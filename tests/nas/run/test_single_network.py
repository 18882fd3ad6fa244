"""A space of one network: a reference run, which trains, exports and reports like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.report.store import load
from tests.nas.runs import TINY, evaluations, nas, settings, succeeded

SINGLE = TINY
for several, one in (
    ("[[4, 6], [6, 8]]", "[[4], [6]]"),
    ("[[1, 2]]", "[[1]]"),
    ("weight_bits = [2, 4, 8]", "weight_bits = [8]"),
    ("activation_bits = [4, 8]", "activation_bits = [8]"),
):
    assert several in SINGLE
    SINGLE = SINGLE.replace(several, one)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SINGLE)
    return path


@pytest.mark.parametrize(
    "overrides",
    [
        ("search.searcher=guided",),
        ("search.searcher=guided", "search.early_stop=true", "search.asynchronous=true"),
        ("search.searcher=differentiable", "search.proxies=0"),
        ("search.searcher=linas", "search.validation_samples=20", "search.confirm_samples=10"),
    ],
    ids=lambda given: given[0].split("=")[1],
)
def test_a_space_of_one_network_is_run_to_its_report(
    recipe: Path, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    folder = tmp_path / "run"
    outcome = nas("run", recipe, *settings(*overrides), "--out", folder)
    succeeded(outcome)
    assert "Every network of the space is evaluated, 1 " in outcome.out
    results = load(folder / "results.json")
    assert [e.genotype for e in evaluations(folder)] == [()]
    assert results.budget == len(results.evaluated) == 1
    for target in results.targets:
        assert len(target.front) == 1
        assert target.chosen is not None
        assert target.chosen.files
    html = (folder / "report.html").read_text()
    assert "unfinished" not in html


def test_a_finished_reference_run_goes_on_and_serves_another_device(
    recipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    succeeded(nas("run", recipe, "--out", folder))
    succeeded(nas("run", recipe, "--out", folder, "--resume"))
    other = tmp_path / "other"
    succeeded(
        nas(
            *("search", "--from", folder, "--target", "bit-serial", "--evaluations", "5"),
            *("--out", other),
        )
    )
    assert len(evaluations(other)) == 1
