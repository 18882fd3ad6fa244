"""The check of an exported file against its network: bit-widths, nodes and computed numbers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.export.containers import ExportError
from nas.export.form import Exporter, Held, HeldPrecision, Opened
from nas.export.forms import form_of
from nas.export.raw import raw_of, reading_raw, scaled_answers
from nas.export.statement import policy_json
from nas.export.stored_bits import bits_for
from nas.facts.noise import Interval, interval_of, resampled
from nas.facts.usage import Usage
from nas.targets.saturation import SaturationWarning, processor_saturates
from nas.tasks.criterion import Criterion, Metric
from search_spaces.documents import Source, parse_json
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.deployed import Deployed
from supernets.encoded import EncodedTensor
from supernets.inputs import Inputs, batches, count, inputs_of


@dataclass(frozen=True)
class Verification:
    """The comparison of an exported file with its network on a set of samples.

    Errors are mean losses of the criterion; `metrics` are the losses of its further metrics for the
    file, and `intervals` the intervals of both for the file, `error` among them, where these can be
    told. `largest_difference` is the largest difference of outputs, `agreement` the percentage of
    equal answers (None where the criterion has no answers to compare), `nodes` the number of nodes
    of the file by type.
    """

    samples: int
    network_error: float
    file_error: float
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    largest_difference: float
    agreement: float | None
    nodes: Mapping[str, int]
    policy: Mapping[str, HeldPrecision]


def verify(
    path: str | Path,
    deployed: Deployed,
    inputs: Inputs | Tensor,
    targets: Tensor,
    *,
    criterion: Criterion,
    raw: Usage | None = None,
    batch_size: int = 256,
) -> Verification:
    """Check the precisions and nodes of an exported file, and run the file beside `deployed`.

    Warning:
        For a folder of the form `torch`, its `model.py` is run. For a `.pt2` file,
        `torch.export.load` unpickles parts of the file. Both can run any code of their author:
        verify only files that you exported yourself.

    Args:
        path: The exported file, whose suffix tells the form.
        deployed: The network from which the file was made.
        inputs: The inputs by name; one tensor for a network with one input.
        targets: The targets of these samples, `(n, ...)`.
        criterion: The criterion by which the outputs are judged.
        raw: The usage of the network, if the file was made by `nas.export.raw.reading_raw`: then
            the file reads the raw data of the inputs, and its raw answers are scaled back.
        batch_size: The number of samples per run.

    Warns:
        SaturationWarning: If sums of the file may overflow on this processor.

    Raises:
        ExportError: If the file cannot be run, or its bits or nodes do not match the policy.
    """
    opened = _checked(path, reading_raw(deployed, raw))
    named = inputs_of(deployed.graph, inputs)
    parts = [*batches(named, batch_size)]
    ours = torch.cat([*_network_outputs(deployed, parts)])
    answers = [torch.from_numpy(opened.run(raw_of(part, raw))) for part in parts]
    theirs = scaled_answers(torch.cat(answers), raw)
    return Verification(
        count(named),
        _error(criterion, ours, targets),
        _error(criterion, theirs, targets),
        {n: metric.compute(theirs, targets) for n, metric in criterion.further.items()},
        _intervals(criterion, theirs, targets),
        float((ours - theirs).abs().max()),
        criterion.agreement(theirs, ours),
        opened.nodes,
        opened.policy,
    )


def _checked(path: str | Path, deployed: Deployed) -> Opened:
    """The opened file, whose precisions, statement and nodes are those of the network."""
    form = form_of(path)
    opened = form.open(Path(path), deployed.graph)
    if opened.saturable and processor_saturates():
        warnings.warn(_cut_off(path, opened), SaturationWarning, stacklevel=3)
    check_policy(opened.policy, deployed, form)
    _check_statement(path, opened, deployed)
    _check_counts(opened, deployed, form)
    return opened


def _cut_off(path: str | Path, opened: Opened) -> str:
    return (
        f"{path} holds signed 8-bit weights at {', '.join(opened.saturable)}, and this processor "
        "has no VNNI and cuts off sums of their products; export it as onnx for a target whose "
        "eight_bit_weights are 'unsigned', or give these layers 7 bits"
    )


def _error(criterion: Criterion, out: Tensor, targets: Tensor) -> float:
    return float(criterion.losses(out, targets).double().mean())


def _intervals(criterion: Criterion, out: Tensor, targets: Tensor) -> dict[str, Interval]:
    """The intervals of the error and of all further metrics that have one, by name."""

    def of(metric: Metric) -> Interval | None:
        if metric.each is not None:
            return interval_of(metric.each(out, targets).cpu().numpy())

        def figure(rows: NDArray[np.int64]) -> float:
            return metric.compute(out[rows], targets[rows])

        return resampled(figure, tuple(out.shape))

    found = {"error": interval_of(criterion.losses(out, targets).cpu().numpy())}
    found |= {name: of(metric) for name, metric in criterion.further.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def _network_outputs(deployed: Deployed, parts: Iterable[Inputs]) -> Iterator[Tensor]:
    module = deployed.module().eval()
    with torch.no_grad():
        for part in parts:
            yield module(**part)


def check_policy(held: Mapping[str, HeldPrecision], deployed: Deployed, form: Exporter) -> None:
    """Raise `ExportError` if the precisions in a file differ from those of `deployed`."""
    for address, node in deployed.graph.nodes.items():
        weight = deployed.weight(address)
        if weight is None and node.op.activation is None:
            continue
        if address not in held:
            raise ExportError(f"the file has no node {address!r}; export the network again")
        integer = weight if isinstance(weight, EncodedTensor) else None
        _check_weight(address, held[address].weight, integer, form)
        for slot, found in enumerate(held[address].activations):
            scale = deployed.inputs.get((address, slot))
            _check_activation(f"{address}, input {slot}", found, scale and scale.quant, form)


def _check_weight(
    where: str, found: Held | None, tensor: EncodedTensor | None, form: Exporter
) -> None:
    if tensor is None or found is None:
        if (tensor is None) != (found is None):
            raise _mismatch(where, "weight", found, tensor and tensor.quant)
        return
    quant, symmetric = tensor.quant, tensor.quant.format.symmetric
    # Codes may happen to need fewer bits than the policy has; file and network must need the same.
    integers = isinstance(quant.format, Int)
    needed = bits_for(tensor.codes, symmetric=symmetric) if integers else quant.bits
    wanted = Held(needed, symmetric, form.container(quant), tensor.scale.size)
    if found != wanted or needed > quant.bits:
        raise _mismatch(where, "weight", found, quant)


def _check_activation(where: str, found: Held | None, quant: Quant | None, form: Exporter) -> None:
    wanted = None if quant is None else (quant.bits, quant.format.symmetric, 1)
    unlike = wanted != (found and (found.bits, found.symmetric, found.scales))
    if quant is not None and found is not None and not isinstance(quant.format, Int):
        unlike |= found.container != form.container(quant)
    if unlike:
        raise _mismatch(where, "activation", found, quant)


def _mismatch(where: str, what: str, found: Held | None, wanted: Quant | None) -> ExportError:
    return ExportError(
        f"the {what} at {where} is {found or 'in full precision'} in the file, its policy says "
        f"{wanted or 'full precision'}; export the network again"
    )


def _check_statement(path: str | Path, opened: Opened, deployed: Deployed) -> None:
    """Raise `ExportError` if the policy in a file's metadata differs from that of `deployed`."""
    source = Source(f"the policy in {path}", "export it again")
    stated = parse_json(opened.metadata.get("policy", "null"), source)
    if stated != json.loads(policy_json(deployed.graph)):
        raise ExportError(f"{path} states another policy than it was exported with; export again")


def _check_counts(opened: Opened, deployed: Deployed, form: Exporter) -> None:
    """Raise `ExportError` if the number of operators or quantizers differs from the policy's."""
    graph = deployed.graph
    readings = {
        (_past_views(graph, graph.nodes[address].inputs[slot]), scale)
        for (address, slot), scale in deployed.inputs.items()
    }
    quantizers = len(readings) if form.shares_quantizers else len(deployed.inputs)
    for what, found, wanted in (
        (
            "operators with a weight",
            opened.weighted,
            sum("weight" in held for held in deployed.parameters.values()),
        ),
        ("quantizers", opened.quantizers, quantizers),
    ):
        if found != wanted:
            raise ExportError(
                f"the file has {found} {what}, its policy needs {wanted}; export the network again"
            )


def _past_views(graph: Graph, address: str) -> str:
    """The node that computes the numbers read at `address`, before any views."""
    while graph.nodes[address].op.is_view:
        (address,) = graph.nodes[address].inputs
    return address
