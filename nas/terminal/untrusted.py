"""Text that others may have written (names in files, errors of other programs), safe to show.

A control character would move the cursor of a terminal, a bidirectional one would show a name
backwards, a zero-width one would make two names look alike. All are shown by their escapes.
"""

from __future__ import annotations

import re
import unicodedata

# Where a spreadsheet begins a formula; the second group of signs is full-width.
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@＝＋－＠])")  # noqa: RUF001


def visible(content: str) -> str:
    """`content` on one line; a character without a shape of its own is shown by its escape."""
    if content.isprintable():
        return content
    return "".join(c if _has_shape(c) else c.encode("unicode_escape").decode() for c in content)


def _has_shape(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def spreadsheet_cell(content: str) -> str:
    """`content` on one line, an apostrophe before all that a spreadsheet would run as a formula.

    Spreadsheets of many countries begin a new cell after a semicolon.
    """
    return _FORMULA.sub(r"\1'", visible(" ".join(content.split())))
