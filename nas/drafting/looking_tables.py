"""A look at a table: texts with a class each, or measured values with a class or a value each."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.drafting.asking import Ask
from nas.settings.toml_file import RecipeError
from nas.tasks.text_files import read_table

_ROWS = 1000
_LABELS = (
    *("label", "labels", "class", "target", "category", "y", "sentiment", "stars", "rating"),
    *("species", "outcome", "quality", "price"),
)
_WORDS = 3  # a column whose values have more words on average holds texts
_LONGEST = 64
_NAMES = 20  # a column with more different names tells samples apart, not kinds of them
Columns = Mapping[str, Sequence[str]]
Drafted = tuple[dict[str, Any], dict[str, str]]


def table_keys(path: Path, given: Mapping[str, Any], ask: Ask) -> Drafted:
    """The keys of a task on a table, and comments on them.

    Raises:
        TaskError: The table cannot be read.
        RecipeError: The table has too few columns, or nobody can be asked what the user must say.
    """
    columns = _columns(path)
    if len(columns) < 2:
        raise RecipeError(
            f"{path} has {len(columns)} columns; a table needs the column of the classes or "
            "values beside others, and a first line with the names of all"
        )
    words = {
        name: sum(len(cell.split()) for cell in cells) / max(1, len(cells))
        for name, cells in columns.items()
    }
    texts = [name for name in columns if words[name] > _WORDS]
    if (texts or "text" in given) and given.get("kind") != "features":
        return _text_keys(path, columns, words, given, ask)
    return _feature_keys(path, columns, given, ask)


def _text_keys(
    path: Path,
    columns: Columns,
    words: Mapping[str, float],
    given: Mapping[str, Any],
    ask: Ask,
) -> Drafted:
    texts = [name for name in columns if words[name] > _WORDS]
    text = given.get("text") or _chosen("texts", texts, ask, key="text")
    label = given.get("label") or _label([name for name in columns if name != text], ask)
    length = max(8, min(_LONGEST, round(2 * words.get(text, _LONGEST) / 8) * 8))
    values: dict[str, Any] = {
        "kind": "text-classification",
        "train": str(path),
        "text": text,
        "label": label,
        "length": length,
    }
    if importlib.util.find_spec("tokenizers") is not None:  # an extra; letters need none
        values["tokenizer"] = {"kind": "word", "vocabulary": 4000}
    comments = {
        "kind": "a class for each text",
        "text": "the column of the texts",
        "label": "the column of the classes",
        "length": "tokens that a network reads of a text",
    }
    return values, comments


def _feature_keys(path: Path, columns: Columns, given: Mapping[str, Any], ask: Ask) -> Drafted:
    label = given.get("label") or _label([*columns], ask)
    others = {name: cells for name, cells in columns.items() if name != label}
    named = [name for name, cells in others.items() if not all(map(_is_number, cells))]
    kinds = [name for name in named if len({*others[name]}) <= _NAMES]
    useless = [name for name in named if name not in kinds]
    useless += [name for name, cells in others.items() if _counts(cells)]
    values: dict[str, Any] = {"kind": "features", "train": str(path), "label": label}
    values |= {"categories": kinds} if kinds else {}
    values |= {"leave_out": useless} if useless else {}
    comments = {
        "kind": "every other column is a measured value",
        "label": "the column of the classes, or of the values to be predicted",
        "categories": "columns of names, each of which becomes a feature",
        "leave_out": "columns that number or name the rows",
    }
    return values, comments


def _columns(path: Path) -> dict[str, list[str]]:
    """The first cells of every column, by its name."""
    sheet = read_table(path).with_points()
    rows = [cells for _, cells in sheet.rows[:_ROWS] if len(cells) == len(sheet.header)]
    return {name: [row[place] for row in rows] for place, name in enumerate(sheet.header)}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell  # a missing value, which the task names
    return True


def _counts(cells: Sequence[str]) -> bool:
    """Whether cells are numbers that rise by one from row to row."""
    if len(cells) < 2 or not all(cell.isdecimal() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return numbers == [*range(numbers[0], numbers[0] + len(numbers))]


def _label(names: Sequence[str], ask: Ask) -> str:
    usual = [name for name in names if name.strip().lower() in _LABELS]
    return _chosen("classes or values", usual if len(usual) == 1 else names, ask, key="label")


def _chosen(what: str, names: Sequence[str], ask: Ask, *, key: str) -> str:
    if len(names) == 1:
        return names[0]
    question = f"Which column holds the {what}?"
    return ask(question, key=f"--set task.{key}=COLUMN", options=names)
