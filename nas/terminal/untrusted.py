"""Safe display of foreign text, such as names in files and errors of other programs.

A control character could move the cursor of a terminal, a bidirectional one could show a name
backwards, and a zero-width one could make two names look equal. All are shown by their escapes.
"""

from __future__ import annotations

import re
import unicodedata

# The places where a spreadsheet begins a formula; the last four signs are the full-width forms.
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@＝＋－＠])")  # noqa: RUF001


def visible(content: str) -> str:
    """A text on one line, in which every character that is not printable is shown by its escape."""
    if content.isprintable():
        return content
    return "".join(c if _has_shape(c) else c.encode("unicode_escape").decode() for c in content)


def _has_shape(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def spreadsheet_cell(content: str) -> str:
    """A text on one line that no spreadsheet runs as a formula.

    An apostrophe is put where a formula could begin. That may also be after a semicolon, since
    spreadsheets of many countries begin a new cell there.
    """
    return _FORMULA.sub(r"\1'", visible(" ".join(content.split())))
