"""Colours and layout of all figures, legible on a light and on a dark page.

The colours of text, grid and background come from the page, which follows the reader's settings.
"""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go

from nas.report import text
from nas.report.view import View
from nas.report.words import Words
from nas.terminal.untrusted import visible

MEASURED = "#3b82d6"
PREDICTED = "#dd8a2e"
PREDICTED_BAND = "rgba(221, 138, 46, 0.16)"
CHOSEN = "#d6336c"
ERRORS = [[0.0, "#12355b"], [0.5, MEASURED], [1.0, "#d7e6f8"]]  # dark is low
FAINT = "rgba(128, 138, 156, 0.38)"
NEUTRAL = "#7d8799"
PHASES = ("#8a93a6", "#3b82d6", "#dd8a2e", "#3f9f7f", "#9a6fd0")

# From warm colours (few bits) to cool ones (many bits): distinct hues of similar lightness.
_BITS = {
    2: "#d6455d",
    3: "#d56a26",
    4: "#bd8b13",
    5: "#7f9133",
    6: "#4fa567",
    7: "#2f9e9b",
    8: "#3b82d6",
    None: "#7d8799",
}


def bits_colour(bits: int | None) -> str:
    """The colour of a bit-width, the same in all figures; `None` is full precision."""
    return _BITS.get(bits, "#7a63c7")


def figure(*, height: int, **layout: Any) -> go.Figure:
    """An empty figure with the common layout.

    Args:
        height: The height in pixels.
        layout: Layout settings of plotly that differ from the common ones.
    """
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}}
    defaults: dict[str, Any] = {
        "template": go.layout.Template(),
        "height": height,
        "margin": {"l": 64, "r": 24, "t": 48, "b": 56},
        "legend": legend,
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    return go.Figure(layout={**defaults, **layout})


def scale(view: View, name: str) -> dict[str, Any]:
    """The plotly settings for the range and for legible ticks of an axis.

    Args:
        view: The range of the axis.
        name: The name of the cost or error on the axis, with unit.
    """
    return {"tickformat": "~s" if text.is_scaled(name) else "~g", **view.axis}


def axis(words: Words, name: str, view: View) -> dict[str, Any]:
    """The plotly settings of the axis of a cost or error: its title and its scale."""
    return {"title": label(words.axis(name)), **scale(view, name)}


def label(content: str) -> str:
    """A foreign text for use in a figure; it is escaped, since plotly reads HTML tags in texts."""
    return escape(visible(content), quote=False)
