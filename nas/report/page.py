"""The web page with its figures: the library plotly is included once, every figure as data."""

from __future__ import annotations

import json
import math
from importlib import resources
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from nas.report.markup import Markup, html_of, tag


class Page:
    """A web page under construction; it numbers the figures."""

    def __init__(self) -> None:
        self._count = 0

    def figure(
        self, heading: str, figure: go.Figure, caption: str, *, wide: bool = False
    ) -> Markup:
        """The HTML of a figure with heading and caption; the figure is drawn when the page opens.

        Args:
            heading: The heading.
            figure: The figure.
            caption: The text below the figure.
            wide: Whether the figure has the whole width of the page, or half of it.
        """
        self._count += 1
        name = f"plot-{self._count}"
        content = figure.to_plotly_json()
        height = f"min-height:{content['layout']['height']}px"
        plot = tag("div", id=name, class_="plot", style=height, role="img", aria_label=heading)
        data = tag("script", _script_json(content), type="application/json", data_plot=name)
        shown = [tag("h3", heading), plot, data, tag("figcaption", caption)]
        return tag("figure", shown, class_="wide" if wide else "half")

    def html(self, *, title: str, body: Markup) -> str:
        """The HTML of the whole page, which needs no other file and no network."""
        skeleton = resources.files("nas.report").joinpath("page.html").read_text(encoding="utf-8")
        plotly = get_plotlyjs().replace("</script", "<\\/script") if self._count else ""
        return Template(skeleton).substitute(title=html_of(title), body=body, plotly=plotly)


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
