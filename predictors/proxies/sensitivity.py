"""What a precision costs at one layer: divergence of the output, noise in the weight.

Measured once on a float network, layer by layer, and then added up: a feature of a whole policy
that needs no further forward pass (Cai et al. 2020, ZeroQ, rank policies this way).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predictors.proxies.proxy import ProbedModule, probe
from predictors.proxies.rounding import rounded
from search_spaces.choice import variants
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.quant import Quant

Precisions = Mapping[str, Quant | None]
Forward = Callable[[Precisions], Tensor]
Values = Mapping[tuple[str, Quant | None], float]


def sensitivity(
    forward: Forward, layers: Mapping[str, Sequence[Quant | None]], reference: Tensor
) -> dict[tuple[str, Quant | None], float]:
    """The divergence KL(full precision || quantized) in nats per image, for every single change.

    Args:
        forward: The logits `(n, classes)` with the named layers, and only those, quantized.
        layers: For every address, the precisions to try; `None` costs nothing and is not run.
        reference: The logits `(n, classes)` in full precision.
    """
    wanted = F.log_softmax(reference.detach().double(), dim=1)
    result: dict[tuple[str, Quant | None], float] = {}
    for address, quants in layers.items():
        for quant in quants:
            if quant is None:
                result[address, quant] = 0.0
                continue
            given = F.log_softmax(forward({address: quant}).detach().double(), dim=1)
            divergence = F.kl_div(given, wanted, log_target=True, reduction="batchmean")
            result[address, quant] = max(float(divergence), 0.0)
    return result


def noise(weight: Tensor, quant: Quant | None) -> float:
    """The power of the rounding error of `weight` (output channels first) over its own power."""
    error = (rounded(weight, quant) - weight).detach().double()
    return float(error.square().sum() / weight.detach().double().square().sum().clamp_min(1e-300))


def sqnr(weight: Tensor, quant: Quant | None) -> float:
    """The signal to quantization noise ratio of `weight` in dB; infinite where nothing is lost."""
    power = noise(weight, quant)
    return -10.0 * math.log10(power) if power > 0 else math.inf


def weight_noise(
    weights: Mapping[str, Tensor], layers: Mapping[str, Sequence[Quant | None]]
) -> dict[tuple[str, Quant | None], float]:
    """`noise` for every address and precision: `sensitivity` without data."""
    return {
        (address, quant): noise(weights[address], quant)
        for address, quants in layers.items()
        for quant in quants
    }


def weight_forward(module: nn.Module, images: Tensor, names: Mapping[str, str]) -> Forward:
    """The forward of `sensitivity` that rounds weights of a float `module`, which stays as it is.

    Args:
        module: A network in full precision, statistics of its norms included.
        images: `(n, channels, height, width)`.
        names: Address -> name of the submodule that holds its one weight.
    """

    def forward(precisions: Precisions) -> Tensor:
        with probe(module, {}) as network, torch.no_grad():
            for address, quant in precisions.items():
                weight = _weight_of(network, names[address])
                weight.copy_(rounded(weight, quant))
            return network(images)

    return forward


def _weight_of(network: ProbedModule, name: str) -> Tensor:
    """The one parameter of two or more dimensions inside submodule `name`."""
    inside = {n: p for n, p in network.parameters.items() if n.startswith(f"{name}.")}
    weights = [parameter for parameter in inside.values() if parameter.ndim >= 2]
    if len(weights) != 1:
        raise ValueError(
            f"submodule {name!r} must hold one weight to be rounded, given {sorted(inside)}; "
            "name the submodule of a single layer"
        )
    return weights[0]


def input_forward(module: nn.Module, images: Tensor, names: Mapping[str, str]) -> Forward:
    """The forward of `sensitivity` that rounds what the named submodules read; see above."""

    def forward(precisions: Precisions) -> Tensor:
        hooks = [
            module.get_submodule(names[address]).register_forward_pre_hook(_rounding(quant))
            for address, quant in precisions.items()
        ]
        try:
            with probe(module, {}) as network, torch.no_grad():
                return network(images)
        finally:
            for hook in hooks:
                hook.remove()

    return forward


def _rounding(quant: Quant | None) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    return lambda _, read: tuple(rounded(value, quant, channels=1) for value in read)


def open_precisions(
    graph: Graph, tensor: Literal["weight", "activation"]
) -> dict[str, tuple[Quant | None, ...]]:
    """The precisions that a space's graph lets each address choose from, where it is a choice."""
    found = {
        address: tuple(dict.fromkeys(getattr(form, tensor) for form in variants(node.op)))
        for address, node in graph.nodes.items()
    }
    return {address: options for address, options in found.items() if len(options) > 1}


@dataclass(frozen=True)
class SensitivityCost:
    """The sum of what a kernel's weight and activation precisions cost at its address.

    For `SpaceKernels.compile_by_address`, which makes it a feature of whole populations. An
    address without values has a fixed precision and adds nothing; a precision that was not
    measured at an address with values raises `ValueError`.
    """

    weights: Values = field(default_factory=dict)
    activations: Values = field(default_factory=dict)

    def __call__(self, address: str, kernel: Kernel) -> float:
        """The cost of `kernel` at `address`."""
        weight = _value(self.weights, address, kernel.op.weight)
        return weight + _value(self.activations, address, kernel.op.activation)


def _value(values: Values, address: str, quant: Quant | None) -> float:
    if (address, quant) in values:
        return values[address, quant]
    measured = _measured(values, address)
    if measured:
        raise ValueError(
            f"the sensitivity of {address!r} is known for {measured}, asked for {quant}; measure "
            "every precision that `open_precisions(space.graph, ...)` lists"
        )
    return 0.0


def _measured(values: Iterable[tuple[str, Quant | None]], address: str) -> list[Quant | None]:
    return [quant for known, quant in values if known == address]
