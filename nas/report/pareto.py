"""The main figure of a report: measured and predicted Pareto front, and the chosen subnet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go

from nas.facts.noise import Interval
from nas.problem.front import nondominated
from nas.report import style, text
from nas.report.data import Results, TargetResult
from nas.report.estimates import Estimate, LatencyBand
from nas.report.subnets import PredictedPoint
from nas.report.view import View, outside
from nas.report.words import Words

_HOVER = "%{customdata}<extra></extra>"
_SPREAD = 4.0  # costs that differ by more than this factor are drawn on a logarithmic axis
_FAR = 8.0  # times the largest cost of the front: the cost from which a reference is outside
_NEAR = 2.0  # times the costs: up to there, a limit is inside
_SYMBOLS = ("diamond", "square", "triangle-up", "pentagon", "hexagon", "cross")


@dataclass(frozen=True)
class _Mark:
    """One subnet in the plane of a cost and the error.

    Attributes:
        heading: The name of the mark, as plain text.
        cost: The cost.
        error: The validation error.
        x: The number that stands for the cost on the axis.
        facts: The HTML that is shown when the pointer is on the mark.
        interval: The interval of the error, for the chosen subnet.
    """

    heading: str
    cost: float
    error: float
    x: float
    facts: str
    interval: Interval | None = None


@dataclass(frozen=True)
class Drawn:
    """A figure, and a sentence on what lies outside of its view; empty if all is inside."""

    figure: go.Figure
    aside: str


def pareto(results: Results, target: TargetResult, objective: str) -> Drawn:
    """The figure of the validation error against one cost, for one target.

    From back to front, it shows the evaluated subnets, the predicted front with a band of one
    standard deviation, the measured front, the networks for comparison, the chosen subnet and the
    limit on the cost. The fronts fill the view; what lies far from them is told in the sentence.
    """
    words = results.words
    evaluated = _evaluated(results, target, objective)
    front = staircase(_front(words, target, objective))
    references = _references(words, target, objective)
    chosen = _chosen(words, target, objective)
    predicted = [p for p in target.predicted_front if math.isfinite(p.costs.get(objective, np.inf))]
    far = _far(references, [*front, *chosen])
    near = [mark for mark in references if mark not in far]
    limit = _near_limit(words, target, objective, [*front, *chosen, *near])
    across, up = _views(words, objective, [*front, *chosen, *near], predicted, also=limit)

    figure = style.figure(height=480)
    figure.add_trace(_points("evaluated subnets", evaluated, style.FAINT, size=6))
    for trace in _prediction(words, predicted, objective, floor=up.low):
        figure.add_trace(trace)
    band = target.latency_band if objective == "latency_ms" else None
    figure.add_trace(_line("measured front", front, band))
    for place, reference in enumerate(references):
        figure.add_trace(_reference(reference, _SYMBOLS[place % len(_SYMBOLS)]))
    star = _points("chosen subnet", chosen, style.CHOSEN, size=17, symbol="star")
    figure.add_trace(star.update(error_y=_reach(chosen)))
    figure.update_xaxes(**style.axis(words, objective, across))
    figure.update_yaxes(**style.axis(words, "error", up))
    _limit(figure, words, target, objective, view=across)
    beyond = outside(((mark.x, mark.error) for mark in evaluated), across, up)
    return Drawn(figure, _aside(words, objective, beyond, far))


def _far(references: Sequence[_Mark], near: Sequence[_Mark]) -> list[_Mark]:
    """The networks for comparison that cost so much more that they would squeeze the fronts."""
    most = max((mark.cost for mark in near), default=math.inf)
    return [mark for mark in references if mark.cost > _FAR * most]


def _views(
    words: Words,
    objective: str,
    marks: Sequence[_Mark],
    predicted: Sequence[PredictedPoint],
    *,
    also: Sequence[float],
) -> tuple[View, View]:
    """The ranges of both axes, filled by marks, predicted front and the costs `also` to be seen."""
    places = [*(mark.x for mark in marks), *_places(words, objective, predicted), *also]
    errors = [*(mark.error for mark in marks), *(point.error for point in predicted)]
    return View.on(places, log_from=_SPREAD), View.on(errors)


def _near_limit(
    words: Words, target: TargetResult, objective: str, marks: Sequence[_Mark]
) -> list[float]:
    """The place of the limit on the cost, if there is one that is not far from the marks."""
    if objective not in target.limits or not marks:
        return []
    limit = words.value(objective, target.limits[objective])
    costs = [mark.x for mark in marks]
    return [limit] if min(costs) <= _NEAR * limit and limit <= _NEAR * max(costs) else []


def _aside(words: Words, objective: str, beyond: int, far: Sequence[_Mark]) -> str:
    """A sentence on what lies outside of the view; empty if there is nothing."""
    count = [f"{beyond:,} evaluated subnet{'s' * (beyond > 1)}"] if beyond else []
    networks = (
        f"{mark.heading} ({words.quantity(objective, mark.cost)}, "
        f"{words.quantity('error', mark.error)})"
        for mark in far
    )
    missing = [*count, *networks]
    lies = "lie" if beyond > 1 or len(missing) > 1 else "lies"
    return f"Outside of this view {lies} {text.listed(missing)}." if missing else ""


def plane(words: Words, target: TargetResult, first: str, second: str) -> go.Figure:
    """The figure of a measured front of three objectives: costs as axes, the error as colour."""
    points = [p for p in target.front if math.isfinite(p.costs[first] + p.costs[second])]
    heading = "on the measured front"
    marks = [_mark(words, heading, first, point.error, point.costs) for point in points]
    axes = [[words.value(name, p.costs[name]) for p in points] for name in (first, second)]
    views = [View.on(values, log_from=_SPREAD) for values in axes]
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
                "colorbar": {"title": style.label(words.axis("error")), "thickness": 14},
                "size": 11,
                "line": {"color": style.NEUTRAL, "width": 1},
            },
            customdata=[mark.facts for mark in marks],
            hovertemplate=_HOVER,
        )
    )
    figure.update_xaxes(**style.axis(words, first, views[0]))
    figure.update_yaxes(**style.axis(words, second, views[1]))
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
        heading = f"evaluation {point.order}"
        marks.append(_mark(results.words, heading, objective, error, known))
    return _finite(marks)


def _front(words: Words, target: TargetResult, objective: str) -> list[_Mark]:
    heading = "on the measured front"
    return _finite([_mark(words, heading, objective, p.error, p.costs) for p in target.front])


def _references(words: Words, target: TargetResult, objective: str) -> list[_Mark]:
    named = {one.name: "no candidate: " * bool(one.objection) for one in target.references}
    marks = [
        _mark(words, f"{named[one.name]}{one.name}", objective, one.error, one.costs)
        for one in target.references
    ]
    return _finite(marks)


def _chosen(words: Words, target: TargetResult, objective: str) -> list[_Mark]:
    chosen = target.chosen
    if chosen is None or chosen.error.measured is None:
        return []
    error = chosen.error.measured
    mark = _mark(words, "chosen subnet", objective, error.mean, chosen.costs)
    return _finite([replace(mark, interval=error.interval)])


def _mark(
    words: Words, heading: str, objective: str, error: float, costs: Mapping[str, float]
) -> _Mark:
    figures = {"error": error, **costs}
    told = [style.label(f"{words.title(n)} {words.quantity(n, v)}") for n, v in figures.items()]
    cost = costs.get(objective, math.inf)
    facts = "<br>".join([f"<b>{style.label(heading)}</b>", *told])
    return _Mark(heading, cost, error, words.value(objective, cost), facts)


def _finite(marks: Sequence[_Mark]) -> list[_Mark]:
    return [m for m in marks if math.isfinite(m.cost) and math.isfinite(m.error)]


def _places(words: Words, objective: str, front: Sequence[PredictedPoint]) -> list[float]:
    return [words.value(objective, point.costs[objective]) for point in front]


def _points(
    name: str, marks: Sequence[_Mark], colour: str, *, size: int, symbol: str = "circle"
) -> go.Scatter:
    return go.Scatter(
        **_data(name, marks),
        mode="markers",
        marker={"color": colour, "size": size, "symbol": symbol},
    )


def _reach(marks: Sequence[_Mark]) -> dict[str, object]:
    """The settings of upright bars over the intervals of the marks' errors."""
    known = [mark for mark in marks if mark.interval is not None]
    return {
        "array": [mark.interval.high - mark.error for mark in known if mark.interval],
        "arrayminus": [mark.error - mark.interval.low for mark in known if mark.interval],
        "color": style.CHOSEN,
        "thickness": 1,
        "width": 4,
        "visible": bool(known),
    }


