"""An exported file held against the network it was made from: bits, nodes, numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.export.containers import ExportError, container_for
from nas.export.onnx import policy_json
from nas.export.policy import (
    WEIGHTED,
    Held,
    HeldPrecision,
    bits_for,
    load,
    policy_of,
    stated_policy,
)
from nas.export.runtime import file_logits
from search_spaces.quant import Quant
from supernets.deploy import Deployed
from supernets.integers import IntegerTensor


@dataclass(frozen=True)
class Verification:
    """How an exported file compares with its network on a set of images.

    Accuracies are percent right, `largest_difference` is in logits, `agreement` is the percent of
    images with the same answer, `nodes` counts the file's nodes by type.
    """

    images: int
    network_accuracy: float
    file_accuracy: float
    largest_difference: float
    agreement: float
    nodes: Mapping[str, int]
    policy: Mapping[str, HeldPrecision]


def verify(
    path: str | Path,
    deployed: Deployed,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int = 256,
    threads: int = 1,
) -> Verification:
    """Run the file at `path` in onnxruntime beside `deployed` and hold it against its policy.

    Args:
        path: The exported file.
        deployed: The network that it was made from.
        images: `(n, channels, height, width)` float32, normalised, in the size that the file reads.
        labels: `(n,)` classes.
        batch_size: Images per run.
        threads: Threads of onnxruntime, pinned.

    Raises:
        ExportError: If the file cannot be run, or its bits or nodes are not those of the policy.
    """
    model = load(path)
    held = policy_of(model)
    check_policy(held, deployed)
    if stated_policy(model) != json.loads(policy_json(deployed.graph)):
        raise ExportError(f"{path} states another policy than it was exported with; export again")
    nodes = Counter(node.op_type for node in model.graph.node)
    check_nodes(nodes, deployed)
    batches = torch.split(images, batch_size)
    ours = np.concatenate([*_network_logits(deployed, batches)])
    theirs = np.concatenate([*file_logits(path, batches, threads=threads)])
    answers, right = theirs.argmax(1), labels.numpy()
    return Verification(
        len(images),
        _percent(ours.argmax(1) == right),
        _percent(answers == right),
        float(np.abs(ours - theirs).max()),
        _percent(answers == ours.argmax(1)),
        dict(nodes),
        held,
    )


def _percent(hits: NDArray[np.bool_]) -> float:
    return 100.0 * float(hits.mean())


def _network_logits(deployed: Deployed, batches: tuple[Tensor, ...]) -> Iterator[NDArray]:
    module = deployed.module().eval()
    with torch.no_grad():
        for batch in batches:
            yield module(batch).numpy()


def check_policy(held: Mapping[str, HeldPrecision], deployed: Deployed) -> None:
    """Raise `ExportError` where the precision that a file holds is not the one of `deployed`."""
    for address, node in deployed.graph.nodes.items():
        layer = deployed.layers.get(address)
        weight = None if layer is None else layer.weight
        if layer is None and node.op.activation is None:
            continue
        if address not in held:
            raise ExportError(f"the file has no node {address!r}; export the network again")
        integer = weight if isinstance(weight, IntegerTensor) else None
        _check_weight(address, held[address].weight, integer)
        for slot, found in enumerate(held[address].activations):
            scale = deployed.inputs.get((address, slot))
            _check_activation(f"{address}, input {slot}", found, scale and scale.quant)


def _check_weight(where: str, found: Held | None, tensor: IntegerTensor | None) -> None:
    if tensor is None or found is None:
        if (tensor is None) != (found is None):
            raise _mismatch(where, "weight", found, tensor and tensor.quant)
        return
    quant = tensor.quant
    # Codes may happen to need fewer bits than they are given; both sides must need the same.
    needed = bits_for(tensor.codes, symmetric=quant.symmetric)
    wanted = Held(needed, quant.symmetric, container_for(quant).name, tensor.scale.size)
    if found != wanted or needed > quant.bits:
        raise _mismatch(where, "weight", found, quant)


def _check_activation(where: str, found: Held | None, quant: Quant | None) -> None:
    wanted = None if quant is None else Held(quant.bits, quant.symmetric, "UINT8", 1)
    if found != wanted:
        raise _mismatch(where, "activation", found, quant)


def _mismatch(where: str, what: str, found: Held | None, wanted: Quant | None) -> ExportError:
    return ExportError(
        f"the {what} at {where} is {found or 'in full precision'} in the file, its policy says "
        f"{wanted or 'full precision'}; export the network again"
    )


def check_nodes(nodes: Mapping[str, int], deployed: Deployed) -> None:
    """Raise `ExportError` where the number of operators or quantizers is not the policy's."""
    readings = {
        (deployed.graph.nodes[address].inputs[slot], scale)
        for (address, slot), scale in deployed.inputs.items()
    }
    expected = {WEIGHTED: len(deployed.layers), ("QuantizeLinear",): len(readings)}
    for op_types, count in expected.items():
        found = sum(nodes.get(op_type, 0) for op_type in op_types)
        if found != count:
            raise ExportError(
                f"the file has {found} {' and '.join(op_types)} nodes, its policy needs {count}; "
                "export the network again"
            )
