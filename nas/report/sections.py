"""The sections of the report about the whole run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from nas.facts.noise import chance_tau
from nas.report import plots, text
from nas.report.advice import advice
from nas.report.cells import UNKNOWN, error_cell, file_cell
from nas.report.data import FigureOrigin, Origin, ProxyRank, Results, TargetResult
from nas.report.markup import Markup, details, html_of, table, tag
from nas.report.page import Page
from nas.report.subnets import Costs
from nas.report.words import Words
from nas.settings.urls import without_secrets

_COUNTED = ("macs", "bitops", "parameters", "model_bytes", "peak_activation_bytes", "memory_bytes")


_SMALL = (
    "In small: the figures that other samples of the same kind may give, with a confidence of 95 %."
)


def summary(results: Results) -> Markup:
    """The summary section: a few main figures, and one line per target."""
    notes = () if results.table is None else results.table.notes
    told = [*unfinished(results), *notes, *advice(results)]
    parts = [tag("h2", "Summary", id="summary"), *map(_notice, told)]
    return tag("section", [*parts, _tiles(results), _targets_table(results)])


def unfinished(results: Results) -> list[str]:
    """Sentences about the parts of a run that are not done yet; empty for a finished run."""
    sentences = []
    done, budget = len(results.evaluated), results.budget
    if results.training is None and results.table is None:
        sentences.append("This run is unfinished: the supernet is not trained yet.")
    elif budget is not None and done < budget:
        sentences.append(f"This run is unfinished: {done:,} of {budget:,} subnets are evaluated.")
    if not results.targets:
        sentences.append("No target has results yet.")
    return sentences


def _notice(sentence: str) -> Markup:
    return tag("p", sentence, class_="notice")


def _tiles(results: Results) -> Markup:
    space, done = results.space, len(results.evaluated)
    tiles = [
        ("Networks in the space", text.networks(space.networks), f"{space.choices} choices"),
        ("Truly evaluated", f"{done:,}", _budget(results)),
        _made(results),
        ("Targets", str(len(results.targets)), "served by one set of evaluations"),
    ]
    return tag("div", [_tile(*tile) for tile in tiles], class_="tiles")


def _made(results: Results) -> tuple[str, str, str]:
    """The tile about the source of the evaluations: the training, or a table."""
    training, table = results.training, results.table
    if table is not None:
        rows = f"{table.rows:,} rows" if table.rows else "a function"
        return "Looked up in", results.space.name, f"{rows}; nothing was trained"
    if training is None:
        return "Supernet trained in", "not yet", ""
    epochs = f"{text.significant(training.epochs)} epochs, once"
    return "Supernet trained in", text.duration(training.seconds), epochs


def _budget(results: Results) -> str:
    return "" if results.budget is None else f"of a budget of {results.budget:,}"


def _tile(name: str, value: str, note: str) -> Markup:
    lines = [tag("dt", name), tag("dd", value, class_="value"), tag("dd", note, class_="note")]
    return tag("dl", lines, class_="tile")


def _targets_table(results: Results) -> Markup:
    if not results.targets:
        return Markup()
    words = results.words
    figures = [words.title("error"), f"Test {words.shown.name}"]
    header = ["Target", *figures, "Objective", "File", "Costs are"]
    rows = [_target_row(results, target) for target in results.targets]
    shown = table(header, rows, numeric=(1, 2, 3, 4))
    known = any(
        t.chosen and t.chosen.file and t.chosen.file.test_intervals for t in results.targets
    )
    return html_of([shown, tag("p", _SMALL, class_="muted") if known else Markup()])


def _target_row(results: Results, target: TargetResult) -> list[str]:
    name = tag("a", target.name, href=f"#{anchor(target)}")
    origin = tag("span", target.provenance.origin, class_="badge")
    chosen, objective, words = target.chosen, target.objectives[0], results.words
    if chosen is None:
        return [name, "none chosen", "—", words.title(objective), "—", origin]
    file = chosen.file
    size = None if file is None else file.bytes.measured
    return [
        name,
        error_cell(words, chosen.error.measured),
        UNKNOWN if file is None else file_cell(words, file),
        f"{words.title(objective)} {_cost(words, chosen.costs, objective)}",
        text.estimate("model_bytes", size),
        origin,
    ]


def anchor(target: TargetResult) -> str:
    """The HTML id of a target's section."""
    return "target-" + "".join(c if c.isalnum() else f"-{ord(c):x}-" for c in target.name)


def _cost(words: Words, costs: Costs, name: str) -> str:
    return words.quantity(name, costs[name]) if name in costs else "—"


