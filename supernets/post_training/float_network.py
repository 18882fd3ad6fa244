"""The float network of a resolved graph: the weights of a trained network, its norms folded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.graph import Graph
from search_spaces.ops import per_channel
from supernets.assemble import Step, steps_of
from supernets.deployed import Deployed
from supernets.elastic import corner, layer_of, statistics
from supernets.fold import fold_norms
from supernets.weights import WeightsError

Tensors = Mapping[str, Tensor]
_ROUNDED = ("weight", "bias")  # other tensors, such as a mask, may well hold infinite numbers


def float_network(graph: Graph, tensors: Tensors) -> Deployed:
    """The network of a resolved `graph` with float32 parameters, its norms folded.

    The precisions of `graph` stay on its operators, and nothing is rounded yet: the network
    computes in full precision until rewrites round its weights and set the scales of its inputs.

    Args:
        graph: The resolved architecture.
        tensors: The largest parameters by `ADDRESS.NAME`, as `supernets.supernet.weights_of` names
            them, and the statistics of norms as `ADDRESS.mean` and `ADDRESS.variance`. A narrower
            network takes the slices that training takes.

    Raises:
        WeightsError: If a tensor is missing or holds a number that is not finite; all are listed.
        ValueError: If the operator before a norm cannot absorb the norm.
    """
    steps = steps_of(graph)
    if missing := [name for step in steps for name in _names(step) if name not in tensors]:
        raise WeightsError(
            f"the tensors of the network lack {', '.join(missing)}; give one tensor for each "
            "parameter of each operator, and the mean and the variance of each batch norm"
        )
    parameters = {step.address: held for step in steps if (held := _parameters(step, tensors))}
    broken = [
        f"{address}.{name}"
        for address, held in parameters.items()
        for name, array in held.items()
        if np.isnan(array).any() or (name in _ROUNDED and not np.isfinite(array).all())
    ]
    if broken:
        raise WeightsError(
            f"not finite numbers: {', '.join(broken)}; nothing can be rounded to NaN or infinity, "
            "so look at how these tensors were trained or saved"
        )
    return fold_norms(Deployed(graph, parameters, {}))


def with_precisions(network: Deployed, graph: Graph) -> Deployed:
    """The float `network` with the precisions of `graph`, which is the same without its norms."""
    assert network.graph.nodes.keys() == graph.nodes.keys()
    return replace(network, graph=graph)


def _names(step: Step) -> Iterator[str]:
    """The names of the tensors that a step needs."""
    names = [*step.op.parameters(*step.inputs)]
    if step.op.folds:
        names += _measured(step)
    return (f"{step.address}.{name}" for name in names)


def _measured(step: Step) -> tuple[str, ...]:
    """The names of the statistics of a norm that folds."""
    shapes = {name: part.shape for name, part in step.op.parameters(*step.inputs).items()}
    layer = layer_of(step.op, {n: _ones(shape) for n, shape in shapes.items()}, *step.inputs)
    return () if layer is None else tuple(statistics(step.op, layer))


def _ones(shape: tuple[int, ...]) -> Tensor:
    return Tensor(*shape).fill_(1.0)


def _parameters(step: Step, tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """The parameters of a step in the shapes that a device stores, and its statistics."""
    own = {name: tensors[f"{step.address}.{name}"] for name in step.op.parameters(*step.inputs)}
    deployed = step.op.deployed(*step.inputs)
    held = {name: _numpy(tensor) for name, tensor in step.sliced(own).items()}
    for name, part in deployed.items():
        held[name] = held[name].reshape(part.shape) if name in held else np.zeros(part.shape, "f4")
    if step.op.folds:
        channels = per_channel(step.inputs[0][step.op.channel_axis])
        for name in _measured(step):
            whole = tensors[f"{step.address}.{name}"]
            held[name] = _numpy(corner(whole, channels, {"out": step.runs or ()}))
    return held


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    """A copy of `tensor` in numpy, which shares no memory with the tensor."""
    return tensor.detach().cpu().float().numpy().copy()
