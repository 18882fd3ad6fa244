"""The main figure of a report: measured and predicted Pareto front, and the chosen subnet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from nas.problem.front import nondominated
from nas.report import style, text
from nas.report.data import LatencyBand, PredictedPoint, Results, TargetResult

_HOVER = "%{customdata}<extra></extra>"
_HEADROOM = 1.15


@dataclass(frozen=True)
class _Mark:
    """One subnet in the plane of a cost and the error.

    Attributes:
        cost: The cost.
        error: The validation error in percent.
        facts: The HTML that is shown when the pointer is on the mark.
    """

    cost: float
    error: float
    facts: str


def pareto(results: Results, target: TargetResult, objective: str) -> go.Figure:
    """The figure of the validation error against one cost, for one target.

    From back to front, it shows the evaluated subnets, the predicted front with a band of one
    standard deviation, the measured front, the networks for comparison, the chosen subnet and the
    limit on the cost.
    """
    evaluated = _evaluated(results, target, objective)
    front = staircase(_front(target, objective))
    references = _references(target, objective)
    chosen = _chosen(target, objective)
    predicted = [p for p in target.predicted_front if math.isfinite(p.costs.get(objective, np.inf))]
    shown = [*evaluated, *front, *references, *chosen]
    marks = [*shown, *(_Mark(p.costs[objective], p.error, "") for p in predicted)]
    errors = style.axis_type(mark.error for mark in marks)

    figure = style.figure(height=480)
    figure.add_trace(_points("evaluated subnets", evaluated, style.FAINT, size=6))
    for trace in _prediction(predicted, objective, floor=_floor(marks, errors)):
        figure.add_trace(trace)
    band = target.latency_band if objective == "latency_ms" else None
    figure.add_trace(_line("measured front", front, band))
    figure.add_trace(_named("references", references))
    figure.add_trace(_points("chosen subnet", chosen, style.CHOSEN, size=17, symbol="star"))
    costs = style.axis_type(mark.cost for mark in marks)
    figure.update_xaxes(
        title=style.label(text.axis_title(objective)), **style.scale(costs, objective)
    )
    figure.update_yaxes(title=text.axis_title("error"), **style.scale(errors, "error"))
    if errors == "linear" and (near := [*front, *references, *chosen]):
        _zoom(figure, evaluated, top=max(mark.error for mark in near) * _HEADROOM or 1.0)
    _limit(figure, target, objective, kind=costs)
    return figure


def plane(target: TargetResult, first: str, second: str) -> go.Figure:
    """The figure of a measured front of three objectives: costs as axes, the error as colour."""
    points = [p for p in target.front if math.isfinite(p.costs[first] + p.costs[second])]
    marks = [_mark("on the measured front", first, point.error, point.costs) for point in points]
    axes = [[point.costs[name] for point in points] for name in (first, second)]
    kinds = [style.axis_type(values) for values in axes]
    figure = style.figure(height=480, showlegend=False)
    figure.add_trace(
        go.Scatter(
            name="measured front",
            x=axes[0],
            y=axes[1],
            mode="markers",
            marker={
                "color": [mark.error for mark in marks],
                "colorscale": style.ERRORS,
                "colorbar": {"title": text.axis_title("error"), "thickness": 14},
                "size": 11,
                "line": {"color": style.NEUTRAL, "width": 1},
            },
            customdata=[mark.facts for mark in marks],
            hovertemplate=_HOVER,
        )
    )
    figure.update_xaxes(title=style.label(text.axis_title(first)), **style.scale(kinds[0], first))
    figure.update_yaxes(title=style.label(text.axis_title(second)), **style.scale(kinds[1], second))
    return figure


def staircase(marks: Sequence[_Mark]) -> list[_Mark]:
    """The marks that no other mark dominates in this plane, cheapest first."""
    if not marks:
        return []
    kept = nondominated(np.array([(mark.cost, mark.error) for mark in marks]))
    return sorted(
        (m for m, keep in zip(marks, kept, strict=True) if keep), key=lambda mark: mark.cost
    )


def _evaluated(results: Results, target: TargetResult, objective: str) -> list[_Mark]:
    costs = target.costs.get(objective, ())
    marks = []
    for row, point in enumerate(results.evaluated[: len(costs)]):
        known = {name: values[row] for name, values in target.costs.items() if row < len(values)}
        error = point.metrics.get("error", math.nan)
        marks.append(_mark(f"evaluation {point.order}", objective, error, known))
    return _finite(marks)


def _front(target: TargetResult, objective: str) -> list[_Mark]:
    return _finite(
        [_mark("on the measured front", objective, p.error, p.costs) for p in target.front]
    )


def _references(target: TargetResult, objective: str) -> list[_Mark]:
    return _finite([_mark(p.name, objective, p.error, p.costs) for p in target.references])


def _chosen(target: TargetResult, objective: str) -> list[_Mark]:
    chosen = target.chosen
    if chosen is None or chosen.error.measured is None:
        return []
    return _finite([_mark("chosen subnet", objective, chosen.error.measured.mean, chosen.costs)])


def _mark(heading: str, objective: str, error: float, costs: Mapping[str, float]) -> _Mark:
    lines = [f"<b>{style.label(heading)}</b>", f"error {text.quantity('error', error)}"]
    lines += [
        style.label(f"{text.title(n)} {text.quantity(n, value)}") for n, value in costs.items()
    ]
    return _Mark(costs.get(objective, math.inf), error, "<br>".join(lines))


def _finite(marks: Sequence[_Mark]) -> list[_Mark]:
    return [m for m in marks if math.isfinite(m.cost) and math.isfinite(m.error)]


def _floor(marks: Sequence[_Mark], kind: str) -> float:
    """The lowest error that the axis can show."""
    return 0.0 if kind == "linear" else min(mark.error for mark in marks) / 2


def _points(
    name: str, marks: Sequence[_Mark], colour: str, *, size: int, symbol: str = "circle"
) -> go.Scatter:
    return go.Scatter(
        **_data(name, marks),
        mode="markers",
        marker={"color": colour, "size": size, "symbol": symbol},
    )


def _line(name: str, marks: Sequence[_Mark], band: LatencyBand | None) -> go.Scatter:
    spread = [0.0 if band is None else band.estimate(mark.cost).std for mark in marks]
    return go.Scatter(
        **_data(name, marks),
        error_x={"array": spread, "color": style.FAINT, "width": 0, "visible": band is not None},
        mode="lines+markers",
        line={"color": style.MEASURED, "width": 2, "shape": "hv"},
        marker={"size": 8},
    )


def _named(name: str, marks: Sequence[_Mark]) -> go.Scatter:
    headings = [mark.facts.partition("</b>")[0].removeprefix("<b>") for mark in marks]
    return go.Scatter(
        **_data(name, marks),
        mode="markers+text",
        marker={"color": style.NEUTRAL, "size": 11, "symbol": "diamond"},
        text=headings,
        textposition="bottom left",
        textfont={"size": 11},
    )


def _data(name: str, marks: Sequence[_Mark]) -> dict[str, object]:
    return {
        "name": name,
        "x": [mark.cost for mark in marks],
        "y": [mark.error for mark in marks],
        "customdata": [mark.facts for mark in marks],
        "hovertemplate": _HOVER,
        "showlegend": bool(marks),
    }


def _prediction(
    front: Sequence[PredictedPoint], objective: str, *, floor: float
) -> list[go.Scatter]:
    """The traces of the predicted front: a band of one standard deviation, and the front."""
    front = sorted(front, key=lambda point: point.costs[objective])
    costs = [point.costs[objective] for point in front]
    upper = [point.error + point.std for point in front]
    lower = [max(floor, point.error - point.std) for point in front]
    band = go.Scatter(
        name="± one standard deviation",
        x=[*costs, *reversed(costs)],
        y=[*upper, *reversed(lower)],
        fill="toself",
        fillcolor=style.PREDICTED_BAND,
        line={"width": 0},
        hoverinfo="skip",
        legendgroup="predicted",
        showlegend=False,
    )
    line = go.Scatter(
        name="predicted front (± one standard deviation)",
        x=costs,
        y=[point.error for point in front],
        customdata=[point.std for point in front],
        hovertemplate="predicted error %{y:.2f} ± %{customdata:.2f} %<extra></extra>",
        mode="lines",
        line={"color": style.PREDICTED, "width": 1.5, "dash": "dot"},
        legendgroup="predicted",
        showlegend=bool(front),
    )
    return [band, line]


def _zoom(figure: go.Figure, evaluated: Sequence[_Mark], *, top: float) -> None:
    """Limit the axis to errors up to `top`, with a note on how many subnets lie above."""
    figure.update_yaxes(range=[-0.06 * top, top])
    if beyond := sum(mark.error > top for mark in evaluated):
        figure.add_annotation(
            x=1,
            y=1,
            xref="paper",
            yref="paper",
            xanchor="right",
            yanchor="top",
            text=f"{beyond} of {len(evaluated)} evaluated subnets lie above this view",
            showarrow=False,
            font={"size": 11},
        )


def _limit(figure: go.Figure, target: TargetResult, objective: str, *, kind: str) -> None:
    limit = target.limits.get(objective)
    if limit is None:
        return
    figure.add_vline(x=limit, line={"color": style.CHOSEN, "width": 1, "dash": "dash"})
    figure.add_annotation(
        # On a logarithmic axis, plotly places shapes by value but annotations by exponent.
        x=math.log10(limit) if kind == "log" else limit,
        y=0,
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        text=style.label(f"limit {text.quantity(objective, limit)}"),
        showarrow=False,
        font={"size": 11, "color": style.CHOSEN},
    )
