"""Networks that read raw data: the scaling of inputs and output moves into the exported file.

Every function takes the usage of the network, or None for a file that reads scaled data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.export.containers import ExportError
from nas.facts.usage import Scaling, Usage
from search_spaces.graph import Graph, Node
from search_spaces.ops import Shape, Standardize
from supernets.deployed import Deployed
from supernets.inputs import Inputs

_NAME = "standardize"
_LOST = 1e-3  # deviations by which the rounding of raw numbers to float32 may move them


def require_scaling(usage: Usage | None) -> None:
    """Raise `ExportError` where no scaling can move into a file, or float32 would not hold it."""
    if usage is None:
        return
    ports = {**usage.inputs, "the output": usage.output}
    scalings = {name: port.scaling for name, port in ports.items() if port.scaling is not None}
    if not scalings:
        raise ExportError(
            "export.raw = true moves the scaling of raw data into the file, but nothing is scaled "
            f"for this task (inputs: {', '.join(usage.inputs)}); leave export.raw out"
        )
    rounding = np.finfo(np.float32).eps / 2
    for name, scaling in scalings.items():
        lost = rounding * np.abs(scaling.mean) / np.array(scaling.std)
        if lost.max() > _LOST:
            place = int(lost.argmax())
            raise ExportError(
                f"export.raw = true: raw numbers of {name} at place {place} are about "
                f"{scaling.mean[place]:g} with a deviation of {scaling.std[place]:g}, which "
                "float32 cannot tell apart; subtract a constant from these data, or leave "
                "export.raw out"
            )


def reading_raw(deployed: Deployed, usage: Usage | None) -> Deployed:
    """The network with the scalings of `usage` inside: raw data in, raw answers out.

    Args:
        deployed: The network, whose inputs and output are scaled.
        usage: The usage of this network; `usage.raw()` is that of the result.
    """
    if usage is None:
        return deployed
    graph, shapes = deployed.graph, deployed.graph.shapes()
    nodes: dict[str, Node] = {}
    parameters = dict(deployed.parameters)
    reads: dict[str, str] = {}

    def scaled(address: str, scaling: Scaling) -> str:
        here = _free(f"{address}.{_NAME}", graph)
        nodes[here] = Node(Standardize(scaling.axis), (address,))
        parameters[here] = _parameters(scaling, shapes[address])
        return here

    readers = graph.consumers()
    for address, node in graph.nodes.items():
        nodes[address] = replace(node, inputs=tuple(reads.get(r, r) for r in node.inputs))
        name = graph.inputs[address].name if address in graph.inputs else None
        scaling = None if name is None else usage.inputs[name].scaling
        if scaling is not None and readers[address]:
            reads[address] = scaled(address, scaling)
    if usage.output.scaling is not None:
        scaled(graph.output, usage.output.scaling.inverse)
    return replace(deployed, graph=Graph.from_nodes(nodes), parameters=parameters)


def _free(address: str, graph: Graph) -> str:
    return _free(f"{address}_", graph) if address in graph.nodes else address


def _parameters(scaling: Scaling, shape: Shape) -> dict[str, np.ndarray]:
    held = Standardize(scaling.axis).parameters(shape)
    values = {"mean": scaling.mean, "deviation": scaling.std}
    column = (-1, *(1,) * (len(shape) - 1 - scaling.axis))
    return {
        name: np.broadcast_to(np.reshape(values[name], column), part.shape).astype(np.float32)
        for name, part in held.items()
    }


def raw_of(inputs: Inputs, usage: Usage | None) -> Inputs:
    """The raw data of inputs of a network, in float32 where they are scaled."""
    if usage is None:
        return inputs
    scalings = {name: usage.inputs[name].scaling for name in inputs}
    return {
        name: x if (scaling := scalings[name]) is None else _float32(scaling.undone(x.numpy()))
        for name, x in inputs.items()
    }


def scaled_answers(answers: Tensor, usage: Usage | None) -> Tensor:
    """Raw answers as outputs of the network that reads scaled data, which its criterion judges."""
    scaling = None if usage is None else usage.output.scaling
    return answers if scaling is None else _float32(scaling.done(answers.numpy()))


def _float32(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
