"""No text can steer the terminal, be read as markup or pretend to be another message."""

from __future__ import annotations

import ast
import sys
import warnings
from pathlib import Path

import pytest

import nas
from nas.cli.main import main
from nas.terminal.display import Terminal, TerminalTable, complain, say
from nas.terminal.untrusted import spreadsheet_cell, visible

EVIL = "[/x][red]:smile: \x1b[31m\x9b2J\r\x07\x7f\u202e\u200b\u2028\ufeff\udc80"
SHOWN = r"[/x][red]:smile: \x1b[31m\x9b2J\r\x07\x7f\u202e\u200b\u2028\ufeff\udc80"
ENGINE = Path(nas.__file__).parent
DOOR = ENGINE / "terminal" / "display.py"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def test_what_has_no_shape_is_shown_by_its_escape() -> None:
    assert visible(EVIL) == SHOWN
    assert visible("a\nb\tc") == r"a\nb\tc"
    plain = "Größe 3 \N{MULTIPLICATION SIGN} 3, 深度, ± 0.2 %, [a]\\n\N{NO-BREAK SPACE}"
    assert visible(plain) == plain


def test_all_that_is_said_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    table = TerminalTable((EVIL, "b"), title=EVIL)
    table.add_row(EVIL, "two\nlines")
    say(EVIL)
    say(table)
    complain(EVIL)
    with Terminal() as display, display.stage(EVIL) as advance:
        display.say(EVIL)
        display.say(table)
        advance(1, 2, EVIL)
    out, err = capsys.readouterr()
    assert out.count(SHOWN) == 1 + 3 + 1 + 3 + 2
    assert err == f"{SHOWN}\n"
    assert r"two\nlines" in out
    assert not [c for c in out + err if not (c.isprintable() or c == "\n")]


def test_a_name_cannot_pretend_to_be_another_message(capsys: pytest.CaptureFixture[str]) -> None:
    complain("target 'a\nerror: all is lost' is unknown")
    assert capsys.readouterr().err == "target 'a\n  error: all is lost' is unknown\n"


@pytest.mark.parametrize("words", [["fly\x1b[2J"], ["run", "--\x1b[31m"], ["run", "a", EVIL[:30]]])
def test_wrong_usage_is_told_by_the_same_door(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["nas", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
    told = capsys.readouterr().err
    assert r"\x1b[" in told
    assert "\x1b" not in told


def test_faults_and_warnings_are_told_by_the_same_door(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.excepthook", None)
    monkeypatch.setattr("warnings.formatwarning", None)
    monkeypatch.setattr("sys.argv", ["nas", "--version\x1b"])
    with pytest.raises(SystemExit):
        main()
    fault = RuntimeError("\x1b[2J")
    sys.excepthook(RuntimeError, fault, None)
    told = warnings.formatwarning("\x1b[2J\u202e", UserWarning, "a.py", 3)
    err = capsys.readouterr().err
    assert r"RuntimeError: \x1b[2J" in err
    assert told == "a.py:3: UserWarning: \\x1b[2J\\u202e\n"
    assert "\x1b" not in err


def test_there_is_no_other_way_to_the_terminal() -> None:
    """Apart: scripts for other machines, modules that load before the door, shipped examples."""
    alone = {"measure.py", "predict.py", "interrupts.py"}
    for path in ENGINE.rglob("*.py"):
        if path == DOOR or path.name in alone or "shipped" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                named = [str(node.module)]
            elif isinstance(node, ast.Call):
                named = [ast.unparse(node.func)]
            else:
                continue
            for name in named:
                assert name.split(".")[0] != "rich", f"{path}:{node.lineno}"
                assert name not in ("print", "typer.echo", "typer.secho"), f"{path}:{node.lineno}"
                assert not name.startswith(("sys.stdout", "sys.stderr")), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t=", "\r\n@", "a;=", "a; -", "\N{FULLWIDTH EQUALS SIGN}"]
)
def test_no_cell_is_run_as_a_formula(start: str) -> None:
    cell = spreadsheet_cell(f"{start}1\x1b")
    assert cell.endswith(r"1\x1b")
    parts = cell.split(";")
    assert not [
        part for part in parts if part.strip()[:1] in tuple("=+-@\N{FULLWIDTH EQUALS SIGN}")
    ]
    assert "'" in cell
