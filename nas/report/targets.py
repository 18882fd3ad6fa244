"""The sections of the report about single targets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from nas.facts.noise import CHANCE
from nas.report import plots, text
from nas.report.advice import doubts
from nas.report.cells import error_cell, estimate_cell
from nas.report.chosen_subnet import chosen_subnet
from nas.report.data import Results, TargetResult
from nas.report.estimates import Estimate
from nas.report.markup import Markup, details, table, tag
from nas.report.page import Page
from nas.report.pareto import pareto, plane
from nas.report.sections import anchor, origin_of, where
from nas.report.selection import reasons, selections
from nas.report.subnets import FrontPoint, Reference
from nas.report.words import Words
from nas.targets.rules import MEMORIES


def target_section(results: Results, target: TargetResult, page: Page) -> Markup:
    """The section about one target: the chosen subnet, fronts, predictions, layers."""
    heading = [target.name, " ", tag("span", target.provenance.origin, class_="badge")]
    parts = [
        tag("h2", heading, id=anchor(target)),
        tag("p", where(target), class_="muted"),
        tag("p", statement(results.words, target), class_="lead"),
        *_why(results, target),
        *_memory(target),
        *_band(target),
        *(
            tag("p", note, class_="notice")
            for note in (*target.notes, *doubts(results.words, target))
        ),
        _comparison(results.words, target),
        *_fronts(results, target, page),
        _growth(results.words, target, page),
        *chosen_subnet(results.words, target, page),
        front_table(results.words, target),
    ]
    return tag("section", parts)


def _why(results: Results, target: TargetResult) -> Iterator[Markup]:
    """A paragraph on why the target got its subnet; none where the results do not tell."""
    made = selections(results).get(target.name)
    if made is not None:
        yield tag("p", " ".join(reasons(made)))


def _memory(target: TargetResult) -> Iterator[Markup]:
    """A sentence about the memories of the device; nothing for a device without limits."""
    takes = {} if target.chosen is None else target.chosen.costs
    told: list[str] = []
    for name, held in target.memory.items():
        told.append(f"{text.quantity(name, held)} of {MEMORIES[name]}")
        if name in takes:
            told[-1] += f", of which the chosen subnet takes {text.quantity(name, takes[name])}"
    if told:
        yield tag("p", f"The device has {'; and '.join(told)}.")


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


def statement(words: Words, target: TargetResult) -> str:
    """One sentence about the chosen subnet, or the reason why none is chosen."""
    if target.chosen is None:
        if not target.front:
            return "No subnet is evaluated for this target yet, so there is no front and no choice."
        count, within = len(target.front), _within(words, target)
        return f"No subnet is chosen{within}; the front has {count} subnets."
    chosen, objective = target.chosen, target.objectives[0]
    error = words.estimate("error", chosen.error.measured)
    at = words.quantity(objective, chosen.costs[objective]) if objective in chosen.costs else "—"
    return (
        f"The subnet chosen{_within(words, target)}: {words.named(objective)} {at} "
        f"at a {words.named('error')} of {error}."
    )


def _within(words: Words, target: TargetResult) -> str:
    limits = [words.limit(name, value) for name, value in target.limits.items()]
    return f" within {' and '.join(limits)}" if limits else ""


def _comparison(words: Words, target: TargetResult) -> Markup:
    """A table of the chosen subnet and the networks for comparison."""
    chosen = target.chosen
    if chosen is None or not target.references:
        return Markup()
    names = [*chosen.costs]
    error = error_cell(words, chosen.error.measured)
    own = [tag("b", "chosen subnet"), error, *(words.quantity(n, chosen.costs[n]) for n in names)]
    rows: list[list[str]] = [own]
    for reference in target.references:
        cells = [_times(name, reference.costs.get(name), chosen.costs[name]) for name in names]
        error = Estimate(reference.error, interval=reference.interval)
        rows.append([_named(reference), error_cell(words, error), *cells])
    header = ["Network", *map(words.title, ["error", *names])]
    return table(header, rows, numeric=range(1, len(header)))


def _named(reference: Reference) -> str:
    """The name of a network for comparison, with what the device has against the network."""
    if not reference.objection:
        return reference.name
    return tag("span", [reference.name, tag("small", f" no candidate: {reference.objection}")])


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
    words = results.words
    error = text.capital(words.error.name)
    for objective in target.objectives:
        heading = f"{error} against {words.named(objective)}"
        dots = (
            "was extracted, recalibrated and measured" if results.table is None else "was looked up"
        )
        caption = (
            f"Every dot is a subnet that {dots}. {words.title(objective)} is "
            f"{origin_of(words, target, objective)}; errors are on validation."
        )
        if target.predicted_front:
            caption += " The band is one standard deviation of a predicted error."
        measured = target.chosen and target.chosen.error.measured
        if measured and measured.interval:
            caption += (
                " The upright bar is the range of the chosen subnet for other samples; subnets are "
                "compared on the same ones, so smaller differences may be real."
            )
        if objective == "latency_ms" and target.latency_band is not None:
            caption += " Level bars on the measured front: one standard deviation of a prediction."
        drawn = pareto(results, target, objective)
        yield page.figure(heading, drawn.figure, f"{caption} {drawn.aside}".rstrip(), wide=True)
    for pair in combinations(target.objectives, 2):
        first, second = map(words.named, pair)
        caption = f"The measured front; the darker, the lower the {words.named('error')}."
        shown = plane(words, target, *pair)
        yield page.figure(f"{error} over {first} and {second}", shown, caption)


def _growth(words: Words, target: TargetResult, page: Page) -> Markup:
    blocks = []
    if target.hypervolume:
        told = (
            f"{words.named(n)} {words.quantity(n, v)}" for n, v in target.reference_point.items()
        )
        corner = ", ".join(told)
        caption = f"Share of the box that the front dominates; reference point: {corner or 'n/a'}."
        blocks.append(page.figure("Growth of the front", plots.hypervolume(target), caption))
    if target.cost_checks:
        shown = plots.agreement(words, "latency_ms", plots.predicted_costs(target))
        caption = f"{len(target.cost_checks)} subnets run as a whole against their prediction."
        blocks.append(page.figure("Predicted and measured latency", shown, caption))
    return tag("div", blocks, class_="columns") if blocks else Markup()


def front_table(words: Words, target: TargetResult) -> Markup:
    """A table of the measured front: errors, costs, and latencies of subnets run as a whole."""
    if not target.front:
        return Markup()
    known = dict.fromkeys(name for point in target.front for name in point.costs)
    names = sorted(known, key=lambda name: name not in target.objectives)  # objectives first
    measured = target.measured_latency_ms
    tested = any(point.p_value is not None for point in target.front)
    rows = [
        [
            error_cell(words, Estimate(point.error, interval=point.interval)),
            *([_sure(point)] if tested else []),
            *(
                [estimate_cell(words, "latency_ms", measured.get(point.genotype))]
                if measured
                else []
            ),
            *(_cost(words, target, name, point.costs.get(name)) for name in names),
        ]
        for point in target.front
    ]
    column = [*(["Better than the next?"] if tested else [])]
    column += ["Latency, measured"] if measured else []
    header = [words.title("error"), *column, *map(words.title, names)]
    shown = table(header, rows, numeric=range(len(header)))
    return details(f"The measured front as a table ({len(rows)} subnets)", shown)


def _sure(point: FrontPoint) -> str:
    """Whether a member of the front is surely better than that with the next larger error."""
    if point.p_value is None:
        return "—"
    sure = "yes" if point.p_value < CHANCE else "not sure"
    return f"{sure} (p = {text.significant(point.p_value, 2)})"


def _cost(words: Words, target: TargetResult, name: str, value: float | None) -> str:
    """A cost as text; a predicted latency with its standard deviation, if that is known."""
    if value is None:
        return "—"
    if name == "latency_ms" and target.latency_band is not None:
        return estimate_cell(words, name, target.latency_band.estimate(value))
    return words.quantity(name, value)
