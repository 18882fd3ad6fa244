"""The web page with its figures: the library plotly is included once, every figure as data."""

from __future__ import annotations

import base64
import gzip
import json
import math
from functools import cache
from importlib import resources
from string import Template
from typing import Any

import plotly.graph_objects as go

from nas.report.figure_table import figure_table
from nas.report.markup import Markup, html_of, tag


class Page:
    """A web page under construction; it numbers the figures."""

    def __init__(self) -> None:
        self._count = 0

    def figure(
        self,
        heading: str,
        figure: go.Figure,
        caption: str,
        *,
        wide: bool = False,
        least_width: int = 0,
        told: bool = False,
    ) -> Markup:
        """The HTML of a figure with heading and caption; the figure is drawn when the page opens.

        Args:
            heading: The heading.
            figure: The figure.
            caption: The text below the figure.
            wide: Whether the figure has the whole width of the page, or half of it.
            least_width: The width in pixels below which the figure is scrolled sideways.
            told: Whether a table on the page tells the numbers of the figure; else one is added.
        """
        self._count += 1
        name = f"plot-{self._count}"
        content = figure.to_plotly_json()
        numbers = Markup() if told else figure_table(content)
        plot = tag(
            "div",
            id=name,
            class_="plot",
            style=f"min-height:{content['layout']['height']}px;min-width:{least_width}px",
            role="img",
            aria_label=heading,
            aria_describedby=f"{name}-caption",
        )
        data = tag("script", _script_json(content), type="application/json", data_plot=name)
        below = tag("figcaption", caption, id=f"{name}-caption")
        shown = [tag("h3", heading), tag("div", plot, class_="scroll"), data, below, numbers]
        return tag("figure", shown, class_="wide" if wide else "half")

    def html(self, *, title: str, body: Markup) -> str:
        """The HTML of the whole page, which needs no other file and no network."""
        skeleton = _resource("page.html").decode()
        plotly = _plotly() if self._count else ""
        return Template(skeleton).substitute(title=html_of(title), body=body, plotly=plotly)


@cache
def _plotly() -> str:
    """The library that draws the figures, compressed by gzip and written in base64.

    The basic build of plotly.js has all that the figures need, points, lines and bars, in a
    quarter of the whole library's size.
    """
    return base64.b64encode(gzip.compress(_resource("plotly-basic.min.js"), mtime=0)).decode()


def _resource(name: str) -> bytes:
    return resources.files("nas.report").joinpath(name).read_bytes()


def _script_json(content: dict[str, Any]) -> Markup:
    """A figure as JSON for a script element, escaped so that no text in it ends the element."""
    content["layout"].pop("template", None)  # the page has its own, in the reader's colours
    plain = json.dumps(_finite(content), separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        plain = plain.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(plain)


def _finite(content: Any) -> Any:
    """The content with `None` in place of every infinite number and NaN, which JSON lacks."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
