"""The smaller figures of a report: hypervolume, predictions, proxies and the training loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from nas.facts.noise import tau_interval
from nas.report import style
from nas.report.data import ProxyRank, Results, TargetResult, TrainingSummary
from nas.report.estimates import Estimate
from nas.report.view import View
from nas.report.words import Words

Pair = tuple[Estimate, Estimate]
_LABEL = 0.3  # the room for the figure beside a bar, in units of Kendall's tau


def hypervolume(target: TargetResult) -> go.Figure:
    """The figure of the hypervolume, as a share of the reference box, over the evaluations."""
    figure = style.figure(height=340, showlegend=False, margin={"l": 64, "r": 24, "t": 36, "b": 56})
    figure.add_trace(
        go.Scatter(
            name="hypervolume",
            x=[point.evaluations for point in target.hypervolume],
            y=[point.share for point in target.hypervolume],
            mode="lines",
            line={"color": style.MEASURED, "width": 2, "shape": "hv"},
            hovertemplate="%{y:.4f} after %{x} evaluations<extra></extra>",
        )
    )
    figure.update_xaxes(title="True evaluations", rangemode="tozero")
    figure.update_yaxes(title="Hypervolume (share of the box)", tickformat="~g")
    return figure


def predicted_errors(results: Results) -> list[Pair]:
    """The predicted and the measured error of every subnet that has a prediction."""
    return [
        (point.predicted, Estimate(point.metrics["error"]))
        for point in results.evaluated
        if point.predicted is not None and math.isfinite(point.metrics.get("error", math.nan))
    ]


def predicted_costs(target: TargetResult) -> list[Pair]:
    """The predicted and the measured latency in ms of the checked subnets of the front."""
    band = target.latency_band
    return [
        (Estimate(c.predicted) if band is None else band.estimate(c.predicted), c.measured)
        for c in target.cost_checks
    ]


def agreement(words: Words, name: str, pairs: Sequence[Pair]) -> go.Figure:
    """The figure of measured against predicted values, with the diagonal of equal values.

    Args:
        words: The words of errors and costs.
        name: The name of the cost or error.
        pairs: The predicted and the measured value of each subnet.
    """
    predicted, measured = [p.mean for p, _ in pairs], [m.mean for _, m in pairs]
    both = [*predicted, *measured]
    view = View.on(both)
    ends = [view.low, view.high]
    figure = style.figure(height=340, showlegend=False, margin={"l": 64, "r": 24, "t": 36, "b": 56})
    figure.add_trace(
        go.Scatter(
            name="equal",
            x=ends,
            y=ends,
            mode="lines",
            line={"color": style.NEUTRAL, "width": 1, "dash": "dash"},
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        go.Scatter(
            name="subnets",
            x=predicted,
            y=measured,
            error_x=_bars([p for p, _ in pairs]),
            error_y=_bars([m for _, m in pairs]),
            mode="markers",
            marker={"color": style.MEASURED, "size": 7, "opacity": 0.75},
            hovertemplate="predicted %{x:.4~g}<br>measured %{y:.4~g}<extra></extra>",
        )
    )
    title = style.label(words.axis(name))
    figure.update_xaxes(title=f"Predicted: {title}", **style.scale(view, name))
    figure.update_yaxes(title=f"Measured: {title}", **style.scale(view, name))
    return figure


def _bars(estimates: Sequence[Estimate]) -> dict[str, object]:
    return {
        "array": [estimate.std or 0.0 for estimate in estimates],
        "color": style.FAINT,
        "thickness": 1,
        "width": 0,
        "visible": any(estimate.std for estimate in estimates),
    }


def proxies(ranks: Mapping[str, ProxyRank]) -> go.Figure:
    """The figure of Kendall's tau of every proxy with its interval, the best at the top."""
    ordered = sorted(ranks.items(), key=lambda item: item[1].tau)
    taus = [rank.tau for _, rank in ordered]
    ends = [tau_interval(rank.tau, rank.count) for _, rank in ordered]
    height = 92 + 26 * len(ordered)
    figure = style.figure(
        height=height, showlegend=False, margin={"l": 24, "r": 48, "t": 36, "b": 56}
    )
    figure.add_trace(
        go.Bar(
            name="Kendall tau",
            y=[style.label(name) for name, _ in ordered],
            x=taus,
            customdata=[
                f"{low:.2f} to {high:.2f}, {rank.count} subnets, {rank.direction} is better"
                for (_, rank), (low, high) in zip(ordered, ends, strict=True)
            ],
            error_x=_lines(taus, ends),
            hovertemplate="%{y}: %{x:.3f}<br>%{customdata}<extra></extra>",
            orientation="h",
            marker={"color": [style.MEASURED if tau > 0 else style.NEUTRAL for tau in taus]},
        )
    )
    figure.add_trace(  # at the right of every interval, since names stand at the left
        go.Scatter(
            name="figures",
            y=[style.label(name) for name, _ in ordered],
            x=[max(0.0, high) for _, high in ends],
            text=[f" {tau:.2f}" for tau in taus],
            mode="text",
            textposition="middle right",
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(
        title="Kendall tau",
        range=[min([0.0, *(low - 0.05 for low, _ in ends)]), 1 + _LABEL],
    )
    figure.update_yaxes(automargin=True)
    return figure


def _lines(taus: Sequence[float], ends: Sequence[tuple[float, float]]) -> dict[str, object]:
    """The intervals as thin lines through the ends of bars."""
    return {
        "array": [high - tau for tau, (_, high) in zip(taus, ends, strict=True)],
        "arrayminus": [tau - low for tau, (low, _) in zip(taus, ends, strict=True)],
        "color": style.FAINT,
        "thickness": 1,
        "width": 0,
    }


def loss_curve(training: TrainingSummary) -> go.Figure:
    """The figure of the training loss over the epochs, one line per phase."""
    figure = style.figure(height=300)
    phases = [*dict.fromkeys(point.phase for point in training.curve)]
    for position, phase in enumerate(phases):
        points = [point for point in training.curve if point.phase == phase]
        figure.add_trace(
            go.Scatter(
                name=style.label(phase),
                x=[point.epoch for point in points],
                y=[point.loss for point in points],
                mode="lines",
                line={"color": style.PHASES[position % len(style.PHASES)], "width": 2},
                hovertemplate="epoch %{x:.4~g}: loss %{y:.4~g}<extra></extra>",
            )
        )
    view = View.on([p.loss for p in training.curve if math.isfinite(p.loss)])
    figure.update_xaxes(title="Epoch")
    figure.update_yaxes(title="Training loss", **style.scale(view, "loss"))
    return figure