def _line(name: str, marks: Sequence[_Mark], band: LatencyBand | None) -> go.Scatter:
    spread = [0.0 if band is None else band.estimate(mark.cost).std for mark in marks]
    return go.Scatter(
        **_data(name, marks),
        error_x={"array": spread, "color": style.FAINT, "width": 0, "visible": band is not None},
        mode="lines+markers",
        line={"color": style.MEASURED, "width": 2, "shape": "hv"},
        marker={"size": 8},
    )


def _reference(mark: _Mark, symbol: str) -> go.Scatter:
    """A network for comparison; its name is in the legend, where names never overlap."""
    return _points(style.label(mark.heading), [mark], style.NEUTRAL, size=11, symbol=symbol)


def _data(name: str, marks: Sequence[_Mark]) -> dict[str, object]:
    return {
        "name": name,
        "x": [mark.x for mark in marks],
        "y": [mark.error for mark in marks],
        "customdata": [mark.facts for mark in marks],
        "hovertemplate": _HOVER,
        "showlegend": bool(marks),
    }


def _prediction(
    words: Words, front: Sequence[PredictedPoint], objective: str, *, floor: float
) -> list[go.Scatter]:
    """The traces of the predicted front: a band of one standard deviation, and the front."""
    front = sorted(front, key=lambda point: point.costs[objective])
    costs = _places(words, objective, front)
    upper = [point.error + point.std for point in front]
    lower = [max(floor, point.error - point.std) for point in front]
    band = go.Scatter(
        name="± one standard deviation",
        x=[*costs, *reversed(costs)],
        y=[*upper, *reversed(lower)],
        mode="lines",
        fill="toself",
        fillcolor=style.PREDICTED_BAND,
        line={"width": 0},
        hoverinfo="skip",
        legendgroup="predicted",
        showlegend=False,
    )
    line = go.Scatter(
        name="predicted front",
        x=costs,
        y=[point.error for point in front],
        customdata=[style.label(words.estimate("error", Estimate(p.error, p.std))) for p in front],
        hovertemplate="predicted: %{customdata}<extra></extra>",
        mode="lines",
        line={"color": style.PREDICTED, "width": 1.5, "dash": "dot"},
        legendgroup="predicted",
        showlegend=bool(front),
    )
    return [band, line]


def _limit(
    figure: go.Figure, words: Words, target: TargetResult, objective: str, *, view: View
) -> None:
    """A line at the limit on the cost, if there is one and it lies in the view."""
    loss = target.limits.get(objective)
    limit = None if loss is None else words.value(objective, loss)
    if loss is None or limit is None or not view.holds(limit):
        return
    figure.add_vline(x=limit, line={"color": style.CHOSEN, "width": 1, "dash": "dash"})
    left = limit - view.low > view.high - limit  # of the line is more room
    figure.add_annotation(
        # On a logarithmic axis, plotly places shapes by value but annotations by exponent.
        x=math.log10(limit) if view.kind == "log" else limit,
        y=0,
        yref="paper",
        xanchor="right" if left else "left",
        yanchor="bottom",
        text=style.label(f"limit {words.quantity(objective, loss)}"),
        showarrow=False,
        font={"size": 11, "color": style.CHOSEN},
    )
