"""The commands that need no whole run, and what is told where one is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import webbrowser
from importlib.metadata import version
from pathlib import Path

import pytest

from nas.cli.main import app
from nas.targets import available
from nas.targets.correction.fit import LEAST_NETWORKS
from nas.targets.target_files import DEVICES
from tests.nas.runs import assert_refused, nas, settings, succeeded

ROOT = Path(__file__).parents[3]


def test_targets_lists_every_shipped_one():
    given = nas("targets")
    succeeded(given)
    assert all(name in given.out for name in available())
    assert "measured" in given.out
    assert "analytical" in given.out


def test_spaces_shows_size_costs_and_feasibility_and_writes_nothing(recipe, tmp_path):
    limit = settings("targets.0.limits.model_bytes=700")
    given = nas("spaces", recipe, "--out", tmp_path / "run", *limit)
    succeeded(given)
    assert "5 choices, 48 distinct networks" in given.out
    assert all(name in given.out for name in ("macs", "bitops", "model_bytes"))
    assert "model_bytes ≤ 700" in given.out
    assert "100%" in given.out
    assert "The run takes about " in given.out
    assert not (tmp_path / "run").exists()


def limited(tmp_path: Path, **memory: float) -> str:
    """The path of a target file like edge-npu's whose memory is limited."""
    path = tmp_path / "small.toml"
    section = "".join(f"{key} = {value}\n" for key, value in memory.items())
    path.write_text((DEVICES / "edge-npu.toml").read_text() + f"\n[memory]\n{section}")
    return str(path)


@pytest.mark.parametrize(("held", "allowed"), [(10, 20), (20, 10)])
def test_the_smaller_limit_of_device_and_recipe_counts(recipe, tmp_path, held, allowed):
    name = limited(tmp_path, total_bytes=held)
    asked = f"targets.0.limits.memory_bytes={allowed}"
    given = nas("spaces", recipe, *settings(f"targets.0.name={name}", asked))
    both = f"memory_bytes to 10 (the device has {held} bytes of memory, {allowed} is asked for)"
    assert_refused(given, both, "no subnet", "more memory")


def test_spaces_shows_whose_limit_it_is(recipe, tmp_path):
    name = limited(tmp_path, total_bytes=1e6)
    given = nas("spaces", recipe, *settings(f"targets.0.name={name}"))
    succeeded(given)
    assert all(word in given.out for word in ("memory_bytes", "≤ 1.00 MB", "device"))


@pytest.mark.parametrize(
    ("memory", "cost"),
    [("ram", "peak_activation_bytes"), ("flash", "model_bytes")],
)
def test_a_device_without_enough_memory_is_told_at_once(recipe, tmp_path, memory, cost):
    name = limited(tmp_path, **{f"{memory}_bytes": 10})
    given = nas("spaces", recipe, *settings(f"targets.0.name={name}"))
    held = f"the device has 10 bytes of {'RAM' if memory == 'ram' else memory}"
    assert_refused(given, f"{cost} to 10", held, "more memory")


def test_a_limit_that_few_subnets_meet_is_not_shown_as_none(tmp_path):
    given = nas("spaces", ROOT / "runs" / "digits.toml", "--out", tmp_path / "run")
    succeeded(given)
    line = next(line for line in given.out.splitlines() if "tiny-mcu" in line)
    assert "under 1%" in line


def test_report_is_rendered_from_the_results_alone(finished, tmp_path):
    (tmp_path / "results.json").write_bytes((finished / "results.json").read_bytes())
    given = nas("report", tmp_path)
    succeeded(given)
    assert (tmp_path / "report.html").read_bytes() == (finished / "report.html").read_bytes()
    assert "edge-npu" in given.out


@pytest.mark.parametrize("browser", [True, False])
def test_the_report_is_opened_where_there_is_a_browser(finished, tmp_path, monkeypatch, browser):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or browser)
    given = nas("report", finished, "--out", tmp_path / "a page.html", "--open")
    assert opened == [(tmp_path / "a page.html").as_uri()]
    assert given.code == 0
    assert ("no web browser was found" in given.err) is not browser


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_report_without_results(tmp_path, name):
    assert_refused(nas("report", tmp_path / name), "no results.json", "nas run")


@pytest.mark.parametrize("step", ["search", "export"])
def test_a_step_without_a_supernet(recipe, tmp_path, step):
    assert_refused(nas(step, recipe, "--out", tmp_path), "no trained supernet", "nas train")