def predictions(results: Results, page: Page) -> Markup:
    """The section about predictions: quality of predicted errors and of every proxy's ranking.

    Empty if there is neither.
    """
    pairs = plots.predicted_errors(results)
    blocks = []
    if pairs:
        caption = (
            f"{len(pairs):,} subnets, each predicted before it was measured; "
            "a perfect prediction lies on the dashed line."
        )
        shown = plots.agreement(results.words, "error", pairs)
        heading = f"Predicted and measured {results.words.error.name}"
        blocks.append(page.figure(heading, shown, caption))
    if results.proxies:
        shown = plots.proxies(results.proxies)
        blocks.append(page.figure("How well each proxy ranked", shown, _judged(results.proxies)))
    if not blocks:
        return Markup()
    return tag(
        "section",
        [tag("h2", "Predictions", id="predictions"), tag("div", blocks, class_="columns")],
    )


def _judged(proxies: Mapping[str, ProxyRank]) -> str:
    """The caption of the ranks of proxies: on how many subnets, and what may be chance."""
    count = min(rank.count for rank in proxies.values())
    chance = chance_tau(count)
    sure = (
        "on so few, no value can be told from chance"
        if chance >= 1
        else f"values up to ± {chance:.2f} may be chance"
    )
    return (
        f"Zero-cost proxies against the measured ranking of {count:,} subnets; 1 agrees wholly, 0 "
        f"says nothing, and {sure}. A thin line holds what other subnets may give, with a "
        "confidence of 95 %."
    )


def training(results: Results, page: Page) -> Markup:
    """The section about the space and the training of its supernet."""
    parts = [tag("h2", "Space and training", id="training"), _space_table(results)]
    if results.training is not None and results.training.curve:
        caption = "One training serves every subnet and every target."
        curve = plots.loss_curve(results.training)
        parts.append(page.figure("Training of the supernet", curve, caption))
    return tag("section", parts)


def _space_table(results: Results) -> Markup:
    header = [f"Space {results.space.name}", "smallest", "median", "largest"]
    rows = [
        [text.title(name), *(text.quantity(name, v) for v in (r.smallest, r.median, r.largest))]
        for name, r in results.space.costs.items()
    ]
    return table(header, rows, numeric=(1, 2, 3)) if rows else Markup()


def origins(results: Results) -> Markup:
    """The section about the origin of every figure on the page, with versions and recipe."""
    rows = [[f.name, tag("span", f.origin, class_="badge"), f.note] for f in _figures(results)]
    versions = [[name, version] for name, version in results.versions.items()]
    recipe = json.dumps(results.recipe, indent=2, ensure_ascii=False, default=dict)
    return tag(
        "section",
        [
            tag("h2", "How every figure came about", id="origins"),
            table(["Figure", "Origin", "How"], rows),
            tag("h3", "Seed and versions"),
            table(["What", "Value"], [["seed", str(results.seed)], *versions]),
            details("The resolved recipe", tag("pre", without_secrets(recipe))),
        ],
    )


def _figures(results: Results) -> list[FigureOrigin]:
    words = results.words
    error = words.title("error")
    known = [
        FigureOrigin("Number of networks", "counted", "Exact: equal networks are counted once.")
    ]
    if results.table is not None:
        how = " ".join([f"Looked up: {results.table.source or 'a table'}.", *results.table.notes])
        known.append(FigureOrigin(error, "imported", how))
    else:
        how = "Sums over the subnet's operators."
        known.append(FigureOrigin("MACs, BitOPs, model bytes", "counted", how))
    if results.evaluated and results.table is None:
        how = f"The extracted, recalibrated subnet on the validation split; seed {results.seed}."
        known.append(FigureOrigin(error, "measured", how))
    if any(target.predicted_front for target in results.targets):
        how = (
            "Fitted on the subnets measured so far; the spread is such that nine of ten errors lie "
            "within 1.645 of it."
        )
        known.append(FigureOrigin(f"Predicted {words.error.name} and front", "predicted", how))
    if any(target.chosen and target.chosen.file for target in results.targets):
        how = "The exported file on the test split, which the search never saw."
        known.append(FigureOrigin(f"Test {words.shown.name}", "measured", how))
    for target in results.targets:
        priced = [n for n in target.objectives if n not in words.metrics and n not in _COUNTED]
        names = ", ".join(map(words.named, priced))
        if priced:
            known.append(
                FigureOrigin(f"{target.name}: {names}", target.provenance.origin, where(target))
            )
    return [*known, *results.figures]


def origin_of(words: Words, target: TargetResult, cost: str) -> Origin:
    """The origin of a cost: that of the target for all but further metrics and counted costs."""
    if cost in words.metrics:
        return "measured"
    return "counted" if cost in _COUNTED else target.provenance.origin


def where(target: TargetResult) -> str:
    """The known ones of device, runtime and date of a target's costs, in words."""
    p = target.provenance
    known = [p.device, p.runtime, p.date]
    return ", ".join(part for part in known if part) or "No further details are recorded."
