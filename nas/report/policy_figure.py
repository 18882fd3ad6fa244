"""The figure of the chosen subnet, layer by layer: width, kernel, bits and share of MACs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from nas.report import style, text
from nas.report.layers import bits_of, is_plain, kernel_text
from nas.report.subnets import LayerPolicy
from nas.targets.numerics import FULL

_WIDTH, _BITS, _MACS = "y", "y2", "y3"
_CROWDED, _PACKED = 24, 48
# Left to plotly, a bar would be as wide as the least distance of the layers in its own colour.
_BAR = 0.88


@dataclass(frozen=True)
class LayerSpan:
    """Neighbouring layers whose addresses begin with the same part.

    Attributes:
        name: That part, such as `stage1`.
        first: The position of the first layer.
        last: The position of the last layer, which is included.
    """

    name: str
    first: int
    last: int


def policy(layers: Sequence[LayerPolicy]) -> go.Figure:
    """The figure of all layers, from left to right.

    At the top, a bar shows the width of each layer in the colour of its weight bits, with the
    kernel as a number above. Below are the weight bits and the activation bits as numbers. At the
    bottom is each layer's share of the multiply-accumulates.
    """
    figure = style.figure(height=640, margin={"l": 56, "r": 16, "t": 64, "b": 24})
    named = {_legend(name): name for x in layers for name in (x.weight, x.activation)}
    used = sorted(named.values(), key=lambda name: (bits_of(name), name))
    for name in used:
        figure.add_trace(_widths(layers, name))
    for name in used:
        figure.add_trace(_cells(layers, name, lambda layer: layer.weight, base=1))
        figure.add_trace(_cells(layers, name, lambda layer: layer.activation, base=0))
    figure.add_trace(_macs(layers))
    _axes(figure, layers)
    _stages(figure, layers)
    return figure


def groups(addresses: Sequence[str]) -> Iterator[LayerSpan]:
    """The spans of neighbouring addresses with the same first part; a span may be one address."""
    first = 0
    for position in range(1, len(addresses) + 1):
        head = addresses[first].partition(".")[0]
        if position == len(addresses) or addresses[position].partition(".")[0] != head:
            yield LayerSpan(head, first, position - 1)
            first = position


def _legend(name: str) -> str:
    """The words for a format; signed and unsigned integers of as many bits share an entry."""
    if name == FULL:
        return "full precision"
    return f"{bits_of(name)} bits" if is_plain(name) else name


def _marker(name: str) -> dict[str, Any]:
    """The colour of the bits of a format, with a pattern on all but plain integers."""
    bits = None if name == FULL else bits_of(name)
    pattern = {} if is_plain(name) else {"pattern": {"shape": "/" if bits_of(name) > 4 else "x"}}
    return {"color": style.bits_colour(bits), **pattern}


def _widths(layers: Sequence[LayerPolicy], name: str) -> go.Bar:
    here = [(x, la) for x, la in enumerate(layers) if _legend(la.weight) == _legend(name)]
    return go.Bar(
        name=_legend(name),
        # A bit-width that only activations use still needs its entry in the legend.
        x=[x for x, _ in here] or [None],
        y=[layer.width for _, layer in here] or [None],
        width=_BAR,
        text=[kernel_text(layer) for _, layer in here],
        customdata=[_facts(layer) for _, layer in here],
        hovertemplate="%{customdata}<extra></extra>",
        textposition="outside",
        textangle=0,
        cliponaxis=False,
        textfont={"size": _font(len(layers))},
        marker=_marker(name),
        legendgroup=_legend(name),
        showlegend=True,
        yaxis=_WIDTH,
    )


def _cells(
    layers: Sequence[LayerPolicy],
    name: str,
    read: Callable[[LayerPolicy], str],
    *,
    base: int,
) -> go.Bar:
    here = [(x, layer) for x, layer in enumerate(layers) if _legend(read(layer)) == _legend(name)]
    return go.Bar(
        name=f"{'weights' if base else 'activations'}: {_legend(name)}",
        x=[x for x, _ in here],
        y=[0.92] * len(here),
        width=_BAR,
        base=[base + 0.04] * len(here),
        text=[short(name)] * len(here),
        customdata=[_facts(layer) for _, layer in here],
        hovertemplate="%{customdata}<extra></extra>",
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        constraintext="none",
        textfont={"size": _font(len(layers)), "color": "white"},
        marker=_marker(name),
        legendgroup=_legend(name),
        showlegend=False,
        yaxis=_BITS,
    )


def short(name: str) -> str:
    """The text in a cell: the bits of integers, or the name of a format."""
    if name == FULL:
        return "fp"
    return str(bits_of(name)) if is_plain(name) else name.replace("-per-group-", "/")


def _macs(layers: Sequence[LayerPolicy]) -> go.Bar:
    total = sum(layer.macs for layer in layers) or 1.0
    return go.Bar(
        name="share of MACs",
        x=[*range(len(layers))],
        y=[layer.macs / total for layer in layers],
        width=_BAR,
        customdata=[_facts(layer) for layer in layers],
        hovertemplate="%{customdata}<br>%{y:.1%} of the network<extra></extra>",
        marker={"color": style.NEUTRAL},
        showlegend=False,
        yaxis=_MACS,
    )


def _facts(layer: LayerPolicy) -> str:
    kernel = f", kernel {kernel_text(layer)}" if layer.kernel else ""
    return "<br>".join(
        [
            f"<b>{style.label(layer.address)}</b>",
            style.label(f"{layer.operator}, {layer.width} channels{kernel}"),
            f"weights {layer.weight}, activations {layer.activation}",
            f"{text.quantity('macs', layer.macs)} MACs",
        ]
    )


def _font(count: int) -> int:
    return 11 if count <= _CROWDED else 10 if count <= _PACKED else 8


def _axes(figure: go.Figure, layers: Sequence[LayerPolicy]) -> None:
    names = [layer.address for layer in layers]
    grouped = {g.first + i: g for g in groups(names) for i in range(g.last - g.first + 1)}
    short = [
        name.partition(".")[2] if grouped[x].last > grouped[x].first else name
        for x, name in enumerate(names)
    ]
    figure.update_layout(
        barmode="overlay",
        xaxis={
            "tickvals": [*range(len(layers))],
            "ticktext": [style.label(name) for name in short],
            "tickangle": -90,
            "tickfont": {"size": _font(len(layers))},
            "range": [-0.6, len(layers) - 0.4],
            "anchor": _MACS,
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"domain": [0.47, 0.96], "rangemode": "tozero"},
        yaxis2={
            "domain": [0.24, 0.40],
            "range": [0, 2],
            "showticklabels": False,
            "ticks": "",
            "showgrid": False,
            "zeroline": False,
        },
        yaxis3={"domain": [0.0, 0.18], "tickformat": ".0%", "nticks": 4},
        legend={"y": 1.07},
    )
    for top, heading in (
        (0.97, "channels; above a bar its kernel"),
        (0.40, "bits: weights, below them activations"),
        (0.18, "share of MACs"),
    ):
        _heading(figure, heading, top=top)


def _heading(figure: go.Figure, heading: str, *, top: float) -> None:
    """A heading at the left above a panel, where it takes no width from narrow pages."""
    figure.add_annotation(
        xref="paper",
        yref="paper",
        x=0,
        y=top,
        xanchor="left",
        yanchor="bottom",
        text=heading,
        showarrow=False,
        font={"size": 11},
    )


def _stages(figure: go.Figure, layers: Sequence[LayerPolicy]) -> None:
    """Add the name of every span of several layers, and a faint band under every second span."""
    several = [g for g in groups([layer.address for layer in layers]) if g.last > g.first]
    for position, group in enumerate(several):
        if position % 2 == 0:
            figure.add_shape(
                type="rect",
                xref="x",
                yref="paper",
                x0=group.first - 0.5,
                x1=group.last + 0.5,
                y0=0,
                y1=1.0,
                fillcolor="rgba(128, 138, 156, 0.10)",
                line={"width": 0},
                layer="below",
            )
        figure.add_annotation(
            xref="x",
            yref="paper",
            x=(group.first + group.last) / 2,
            y=1.0,
            yanchor="bottom",
            text=style.label(group.name),
            showarrow=False,
            font={"size": 11},
        )
