"""The sensitivity of each layer to each precision: distance of the output, noise of the weight.

Sensitivities are measured once on a float network, one layer at a time. Their sum is a feature of a
whole policy and needs no further forward pass. ZeroQ ranks policies in this way (Cai et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map_only

from predictors.proxies.proxy import Inputs, ProbedModule, probe, tensors_of
from predictors.proxies.rounding import rounded
from search_spaces.choice import variants
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.quant import Quant

Precisions = Mapping[str, Quant | None]
Forward = Callable[[Precisions], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]
Values = Mapping[tuple[str, Quant | None], float]


def sensitivity(
    forward: Forward,
    layers: Mapping[str, Sequence[Quant | None]],
    reference: Tensor,
    *,
    distance: Distance,
) -> dict[tuple[str, Quant | None], float]:
    """The distance of the quantized output from that in full precision, per layer and precision.

    Args:
        forward: Returns the output `(n, ...)` with only the given layers quantized.
        layers: Address -> precisions to try. For `None` the distance is 0 and nothing is run.
        reference: The output `(n, ...)` in full precision.
        distance: The distance of outputs from a reference, a scalar; the mean over the samples.

    Returns:
        The distance by address and precision, at least 0.
    """
    wanted = reference.detach().double()
    result: dict[tuple[str, Quant | None], float] = {}
    for address, quants in layers.items():
        for quant in quants:
            if quant is None:
                result[address, quant] = 0.0
                continue
            given = forward({address: quant}).detach().double()
            result[address, quant] = max(float(distance(given, wanted)), 0.0)
    return result


def noise(weight: Tensor, quant: Quant | None) -> float:
    """The power of the rounding error of `weight` divided by the power of `weight`.

    Args:
        weight: A weight, output channels first.
        quant: The precision to which it is rounded.
    """
    error = (rounded(weight, quant) - weight).detach().double()
    return float(error.square().sum() / weight.detach().double().square().sum().clamp_min(1e-300))


def sqnr(weight: Tensor, quant: Quant | None) -> float:
    """The signal-to-quantization-noise ratio of `weight` in dB; infinite without an error."""
    power = noise(weight, quant)
    return -10.0 * math.log10(power) if power > 0 else math.inf


def weight_noise(
    weights: Mapping[str, Tensor], layers: Mapping[str, Sequence[Quant | None]]
) -> dict[tuple[str, Quant | None], float]:
    """The relative noise power of every weight under every precision; needs no data.

    Args:
        weights: Address -> weight, output channels first.
        layers: Address -> precisions to try.
    """
    return {
        (address, quant): noise(weights[address], quant)
        for address, quants in layers.items()
        for quant in quants
    }


def weight_forward(module: nn.Module, inputs: Inputs, names: Mapping[str, str]) -> Forward:
    """A `forward` for `sensitivity` that rounds weights; `module` itself is not changed.

    Args:
        module: A network in full precision, with the statistics of its norms.
        inputs: A batch: one tensor, or tensors by argument of the module.
        names: Address -> name of the submodule that holds the one weight of that layer.
    """

    def forward(precisions: Precisions) -> Tensor:
        with probe(module, {}) as network, torch.no_grad():
            for address, quant in precisions.items():
                weight = _weight_of(network, names[address])
                weight.copy_(rounded(weight, quant))
            return network(inputs)

    return forward


def _weight_of(network: ProbedModule, name: str) -> Tensor:
    """The only parameter with two or more dimensions inside the submodule `name`.

    Raises:
        ValueError: If there is not exactly one.
    """
    inside = {n: p for n, p in network.parameters.items() if n.startswith(f"{name}.")}
    weights = [parameter for parameter in inside.values() if parameter.ndim >= 2]
    if len(weights) != 1:
        raise ValueError(
            f"submodule {name!r} must hold one weight to be rounded, given {sorted(inside)}; "
            "name the submodule of a single layer"
        )
    return weights[0]


def input_forward(module: fx.GraphModule, inputs: Inputs, names: Mapping[str, str]) -> Forward:
    """A `forward` for `sensitivity` that rounds the inputs of layers.

    Args:
        module: A network in full precision, with the statistics of its norms.
        inputs: A batch: one tensor, or tensors by argument of the module.
        names: Address -> name of the node of the module's graph whose inputs are rounded.
    """
    known = {node.name for node in module.graph.nodes}
    if unknown := sorted(set(names.values()) - known):
        raise ValueError(f"nodes {unknown} are not in the network's graph, which has {known}")

    named = {} if isinstance(inputs, Tensor) else inputs
    places = [str(node.target) for node in module.graph.nodes if node.op == "placeholder"]
    ordered = [named[place] for place in places] if named else tensors_of(inputs)

    def forward(precisions: Precisions) -> Tensor:
        quants = {names[address]: quant for address, quant in precisions.items()}
        with probe(module, {}), torch.no_grad():
            return _RoundedInputs(module, quants).run(*ordered)

    return forward


class _RoundedInputs(fx.Interpreter):
    """A run of a network in which the tensors that some nodes read are rounded first."""

    def __init__(self, module: fx.GraphModule, quants: Mapping[str, Quant | None]) -> None:
        super().__init__(module)
        self._quants = quants

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[Any, Any]:
        args, keywords = super().fetch_args_kwargs_from_env(n)
        if n.name not in self._quants:
            return args, keywords
        quant = self._quants[n.name]
        # A concatenation reads a list of tensors.
        return tree_map_only(Tensor, lambda x: rounded(x, quant, channels=1), args), keywords


def open_precisions(
    graph: Graph, tensor: Literal["weight", "activation"]
) -> dict[str, tuple[Quant | None, ...]]:
    """The precisions among which each layer of a space chooses, by address.

    Layers with a fixed precision are left out.

    Args:
        graph: The graph of the space.
        tensor: Whether the precision of the weight or that of the inputs is meant.
    """
    found = {
        address: tuple(dict.fromkeys(getattr(form, tensor) for form in variants(node.op)))
        for address, node in graph.nodes.items()
    }
    return {address: options for address, options in found.items() if len(options) > 1}


@dataclass(frozen=True)
class SensitivityCost:
    """A cost of a kernel: the sensitivity to its weight precision plus that to its input precision.

    `SpaceKernels.compile_by_address` compiles it to a feature of whole populations. An address
    without values has a fixed precision and costs nothing.

    Attributes:
        weights: Address and precision of the weight -> sensitivity.
        activations: Address and precision of the inputs -> sensitivity.
    """

    weights: Values = field(default_factory=dict)
    activations: Values = field(default_factory=dict)

    def __call__(self, address: str, kernel: Kernel) -> float:
        """The cost of `kernel`, which ends at `address`.

        Raises:
            ValueError: If values are known for the address, but not for the precision of `kernel`.
        """
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
