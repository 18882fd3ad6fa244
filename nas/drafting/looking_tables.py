"""A look at a table of texts: which column holds the texts, and which holds their classes."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.drafting.asking import Ask
from nas.settings.toml_file import RecipeError
from nas.tasks.text_files import read_text

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
        RecipeError: No column holds texts.
    """
    header, rows = _rows(path)
    words = {
        name: sum(len(row[place].split()) for row in rows if place < len(row)) / max(1, len(rows))
        for place, name in enumerate(header)
    }
    texts = [name for name in header if words[name] > _WORDS]
    if not texts and "text" not in given:
        raise RecipeError(
            f"no column of {path} holds texts ({', '.join(map(repr, header))}); for measured "
            "values, save arrays x_train and y_train with numpy.savez and give that file"
        )
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


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    header, *rows = itertools.islice(reader, _ROWS + 1)
    return header, rows


def _label(names: Sequence[str], ask: Ask) -> str:
    usual = [name for name in names if name.strip().lower() in _LABELS]
    return _chosen("classes", usual if len(usual) == 1 else names, ask, key="label")


def _chosen(what: str, names: Sequence[str], ask: Ask, *, key: str) -> str:
    if len(names) == 1:
        return names[0]
    question = f"Which column holds the {what}?"
    return ask(question, key=f"--set task.{key}=COLUMN", options=names)
