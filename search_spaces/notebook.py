"""Tables in HTML, by which a notebook shows spaces, picks, targets and results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a title as HTML; every text in it is escaped.

    Args:
        title: The line above the table.
        header: The headings of the columns.
        rows: The cells of each row, one per heading.
    """
    heading = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        f"<p>{escape(title)}</p>"
        f"<table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>"
    )
