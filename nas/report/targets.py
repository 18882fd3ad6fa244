"""The sections of the report about single targets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from nas.metric import MetricWords
from nas.report import plots, text
from nas.report.data import Chosen, Comparison, ExportedFile, Results, TargetResult
from nas.report.layers import kernel_text
from nas.report.markup import Markup, details, table, tag
from nas.report.page import Page
from nas.report.pareto import pareto, plane
from nas.report.policy_figure import policy
from nas.report.sections import anchor, origin_of, where
from nas.report.selection import reasons, selections


def target_section(results: Results, target: TargetResult, page: Page) -> Markup:
    """The section about one target: the chosen subnet, fronts, predictions, layers."""
    heading = [target.name, " ", tag("span", target.provenance.origin, class_="badge")]
    parts = [
        tag("h2", heading, id=anchor(target)),
        tag("p", where(target), class_="muted"),
        tag("p", statement(target), class_="lead"),
        *_why(results, target),
        *_band(target),
        *(tag("p", note, class_="notice") for note in target.notes),
        _comparison(target),
        *_fronts(results, target, page),
        _growth(target, page),
        *_chosen(results, target, page),
        front_table(target),
    ]
    return tag("section", parts)


def _why(results: Results, target: TargetResult) -> Iterator[Markup]:
    """A paragraph on why the target got its subnet; none where the results do not tell."""
    made = selections(results).get(target.name)
    if made is not None:
        yield tag("p", " ".join(reasons(made)))


def _band(target: TargetResult) -> Iterator[Markup]:
    """A paragraph about the error of predicted latencies; nothing if that is not known."""
    band = target.latency_band
    if band is not None:
        yield tag(
            "p",
            f"Predicted latencies are sums of kernels, calibrated on {band.networks} whole "
            f"networks: half of these were within {band.median:.1%} of their prediction, 90 % "
            f"within {band.tail:.1%}; {band.within_5:.0%} within 5 %, {band.within_10:.0%} within "
            "10 %. Each was left out of the fit that predicted it.",
            class_="muted",
        )


def statement(target: TargetResult) -> str:
    """One sentence about the chosen subnet, or the reason why none is chosen."""
    if target.chosen is None:
        if not target.front:
            return "No subnet is evaluated for this target yet, so there is no front and no choice."
        return f"No subnet is chosen{_within(target)}; the front has {len(target.front)} subnets."
    chosen, objective = target.chosen, target.objectives[0]
    error = text.estimate("error", chosen.error.measured)
    at = text.quantity(objective, chosen.costs[objective]) if objective in chosen.costs else "—"
    return (
        f"The subnet chosen{_within(target)}: {text.title(objective).lower()} {at} "
        f"at {error} validation error."
    )


def _within(target: TargetResult) -> str:
    limits = [f"{text.title(n).lower()} ≤ {text.quantity(n, v)}" for n, v in target.limits.items()]
    return f" within {' and '.join(limits)}" if limits else ""


def _comparison(target: TargetResult) -> Markup:
    """A table of the chosen subnet and the networks for comparison."""
    chosen = target.chosen
    if chosen is None or not target.references:
        return Markup()
    names = [*chosen.costs]
    error = text.estimate("error", chosen.error.measured)
    own = [tag("b", "chosen subnet"), error, *(text.quantity(n, chosen.costs[n]) for n in names)]
    rows: list[list[str]] = [own]
    for reference in target.references:
        cells = [_times(name, reference.costs.get(name), chosen.costs[name]) for name in names]
        rows.append([reference.name, text.quantity("error", reference.error), *cells])
    header = ["Network", "Validation error", *map(text.title, names)]
    return table(header, rows, numeric=range(1, len(header)))


def _times(name: str, value: float | None, chosen: float) -> str:
    """The cost of a network for comparison, and its ratio to that of the chosen subnet."""
    if value is None:
        return "—"
    shown = text.quantity(name, value)
    if not chosen or value in (float("inf"), 0):
        return shown
    return tag(
        "span",
        [shown, tag("small", f" {text.significant(value / chosen, 2)}\N{MULTIPLICATION SIGN}")],
    )


def _fronts(results: Results, target: TargetResult, page: Page) -> Iterator[Markup]:
    if not (target.front or target.predicted_front or target.costs):
        return
    for objective in target.objectives:
        heading = f"Error against {text.title(objective).lower()}"
        dots = (
            "was extracted, recalibrated and measured" if results.table is None else "was looked up"
        )
        caption = (
            f"Every dot is a subnet that {dots}. "
            f"{text.title(objective)} is {origin_of(target, objective)}; errors are on validation."
        )
        if objective == "latency_ms" and target.latency_band is not None:
            caption += " Bars on the measured front: one standard deviation of a prediction."
        yield page.figure(heading, pareto(results, target, objective), caption, wide=True)
    for pair in combinations(target.objectives, 2):
        first, second = (text.title(objective).lower() for objective in pair)
        caption = "The measured front; the darker, the lower the validation error."
        yield page.figure(f"Error over {first} and {second}", plane(target, *pair), caption)


def _growth(target: TargetResult, page: Page) -> Markup:
    blocks = []
    if target.hypervolume:
        corner = ", ".join(text.quantity(n, v) for n, v in target.reference_point.items())
        caption = f"Share of the box that the front dominates; reference point: {corner or 'n/a'}."
        blocks.append(page.figure("Growth of the front", plots.hypervolume(target), caption))
    if target.cost_checks:
        shown = plots.agreement("latency_ms", plots.predicted_costs(target))
        caption = f"{len(target.cost_checks)} subnets run as a whole against their prediction."
        blocks.append(page.figure("Predicted and measured latency", shown, caption))
    return tag("div", blocks, class_="columns") if blocks else Markup()


def _chosen(results: Results, target: TargetResult, page: Page) -> Iterator[Markup]:
    chosen = target.chosen
    if chosen is None:
        return
    rows = [*_facts(chosen, results.shown)]
    yield tag("h3", "The chosen subnet, predicted and measured")
    yield table(["", "predicted", "measured"], rows, numeric=(1, 2))
    for file in chosen.files:
        yield tag("p", _file_line(file), class_="muted")
    if len(chosen.files) > 1:
        yield details("Every exported form", _forms_table(chosen, results.shown))
    if not chosen.layers:
        return
    caption = (
        "Bar height: output channels; number above: kernel; colour: bits. "
        "Below: bits of weights and activations, and each layer's share of MACs."
    )
    yield page.figure("The policy, layer by layer", policy(chosen.layers), caption, wide=True)
    yield details("Layers as a table", _layer_table(chosen))


def _facts(chosen: Chosen, words: MetricWords) -> Iterator[list[str]]:
    yield _compared("error", "Validation error", chosen.error)
    if chosen.latency_ms is not None:
        yield _compared("latency_ms", "Latency", chosen.latency_ms)
    file = chosen.file
    if file is None:
        return
    yield _compared("model_bytes", "File size", file.bytes)
    if file.test_error is not None:
        yield [f"Test {words.name} of the exported file", "—", words.text(file.test_error)]
    if file.output_difference is not None:
        shown = text.significant(file.output_difference)
        yield ["Largest difference of outputs to the extracted subnet", "—", shown]


def _compared(name: str, heading: str, pair: Comparison) -> list[str]:
    return [heading, text.estimate(name, pair.predicted), text.estimate(name, pair.measured)]


def _file_line(file: ExportedFile) -> list[str]:
    counts = ", ".join(f"{count} {kind}" for kind, count in file.nodes.items())
    return ["Exported to ", tag("code", file.path), f" ({counts})." if counts else "."]


def _forms_table(chosen: Chosen, words: MetricWords) -> Markup:
    header = ["Form", "File", "Size, predicted", "Size", f"Test {words.name}", "Largest difference"]
    rows = [
        [
            file.form,
            tag("code", file.path),
            text.estimate("model_bytes", file.bytes.predicted),
            text.estimate("model_bytes", file.bytes.measured),
            "—" if file.test_error is None else words.text(file.test_error),
            "—" if file.output_difference is None else text.significant(file.output_difference),
        ]
        for file in chosen.files
    ]
    return table(header, rows, numeric=(2, 3, 4, 5))


def _layer_table(chosen: Chosen) -> Markup:
    header = ["Layer", "Operator", "Channels", "Kernel", "Weight bits", "Activation bits", "MACs"]
    rows = [
        [
            layer.address,
            layer.operator,
            str(layer.width),
            kernel_text(layer) or "—",
            text.bits(layer.weight_bits),
            text.bits(layer.activation_bits),
            text.quantity("macs", layer.macs),
        ]
        for layer in chosen.layers
    ]
    return table(header, rows, numeric=range(2, 7))


def front_table(target: TargetResult) -> Markup:
    """A table of the measured front: errors, costs, and latencies of subnets run as a whole."""
    if not target.front:
        return Markup()
    known = dict.fromkeys(name for point in target.front for name in point.costs)
    names = sorted(known, key=lambda name: name not in target.objectives)  # objectives first
    measured = target.measured_latency_ms
    rows = [
        [
            text.quantity("error", point.error),
            *([text.estimate("latency_ms", measured.get(point.genotype))] if measured else []),
            *(_cost(target, name, point.costs.get(name)) for name in names),
        ]
        for point in target.front
    ]
    column = ["Latency, measured"] if measured else []
    header = ["Validation error", *column, *map(text.title, names)]
    shown = table(header, rows, numeric=range(len(header)))
    return details(f"The measured front as a table ({len(rows)} subnets)", shown)


def _cost(target: TargetResult, name: str, value: float | None) -> str:
    """A cost as text; a predicted latency with its standard deviation, if that is known."""
    if value is None:
        return "—"
    if name == "latency_ms" and target.latency_band is not None:
        return text.estimate(name, target.latency_band.estimate(value))
    return text.quantity(name, value)
