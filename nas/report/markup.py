"""Safe building of HTML: every plain string is escaped, so that no text can become an element."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from nas.terminal.untrusted import visible

_LINE_BREAK = "\n"  # kept for the recipe, which is shown line by line; elsewhere it is a space


class Markup(str):
    """A text that is HTML already and is not escaped again."""

    __slots__ = ()


Content = str | Iterable[str]


def html_of(content: Content) -> Markup:
    """The content as HTML.

    `Markup` stays unchanged. In any other string, special signs of HTML are escaped and control
    characters are made visible. The parts of a list are joined.
    """
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(
            _LINE_BREAK.join(escape(visible(line)) for line in content.split(_LINE_BREAK))
        )
    return Markup("".join(html_of(part) for part in content))


def tag(name: str, content: Content = "", **attributes: str) -> Markup:
    """An HTML element.

    Args:
        name: The name of the element, such as `p`.
        content: The content, which is escaped unless it is `Markup`.
        attributes: The attributes; write `class_` for `class` and `data_x` for `data-x`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{html_of(content)}</{name}>")


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = ()
) -> Markup:
    """An HTML table, which can be scrolled sideways if it is too wide.

    Args:
        header: The headings of the columns.
        rows: The cells, row by row.
        numeric: The columns, from 0, that are aligned to the right.
    """

    def cells(kind: str, row: Sequence[str], **more: str) -> Markup:
        return html_of(
            tag(kind, cell, class_="number" if column in numeric else "text", **more)
            for column, cell in enumerate(row)
        )

    head = tag("thead", tag("tr", cells("th", header, scope="col")))
    body = tag("tbody", [tag("tr", cells("td", row)) for row in rows])
    return tag("div", tag("table", [head, body]), class_="scroll")


def details(summary: str, content: Content) -> Markup:
    """An HTML element that shows `summary` and unfolds `content` on a click."""
    return tag("details", [tag("summary", summary), html_of(content)])
