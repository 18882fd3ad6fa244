"""A look at a table: which columns hold texts or measured values, and which the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.drafting.asking import Ask
from nas.tasks.text_files import read_table

_ROWS = 1000
_LABELS = ("label", "class", "target", "category", "y", "sentiment", "stars", "rating")
_WORDS = 3  # a column whose values have more words on average holds texts
_LONGEST = 64


def table_keys(
    path: Path, given: Mapping[str, Any], ask: Ask
) -> tuple[dict[str, Any], dict[str, str]]:
    """The keys of a task on a table, and comments on them.

    Raises:
        TaskError: The table cannot be read.
        RecipeError: Nobody is asked, and columns do not tell what they hold.
    """
    header, rows = _rows(path)
    words = {
        name: sum(len(row[place].split()) for row in rows if place < len(row)) / max(1, len(rows))
        for place, name in enumerate(header)
    }
    texts = [name for name in header if words[name] > _WORDS]
    if not texts and "text" not in given:
        return _features(path, given, header, rows, ask)
    text = given.get("text") or _chosen("texts", texts, ask, key="text")
    others = [name for name in header if name != text]
    label = given.get("label") or _label(others, ask)
    length = max(8, min(_LONGEST, round(2 * words.get(text, _LONGEST) / 8) * 8))
    values = {
        "kind": "text-classification",
        "train": str(path),
        "text": text,
        "label": label,
        "length": length,
        "tokenizer": {"kind": "word", "vocabulary": 4000},
    }
    comments = {
        "kind": "a class for each text",
        "text": "the column of the texts",
        "label": "the column of the classes",
        "length": "words that a network reads of a text",
    }
    return values, comments


def _features(
    path: Path,
    given: Mapping[str, Any],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    ask: Ask,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The keys of a task on measured values, which are all columns but one."""
    label = given.get("label") or _label(header, ask)
    names = [
        name
        for place, name in enumerate(header)
        if name != label and not all(_is_number(row[place]) for row in rows if place < len(row))
    ]
    values = {"kind": "features", "train": str(path), "label": label, "categories": names}
    comments = {
        "kind": "a class or a value for each row of measured values",
        "label": "the column of the classes or values; all others are features",
        "categories": "columns of names; each name becomes a feature",
    }
    return values, comments


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell  # a missing value, which the task names
    return True


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    sheet = read_table(path).with_points()
    return [*sheet.header], [row for _, row in sheet.rows[:_ROWS]]


def _label(names: Sequence[str], ask: Ask) -> str:
    usual = [name for name in names if name.strip().lower() in _LABELS]
    return _chosen("classes", usual if len(usual) == 1 else names, ask, key="label")


def _chosen(what: str, names: Sequence[str], ask: Ask, *, key: str) -> str:
    if len(names) == 1:
        return names[0]
    question = f"Which column holds the {what}?"
    return ask(question, key=f"--set task.{key}=COLUMN", options=names)
