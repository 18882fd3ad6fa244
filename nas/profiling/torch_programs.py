"""Kernels as torch modules: in floats, or with the 8-bit operators of torch's quantized engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.ao.nn import quantized

from nas.profiling.kernel_networks import kernel_graph, kernel_network
from nas.targets.numerics import FULL, Numerics
from search_spaces.kernels import Kernel
from search_spaces.ops import Shape
from supernets.assemble import Step, assemble, steps_of
from supernets.elastic import layer_of
from supernets.fold import without_norms

STEP, ZERO = 0.05, 128  # the scale and the zero point of quantized activations
_FULL = Numerics(FULL, FULL)


def float_module(kernel: Kernel) -> fx.GraphModule:
    """The torch module of a deployed network that consists of this kernel, with random weights."""
    return kernel_network(kernel, _FULL).module()


def int8_module(kernel: Kernel) -> fx.GraphModule:
    """`float_module` with the operators of torch's quantized engine in place of float operators.

    Activations are uint8; weights are int8 with a scale per output channel. `missing_in_int8` says
    whether the engine has all operators of a kernel.
    """
    module = float_module(kernel)
    for name, layer in list(module.named_modules()):
        if type(layer) in _INT8_LAYERS:
            module.set_submodule(name, _INT8_LAYERS[type(layer)](layer))
    for node in module.graph.nodes:
        if node.op == "call_function":
            node.target = _INT8_FUNCTIONS[node.target]
            node.args = (*node.args, STEP, ZERO)
    module.recompile()
    return module


def missing_in_int8(kernel: Kernel) -> str | None:
    """The name of an operator of the kernel that torch's quantized engine lacks; else None."""

    def hollow(step: Step) -> nn.Module | None:
        parts = step.op.deployed(*step.inputs).items()
        tensors = {name: torch.empty(part.shape, device="meta") for name, part in parts}
        return layer_of(step.op, tensors, *step.inputs)

    bare, _ = without_norms(kernel_graph(kernel, _FULL))
    return next(_unknown(assemble(steps_of(bare), hollow, {})), None)


def _unknown(module: fx.GraphModule) -> Iterator[str]:
    known = (*_INT8_LAYERS, *_ANY_TENSOR, nn.Sequential, fx.GraphModule)
    yield from (f"nn.{layer!r}" for layer in module.modules() if not isinstance(layer, known))
    for node in module.graph.nodes:
        if node.op == "call_method" or (
            node.op == "call_function" and node.target not in _INT8_FUNCTIONS
        ):
            yield str(node.target)


def int8_tensor(shape: Shape) -> Tensor:
    """A random quantized tensor; images are channels-last, as the engine keeps them."""
    value = torch.randn(1, *shape)
    if value.dim() == 4:
        value = value.contiguous(memory_format=torch.channels_last)
    return torch.quantize_per_tensor(value, STEP, ZERO, torch.quint8)


def _convolution(layer: nn.Conv2d) -> nn.Module:
    names = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
    )
    return _weighted(quantized.Conv2d(**{name: getattr(layer, name) for name in names}), layer)


def _linear(layer: nn.Linear) -> nn.Module:
    return _weighted(quantized.Linear(layer.in_features, layer.out_features), layer)


def _weighted(made: Any, layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """The layer `made` with the quantized weight of `layer`, its scales, and an output scale."""
    weight = layer.weight.detach()
    scales, zeros = (
        weight.flatten(1).abs().amax(1) / 127,
        torch.zeros(len(weight), dtype=torch.long),
    )
    bias = None if layer.bias is None else layer.bias.detach()
    made.set_weight_bias(torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8), bias)
    made.scale, made.zero_point = STEP, ZERO
    return made


_INT8_LAYERS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.Hardswish: lambda _: quantized.Hardswish(STEP, ZERO),
}
# Layers of torch that accept quantized tensors as well as float tensors.
_ANY_TENSOR = (nn.ReLU, nn.ReLU6, nn.Hardsigmoid, nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.Flatten)
_INT8_FUNCTIONS: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    torch.add: torch.ops.quantized.add,
    torch.mul: torch.ops.quantized.mul,
    torch.cat: torch.ops.quantized.cat,
}