def test_export_without_evaluations(recipe, folder):
    (folder / "archive.journal").unlink()
    assert_refused(nas("export", recipe, "--out", folder), "no evaluations", "nas search")


def test_the_run_folder_lies_beside_the_recipe_by_default(recipe, tmp_path):
    copy = tmp_path / "mine.toml"
    copy.write_bytes(recipe.read_bytes())
    succeeded(nas("train", copy))
    assert (tmp_path / "mine" / "supernet.safetensors").exists()


@pytest.mark.parametrize("arguments", [["run"], ["fly"], ["run", "a.toml", "--fast"]])
def test_wrong_usage(arguments):
    given = nas(*arguments)
    assert given.code == 2
    assert "Usage" in given.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        ([], 2),
        (["init", "--list"], 0),
        (["init", "--help"], 0),
        *([[name, "--help"], 0] for name in ("run", "profile", "search", "sweep", "train")),
        *([[name, "--help"], 0] for name in ("export", "report", "spaces", "archive", "targets")),
        *([["targets", name, "--help"], 0] for name in ("import", "transfer", "check")),
        (["run"], 2),
        (["fly"], 2),
        (["targets", "check", "a.toml", "--recipe", "b", "--space", "c"], 2),
    ],
    ids=str,
)
def test_how_it_is_called_is_told_without_heavy_libraries(words, code):
    script = f"""
import sys
import webbrowser
from nas.__main__ import main
sys.argv = {["nas", *words]!r}
try:
    main()
except SystemExit as end:
    assert (end.code or 0) == {code}, end.code
assert not {{"numpy", "torch", "networkx"}} & {{*sys.modules}}
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)


def test_as_few_networks_may_be_asked_for_as_can_be_fitted():
    codes = [
        nas("profile", "missing.toml", "--calibrate", str(count)).code
        for count in (LEAST_NETWORKS - 1, LEAST_NETWORKS)
    ]
    assert codes == [2, 1]  # wrong usage; and then, no such recipe


def test_help_names_every_command():
    given = nas("--help")
    assert given.code == 0
    names = [
        str(command.name or getattr(command.callback, "__name__", ""))
        for command in app.registered_commands
    ] + [str(group.name) for group in app.registered_groups]
    steps = {"run", "profile", "train", "search", "export", "report"}
    further = {
        "init",
        "fit",
        "spaces",
        "targets",
        "archive",
        "sweep",
        "parts",
        "switching",
        "predictors",
    }
    assert steps | further == {*names}
    options = ("--quiet", "--json", "--debug", "--version", "--install-completion")
    assert all(word in given.out for word in (*names, *options))


@pytest.mark.parametrize("command", ["run", "profile", "sweep", "search"])
def test_types_of_options_are_words_of_a_user(command):
    told = nas(command, "--help").out
    assert "KEY=VALUE" in told
    assert "PATH" in told
    assert not [word for word in ("<str>", "<path>", "list[", "<int", "<float") if word in told]


def test_options_of_all_commands_may_stand_anywhere():
    before, behind = nas("--json", "targets", "list"), nas("targets", "list", "--json")
    assert before == behind
    assert "edge-npu" in [row["target"] for row in json.loads(before.out)["rows"]]
    assert nas("targets", "list").out != before.out  # which holds for one call only
    assert nas("--quiet", "targets", "--json").code == 2


def test_an_error_is_a_record_too():
    given = nas("run", "missing.toml", "--json")
    assert given.code == 1
    assert json.loads(given.out)["error"] in given.err


def test_the_version_is_told():
    given = nas("--version")
    succeeded(given)
    assert given.out == f"elastic-nas {version('elastic-nas')}\n"


def test_an_interrupt_says_how_to_go_on(recipe, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.recipe.table_recipe.load_any_recipe", interrupted)
    given = nas("run", recipe)
    assert given.code == 130
    assert "--resume" in given.err


def test_brackets_in_a_message_are_told_as_they_are(recipe, tmp_path):
    assert_refused(
        nas("run", recipe, "--out", tmp_path, *settings("name='[red]a[/]'")), "'[red]a[/]'"
    )


def test_a_sweep_that_has_no_place_to_write_is_refused_at_once(recipe, tmp_path):
    (tmp_path / "file").touch()
    assert_refused(nas("sweep", recipe, "--out", tmp_path / "file"), "folder of the sweep", "--out")
    (tmp_path / "out" / "sweep.csv").mkdir(parents=True)
    assert_refused(nas("sweep", recipe, "--out", tmp_path / "out"), "sweep.csv is a folder")
