"""The part of the report about a chosen subnet: predicted and measured, its files, its layers."""

from __future__ import annotations

from collections.abc import Iterator

from nas.report import text
from nas.report.cells import error_cell, estimate_cell, file_cell
from nas.report.data import TargetResult
from nas.report.estimates import Comparison
from nas.report.graph_figure import drawing
from nas.report.layers import kernel_text
from nas.report.markup import Markup, details, table, tag
from nas.report.page import Page
from nas.report.policy_figure import policy
from nas.report.subnets import Chosen, ExportedFile
from nas.report.words import Words

_MEASURED = (
    "Test figures are those of the exported file, as it was run on the test split; its outputs "
    "are compared with those of the extracted subnet."
)
_LAYER_WIDTH = 22  # pixels, for two digits of bits


def chosen_subnet(words: Words, target: TargetResult, page: Page) -> Iterator[Markup]:
    """The part of a target's section about the chosen subnet; empty without a chosen subnet."""
    chosen = target.chosen
    if chosen is None:
        return
    rows = [*_facts(words, chosen)]
    yield tag("h3", "The chosen subnet, predicted and measured")
    yield table(["", "predicted", "measured"], rows, numeric=(1, 2))
    if chosen.files:
        yield tag("p", _MEASURED, class_="muted")
    for file in chosen.files:
        yield tag("p", _file_line(file), class_="muted")
    if chosen.file is not None and "model_bytes" in chosen.costs:
        yield tag("p", _about_size(target, chosen.costs["model_bytes"]), class_="muted")
    if len(chosen.files) > 1:
        yield details("Every exported form", _forms_table(words, chosen))
    if not chosen.layers:
        return
    caption = (
        "Bar height: output channels; number above: kernel; colour: bits. "
        "Below: bits of weights and activations, and each layer's share of MACs."
    )
    yield page.figure(
        "The policy, layer by layer",
        policy(chosen.layers),
        caption,
        wide=True,
        least_width=_LAYER_WIDTH * len(chosen.layers),
        told=True,
    )
    yield details("Layers as a table", _layer_table(chosen))
    yield drawing(chosen.graph)


def _facts(words: Words, chosen: Chosen) -> Iterator[list[str]]:
    predicted, measured = (
        error_cell(words, e) for e in (chosen.error.predicted, chosen.error.measured)
    )
    yield [words.title("error"), predicted, measured]
    if chosen.latency_ms is not None:
        yield _compared(words, "latency_ms", "Latency", chosen.latency_ms)
    file = chosen.file
    if file is None:
        return
    yield _compared(words, "model_bytes", "File size", file.bytes)
    if file.test_error is not None:
        yield [f"Test {words.shown.name}", "—", file_cell(words, file)]
    for name in file.test_metrics:
        yield [f"Test {words.metrics[name].name}", "—", file_cell(words, file, name)]
    if file.output_difference is not None:
        shown = text.significant(file.output_difference)
        yield ["Largest difference of outputs", "—", shown]


def _about_size(target: TargetResult, model_bytes: float) -> str:
    """Why a file is larger than the model, and which of the two a limit counts."""
    size = text.quantity("model_bytes", model_bytes)
    limit = target.limits.get("model_bytes")
    counted = (
        ""
        if limit is None
        else f" The limit of {text.quantity('model_bytes', limit)} counts this size, not the file."
    )
    return (
        f"The model size of {size} is that of the numbers a device stores: weights at their bits, "
        "scales and biases. The file also holds the graph, names and metadata of its format, and "
        f"some types are wider there.{counted} A device that loads the file itself needs room for "
        "the file; one whose compiler reads it needs about the model size and its own code."
    )


def _compared(words: Words, name: str, heading: str, pair: Comparison) -> list[str]:
    return [heading, *(estimate_cell(words, name, e) for e in (pair.predicted, pair.measured))]


def _file_line(file: ExportedFile) -> list[str]:
    counts = ", ".join(f"{count} {kind}" for kind, count in file.nodes.items())
    return ["Exported to ", tag("code", file.path), f" ({counts})." if counts else "."]


def _forms_table(words: Words, chosen: Chosen) -> Markup:
    tested = f"Test {words.shown.name}"
    header = ["Form", "File", "Size, predicted", "Size", tested, "Largest difference"]
    rows = [
        [
            file.form,
            tag("code", file.path),
            text.estimate("model_bytes", file.bytes.predicted),
            text.estimate("model_bytes", file.bytes.measured),
            "—" if file.test_error is None else words.shown.text(file.test_error),
            "—" if file.output_difference is None else text.significant(file.output_difference),
        ]
        for file in chosen.files
    ]
    return table(header, rows, numeric=(2, 3, 4, 5))


def _layer_table(chosen: Chosen) -> Markup:
    header = ["Layer", "Operator", "Channels", "Kernel", "Weight", "Activation", "MACs"]
    rows = [
        [
            layer.address,
            layer.operator,
            str(layer.width),
            kernel_text(layer) or "—",
            layer.weight,
            layer.activation,
            text.quantity("macs", layer.macs),
        ]
        for layer in chosen.layers
    ]
    return table(header, rows, numeric=range(2, 7))
