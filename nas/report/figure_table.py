"""The numbers of a figure as a table, for readers who do not see the figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from typing import Any

from nas.report import text
from nas.report.markup import Markup, details, table

_MOST = 200  # points of one series that are told; of more, evenly chosen ones
_HIDDEN = "skip"  # the `hoverinfo` of helping lines, which are no data


def figure_table(content: Mapping[str, Any]) -> Markup:
    """The points of all series of a figure, to unfold; empty for a figure without points.

    Args:
        content: The figure as plotly's JSON, with `data` and `layout`.
    """
    series = [trace for trace in content["data"] if trace.get("hoverinfo") != _HIDDEN]
    rows = [row for trace in series for row in _rows(trace)]
    if not rows:
        return Markup()
    layout = content["layout"]
    header = ["Series", *(_title(layout.get(axis, {})) for axis in ("xaxis", "yaxis"))]
    most = max(len(trace.get("x") or ()) for trace in series)
    named = "The figure as a table"
    some = f"{named} ({_MOST} points at most of each series)"
    return details(named if most <= _MOST else some, table(header, rows, numeric=(1, 2)))


def _rows(trace: Mapping[str, Any]) -> Iterator[list[str]]:
    across, up = trace.get("x") or (), trace.get("y") or ()
    points = [*zip(across, up, strict=True)]
    for place in _spread(len(points)):
        yield [unescape(trace.get("name") or ""), *map(_cell, points[place])]


def _spread(count: int) -> Sequence[int]:
    """The positions that are told of so many points, the first and the last among them."""
    if count <= _MOST:
        return range(count)
    return [round(place * (count - 1) / (_MOST - 1)) for place in range(_MOST)]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return unescape(value)
    return "—" if value is None or not math.isfinite(value) else text.significant(value, 4)


def _title(axis: Mapping[str, Any]) -> str:
    title = axis.get("title") or ""
    return unescape(title if isinstance(title, str) else title.get("text", ""))
