"""A subnet as a device runs it: norms folded, weights as integers, scales as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from search_spaces.graph import Graph, Node
from search_spaces.ops import BatchNorm2d, Conv2d, DepthwiseConv2d
from search_spaces.quant import PerChannel
from supernets.assemble import Slot, Step, assemble, module_name, steps_of
from supernets.correct import bias_shifts
from supernets.elastic import Tensors
from supernets.extract import Extracted
from supernets.integers import ActivationScale, IntegerTensor
from supernets.quantizers import relative_bounds, squared_error_steps, zero_points

Weight = IntegerTensor | NDArray[np.float32]

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class Layer:
    """The parameters of one convolution or linear layer, with the norm behind it folded in.

    Attributes:
        weight: Integers, or float32 where the layer is in full precision; output channels first.
        bias: float32, `(out,)`.
    """

    weight: Weight
    bias: NDArray[np.float32]

    def weight_values(self) -> NDArray[np.float32]:
        """The weight in float32."""
        return self.weight.values() if isinstance(self.weight, IntegerTensor) else self.weight


@dataclass(frozen=True, eq=False)
class IntegerBias:
    """A bias as integer runtimes add it to their accumulator: `scale * codes`, both `(out,)`."""

    codes: NDArray[np.int32]
    scale: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Deployed:
    """What leaves for a device.

    Attributes:
        graph: The resolved architecture without batch norms.
        layers: The parameters of every convolution and linear layer, by address.
        inputs: How every quantized input is quantized, by address and position.
    """

    graph: Graph
    layers: Mapping[str, Layer]
    inputs: Mapping[Slot, ActivationScale]

    def integer_bias(self, address: str) -> IntegerBias | None:
        """The bias on the grid `input scale x weight scale`; None unless both are quantized."""
        layer, read = self.layers[address], self.inputs.get((address, 0))
        if read is None or not isinstance(layer.weight, IntegerTensor):
            return None
        scale = np.broadcast_to(np.float32(read.scale) * layer.weight.scale, layer.bias.shape)
        codes = np.rint(layer.bias.astype(np.float64) / scale).clip(_INT32.min, _INT32.max)
        return IntegerBias(codes.astype(np.int32), scale.astype(np.float32))

    def module(self) -> fx.GraphModule:
        """The network as stock layers, with the values that an integer runtime computes with."""
        return assemble(steps_of(self.graph), self._tensors, self.inputs).eval()

    def _tensors(self, step: Step) -> Tensors:
        layer = self.layers.get(step.address)
        if layer is None:
            return {}
        exact = self.integer_bias(step.address)
        bias = layer.bias if exact is None else exact.codes.astype(np.float32) * exact.scale
        return {
            "weight": torch.from_numpy(layer.weight_values()),
            "bias": torch.from_numpy(bias),
        }


def deploy(extracted: Extracted) -> Deployed:
    """`extracted` with every batch norm folded into the convolution before it.

    A weight with a scale per channel keeps its codes, since the scale absorbs the norm's factor
    (a negative one turns the codes round): what comes out equals what went in. A weight with one
    scale is folded first and then put on the best new grid: that is what a device runs, and it
    differs from `extracted` by the rounding, whose shift of the mean the bias takes back.
    """
    if extracted.images is None:
        raise ValueError("the subnet is not calibrated, so its norms mean nothing; use `extract`")
    graph, norms = without_norms(extracted.graph)
    layers = {
        step.address: _layer(extracted, step, norms.get(step.address))
        for step in steps_of(graph)
        if step.op.weight_shape(*step.inputs) is not None
    }
    deployed = Deployed(graph, layers, extracted.inputs)
    rounded = {a: norm for a, norm in norms.items() if _rounded_anew(layers[a].weight)}
    if not rounded:
        return deployed
    shifts = bias_shifts(extracted.module, deployed.module(), rounded, extracted.images)
    corrected = {a: replace(layers[a], bias=layers[a].bias + shifts[a].numpy()) for a in rounded}
    return replace(deployed, layers={**layers, **corrected})


def _rounded_anew(weight: Weight) -> bool:
    """Whether folding a norm into `weight` put it on another grid."""
    return isinstance(weight, IntegerTensor) and not isinstance(
        weight.quant.granularity, PerChannel
    )


def without_norms(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """The graph without batch norms, and the norm of each convolution that had one."""
    readers = graph.consumers()
    norms: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    source: dict[str, str] = {}
    for address, node in graph.nodes.items():
        inputs = tuple(source[read] for read in node.inputs)
        source[address] = address
        if not isinstance(node.op, BatchNorm2d):
            nodes[address] = Node(node.op, inputs)
            continue
        (before,) = node.inputs
        if (
            not isinstance(graph.nodes[before].op, Conv2d | DepthwiseConv2d)
            or len(readers[before]) > 1
        ):
            raise ValueError(
                f"batch norm {address!r} cannot be folded: it reads {before!r}, which is no "
                "convolution or is read by others too; put it right behind a convolution"
            )
        norms[before] = address
        source[address] = before
    return Graph.from_nodes(nodes), norms


def _layer(extracted: Extracted, step: Step, norm: str | None) -> Layer:
    layer = _stock_layer(extracted, step.address)
    weight: Weight = extracted.weights.get(step.address, _numpy(layer.weight))
    bias = np.zeros(len(layer.weight)) if layer.bias is None else _numpy(layer.bias)
    if norm is None:
        return Layer(weight, bias.astype(np.float32))
    folded = extracted.module.get_submodule(module_name(norm))
    assert isinstance(folded, nn.BatchNorm2d)
    mean, variance = _numpy(folded.running_mean), _numpy(folded.running_var)
    factor = _numpy(folded.weight) / np.sqrt(variance.astype(np.float64) + folded.eps)
    bias = _numpy(folded.bias) + (bias - mean) * factor
    return Layer(folded_weight(weight, factor), bias.astype(np.float32))


def _stock_layer(extracted: Extracted, address: str) -> nn.Conv2d | nn.Linear:
    found = extracted.module.get_submodule(module_name(address))
    layer = found[-1] if isinstance(found, nn.Sequential) else found
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    return layer


def _numpy(tensor: torch.Tensor | None) -> NDArray[np.float32]:
    assert tensor is not None
    return tensor.detach().cpu().numpy()


def folded_weight(weight: Weight, factor: NDArray[np.float64]) -> Weight:
    """The weight times `factor` `(out,)`, on a grid again where it was on one."""
    if not isinstance(weight, IntegerTensor):
        return (weight * _column(factor, weight)).astype(np.float32)
    if isinstance(weight.quant.granularity, PerChannel):
        return _absorbed(weight, factor)
    return _requantized(weight, factor)


def _column(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _absorbed(weight: IntegerTensor, factor: NDArray[np.float64]) -> IntegerTensor:
    """The factor in the scales; `lowest + highest - code` stands for the negated code."""
    turn = sum(weight.quant.code_range)
    negative = factor < 0
    codes = np.where(_column(negative, weight.codes), turn - weight.codes, weight.codes)
    zero = np.where(negative, turn - weight.zero_point, weight.zero_point)
    # A channel switched off entirely: scales must be positive, so its codes become zero instead.
    off = np.abs(factor) * weight.scale < np.finfo(np.float32).tiny
    codes = np.where(_column(off, codes), zero.reshape(_column(off, codes).shape), codes)
    scale = np.where(off, weight.scale, np.abs(factor) * weight.scale)
    return replace(
        weight,
        codes=codes.astype(np.int32),
        scale=scale.astype(np.float32),
        zero_point=zero.astype(np.int32),
    )


def _requantized(weight: IntegerTensor, factor: NDArray[np.float64]) -> IntegerTensor:
    """The folded weight on the one grid with the least squared error."""
    values = (weight.values() * _column(factor, weight.codes)).astype(np.float32)
    row = torch.from_numpy(values.reshape(1, -1))
    zero = zero_points(row, weight.quant)
    step = squared_error_steps(row, weight.quant, zero)
    low, high = relative_bounds(weight.quant, zero)
    codes = torch.round(row / step).clamp_(low, high).int() + zero  # pyright: ignore[reportArgumentType, reportCallIssue]
    return replace(
        weight,
        codes=codes.numpy().reshape(weight.codes.shape),
        scale=step.numpy(),
        zero_point=zero.numpy(),
    )
