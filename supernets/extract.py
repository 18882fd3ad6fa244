"""Extraction of a subnet as a plain module with quantized weights and its own calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from search_spaces.graph import Graph
from search_spaces.policy import full_precision
from supernets.assemble import SITE, Slot, Step, assemble, module_name, read_scale, steps_of
from supernets.deployed import Deployed, Stored
from supernets.elastic import layer_of, statistics
from supernets.encoded import ActivationScale, EncodedTensor
from supernets.inputs import Inputs, arguments, inputs_of
from supernets.rounding import snapped, snapped_scales
from supernets.supernet import Supernet

_SAMPLED_VALUES = 4096
# The multiples of a learned step that are tried; the step itself comes first.
_FACTORS = torch.tensor(sorted((2.0 ** (k / 8) for k in range(-8, 9)), key=lambda f: abs(f - 1)))
# Learned steps minimise the loss, not the squared error. Always taking the least squared error
# costs about one point of accuracy at 2 bits (4-bit weights, digits); never taking it costs three
# points where steps were not trained.
_TOLERANCE = 3.0


@dataclass(frozen=True, eq=False)
class Extracted:
    """A subnet that shares no tensor with the supernet.

    Attributes:
        module: The network as stock layers; its arguments bear the names of the inputs.
        graph: The resolved architecture; `assemble.module_name` gives the name of a layer.
        parameters: The parameters by address and name, in the shapes that a device stores; a
            quantized weight as codes.
        inputs: The quantization of every quantized input, by address and position.
        batch: The first calibration batch; None before calibration.
    """

    module: fx.GraphModule
    graph: Graph
    parameters: Mapping[str, Mapping[str, Stored]]
    inputs: Mapping[Slot, ActivationScale]
    batch: Inputs | None = None

    def deployed(self) -> Deployed:
        """The subnet as a `Deployed` before any rewrite; norms have their statistics."""
        layers = dict(self.module.named_children())
        parameters: dict[str, Mapping[str, Stored]] = {}
        for address, node in self.graph.nodes.items():
            layer = layers.get(module_name(address))
            found = {} if layer is None else statistics(node.op, layer)
            held = {name: _numpy(tensor) for name, tensor in found.items()}
            if held or address in self.parameters:
                parameters[address] = {**self.parameters.get(address, {}), **held}
        return Deployed(self.graph, parameters, self.inputs)


def extract(
    supernet: Supernet,
    genotype: Sequence[int],
    calibration: Iterable[Inputs | Tensor],
    *,
    quantize: bool = True,
) -> Extracted:
    """The subnet of `genotype` with its own batch norm statistics and activation scales.

    A supernet has no statistics that fit a subnet, and its steps are a compromise between all
    subnets. `calibration` therefore sets both. Statistics are averages over all batches. A scale
    stays at the learned step, unless a multiple of the step has at most a third of its squared
    error on the first batch.

    Args:
        supernet: The trained weights; not modified.
        genotype: The subnet.
        calibration: Batches of inputs as `Supernet.forward` takes them; at least one.
        quantize: Whether to quantize as the genotype says; False is full precision everywhere.
    """
    return calibrated(detached(supernet, genotype, quantize=quantize), calibration)


def detached(supernet: Supernet, genotype: Sequence[int], *, quantize: bool = True) -> Extracted:
    """The subnet before calibration: with the supernet's steps and without batch norm statistics.

    In training mode, the module computes the same as a supernet whose quantizer is `exact`, bit for
    bit.
    """
    resolved = supernet.space.decode(genotype)
    graph = resolved if quantize else full_precision(resolved)
    steps = steps_of(graph)
    parameters = {s.address: held for s in steps if (held := _parameters(supernet, s))}
    inputs = {
        (step.address, position): _activation_scale(supernet, step, position)
        for step in steps
        if step.op.activation is not None
        for position in range(len(step.inputs))
    }

    device = next(supernet.parameters()).device

    def layer(step: Step) -> nn.Module | None:
        shared = supernet.node(step.address)
        tensors = {n: t.detach() for n, t in shared.subnet(step, quantize=False).items()}
        held = parameters.get(step.address, {}).get("weight")
        if isinstance(held, EncodedTensor):  # what a device computes with
            given = torch.from_numpy(held.values()).to(device)
            tensors["weight"] = given.reshape(tensors["weight"].shape)
        return layer_of(step.op, tensors, *step.inputs)

    module = assemble(steps, layer, inputs, device=device)
    return Extracted(module, graph, parameters, inputs)


def _parameters(supernet: Supernet, step: Step) -> dict[str, Stored]:
    """The parameters of a node by name, in the shapes that a device stores."""
    shared = supernet.node(step.address)
    shapes = {name: part.shape for name, part in step.op.deployed(*step.inputs).items()}
    held: dict[str, Stored] = {
        name: _numpy(tensor).reshape(shapes.get(name, tensor.shape))
        for name, tensor in step.sliced(shared.parameters_by_name()).items()
    }
    for name, part in step.op.deployed(*step.inputs).items():
        held.setdefault(name, np.zeros(part.shape, np.float32))
    encoded = _encoded_weight(supernet, step)
    return held if encoded is None else {**held, "weight": encoded}


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    """A copy of `tensor` in numpy, which shares no memory with the tensor."""
    return tensor.detach().cpu().numpy().copy()


def _encoded_weight(supernet: Supernet, step: Step) -> EncodedTensor | None:
    shared, quant = supernet.node(step.address), step.op.weight
    shape = step.op.weight_shape(*step.inputs)
    if quant is None or shared.weight is None or shape is None:
        return None
    weight = step.sliced(shared.parameters_by_name())["weight"].detach()
    return shared.weight.encode(weight, quant, shape)


def _activation_scale(supernet: Supernet, step: Step, position: int) -> ActivationScale:
    quant = step.op.activation
    assert quant is not None
    scale, zero_point = supernet.node(step.address).input_quantizer(position).scalar(quant)
    return ActivationScale(scale, zero_point, quant)


def calibrated(extracted: Extracted, calibration: Iterable[Inputs | Tensor]) -> Extracted:
    """`extracted` with statistics and scales set from batches of inputs; changes its module."""
    module = extracted.module.train()
    batches = (inputs_of(extracted.graph, batch) for batch in calibration)
    first = next(batches, None)
    if first is None:
        raise ValueError("calibration holds no batch of inputs; give at least one")
    with torch.no_grad():
        _Rescale(module, extracted.inputs).run(*arguments(module, first))
        for batch in batches:
            module(**batch)
    module.eval()
    inputs = {
        slot: replace(scale, scale=read_scale(module, slot))
        for slot, scale in extracted.inputs.items()
    }
    return replace(extracted, inputs=inputs, batch=first)


class _Rescale(fx.Interpreter):
    """An interpreter that sets the scale of each quantized input from the values that arrive.

    A scale is set before later nodes run, so that later scales are set on really quantized values.
    All nodes that read a tensor at the same precision take the scale of the first of them: an
    integer runtime keeps a tensor in integers only if all its readers have the same scale.
    """

    def __init__(self, module: fx.GraphModule, scales: Mapping[Slot, ActivationScale]) -> None:
        super().__init__(module)
        self._scales = scales
        self._shared: dict[object, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        if SITE in n.meta:
            scale = self._scales[n.meta[SITE]]
            value, step = (self.env[argument] for argument in n.args)  # pyright: ignore[reportArgumentType]
            grid = (n.args[0], scale.quant, scale.zero_point)
            if grid not in self._shared:
                self._shared[grid] = rescaled(value, step, scale)
            step.copy_(self._shared[grid])
        return super().run_node(n)


def rescaled(value: Tensor, step: Tensor, scale: ActivationScale) -> Tensor:
    """The learned `step`, or a multiple of it that fits (a sample of) `value` far better."""
    values = value.detach().reshape(-1)
    sample = values[:: max(1, len(values) // _SAMPLED_VALUES)]
    candidates = snapped_scales(scale.quant.scales, _FACTORS.to(step) * step)
    column = candidates.unsqueeze(1)
    near = snapped(scale.quant.format, sample / column, scale.bounds).mul_(column)
    error = (near - sample).square_().sum(1)
    best = error.argmin()
    return torch.where(error[0] > _TOLERANCE * error[best], candidates[best], candidates[0])
