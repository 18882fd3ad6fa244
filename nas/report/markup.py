"""HTML that cannot be broken by what it holds: every plain string is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from nas.terminal.untrusted import visible

_LINE_BREAK = "\n"  # the recipe is shown in lines; elsewhere HTML makes a space of it


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | Iterable[str]


def html_of(content: Content) -> Markup:
    """`content` as HTML: `Markup` as it is, any other string visible and escaped, a list joined."""
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(
            _LINE_BREAK.join(escape(visible(line)) for line in content.split(_LINE_BREAK))
        )
    return Markup("".join(html_of(part) for part in content))


def tag(name: str, content: Content = "", **attributes: str) -> Markup:
    """One element; write `class_` for `class` and `data_x` for `data-x`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{html_of(content)}</{name}>")


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = ()
) -> Markup:
    """A table that scrolls sideways where it must; the `numeric` columns are right-aligned."""

    def cells(kind: str, row: Sequence[str]) -> Markup:
        return html_of(
            tag(kind, cell, class_="number" if column in numeric else "text")
            for column, cell in enumerate(row)
        )

    head = tag("thead", tag("tr", cells("th", header)))
    body = tag("tbody", [tag("tr", cells("td", row)) for row in rows])
    return tag("div", tag("table", [head, body]), class_="scroll")


def details(summary: str, content: Content) -> Markup:
    """Content that is folded away under `summary`."""
    return tag("details", [tag("summary", summary), html_of(content)])
