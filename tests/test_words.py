"""Only tasks speak of classes, images and accuracy: all else takes its words from the criterion."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    *("report", "terminal", "run", "cli", "archive", "evaluation", "problem", "search"),
    *("recipe", "settings"),
)
OF_A_TASK = re.compile(r"accurac|\b(images?|classes)\b", re.IGNORECASE)
MEANT = {
    "nas/search/policy_gradient.py": "the accuracy that a paper rewards",
    "nas/cli/init.py": "the kinds of data that a user may bring",
}


def texts(path: Path) -> Iterator[str]:
    """All texts of a module: constants, docstrings and the constant parts of f-strings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("room", ROOMS)
def test_no_text_speaks_of_one_kind_of_task(room):
    found = {
        f"{name}: {line.strip()}"
        for path in (ROOT / "nas" / room).rglob("*.py")
        if (name := path.relative_to(ROOT).as_posix()) not in MEANT
        for text in texts(path)
        for line in text.splitlines()
        if OF_A_TASK.search(line)
    }
    assert not found


def test_every_exception_is_needed():
    for name in MEANT:
        assert any(OF_A_TASK.search(text) for text in texts(ROOT / name)), name
