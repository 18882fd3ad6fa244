"""`nas targets new`: answers become a target file that is right, or are refused before any file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nas.cli import prompting
from nas.drafting.asking import Check
from nas.drafting.target_draft import target_draft
from nas.targets import load_target
from nas.targets.coverage import of_space
from nas.targets.target_files import read_target_file
from tests.nas.runs import assert_refused, nas, succeeded
from tests.nas.targets.test_template import LEAST, network

KNOWN = ("--yes", "--device", "a board", "--runtime", "kernels of our own")


def test_a_file_from_options_is_a_target_with_its_memories(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    formats = ("--format", "int4xint8", "--format", "int8xint8")
    memories = ("--flash-bytes", 256000, "--ram-bytes", 64000)
    succeeded(given := nas("targets", "new", path, *KNOWN, *formats, *memories))
    assert f"nas targets template RECIPE --target {path}" in given.out
    target = load_target(path, unmeasured=True)
    assert (target.name, target.device, target.provenance) == ("board", "a board", "measured")
    assert target.limits == {"model_bytes": 256_000, "peak_activation_bytes": 64_000}
    coverage = of_space(target, network(LEAST))
    assert len(coverage.missing) == coverage.wanted > 0
    assert {key.weight for key in coverage.missing} == {"int4", "int8", ""}
    comments = [line for line in path.read_text().splitlines() if "# " in line]
    assert len(comments) > 10


def test_an_analytical_target_needs_no_table(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    rates = ("--gmacs-per-s", "int8xint8=0.1", "--bandwidth-gb-per-s", 1, "--overhead-us", 5)
    kind = ("--figures", "analytical", "--total-bytes", 1e6)
    succeeded(given := nas("targets", "new", path, *KNOWN, *kind, *rates))
    assert "nas targets template" not in given.out
    target = load_target(path)
    assert target.limits == {"memory_bytes": 1e6}
    space = network(LEAST)
    assert (target.compile(space)["latency_ms"](space.every_row()) > 0).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--yes", "--runtime", "r"), ("What is the device", "--device")),
        (("--yes", "--device", "d"), ("Which software", "--runtime")),
        ((*KNOWN, "--format", "8x"), ("--format 8x", "'8x'")),
        ((*KNOWN, "--figures", "guessed"), ("provenance = 'guessed'", "'measured'")),
        ((*KNOWN, "--otherwise", "drop"), ("otherwise = 'drop'", "'container' or 'refuse'")),
        ((*KNOWN, "--flash-bytes", 9, "--total-bytes", 9), ("total_bytes is one memory",)),
        ((*KNOWN, "--flash-bytes", -1), ("memory.flash_bytes", "greater than 0")),
        ((*KNOWN, "--figures", "analytical"), ("multiply-accumulates", "--gmacs-per-s int8xint8=")),
        ((*KNOWN, "--figures", "predicted"), ("transfer section",)),
    ],
)
def test_what_makes_no_target_is_refused(
    tmp_path: Path, options: tuple[str, ...], said: tuple[str, ...]
) -> None:
    path = tmp_path / "board.toml"
    assert_refused(nas("targets", "new", path, *options), *said)
    assert not path.exists()


def test_names_and_rates_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    there = tmp_path / "there.toml"
    there.touch()
    assert_refused(nas("targets", "new", there, *KNOWN), "is there already")
    assert there.read_bytes() == b""
    spaced = nas("targets", "new", tmp_path / "my board.toml", *KNOWN)
    assert_refused(spaced, "name = 'my board'")
    rate = nas("targets", "new", tmp_path / "b.toml", *KNOWN, "--gmacs-per-s", "fast")
    assert rate.code == 2
    assert "int8xint8=NUMBER" in rate.err


def test_what_is_not_given_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []
    answers = {"--runtime": "r", "--format": "int8xint8 int4xint8", "--ram-bytes": "5000"}

    def ask(
        question: str,
        *,
        key: str,
        options: Sequence[str] = (),
        default: str | None = None,
        check: Check | None = None,
    ) -> str:
        asked.append(key)
        return answers.get(key, default or "")

    path = tmp_path / "board.toml"
    assert target_draft(path, {"device": "d"}, ask=ask) == "measured"
    keys = ["--runtime", "--figures", "--format", "--otherwise", "--flash-bytes", "--ram-bytes"]
    assert asked == keys
    found = read_target_file(path)
    assert found.supports[0].formats == ["int8xint8", "int4xint8"]
    assert found.memory is not None
    assert (found.memory.flash_bytes, found.memory.ram_bytes) == (None, 5000)


def test_a_wrong_answer_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = iter(
        ["a board", "r", "guess", "measured", "8by8", "int8xint8", "refuse", "much", "256000", "9"]
    )
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(given))
    monkeypatch.setattr("nas.cli.prompting.is_terminal", lambda: True)
    target_draft(tmp_path / "board.toml", {}, ask=prompting.asker(yes=False))
    assert next(given, None) is None
    told = capsys.readouterr().out
    for words in ("answer one of measured", "give --figures", "'8by8'", "'much' is no number"):
        assert words in told
    assert load_target(tmp_path / "board.toml", unmeasured=True).limits["model_bytes"] == 256_000
