"""The deployed network: a graph, its parameters by name, and the scales of quantized inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from search_spaces.graph import Graph
from supernets.assemble import Slot, Step, assemble, steps_of
from supernets.elastic import layer_of
from supernets.encoded import ActivationScale, EncodedTensor, IntegerBias

Stored = EncodedTensor | IntegerBias | NDArray[np.float32]


def values(stored: Stored) -> NDArray[np.float32]:
    """The values of a stored parameter in float32, as a runtime dequantizes them."""
    return stored if isinstance(stored, np.ndarray) else stored.values()


@dataclass(frozen=True, eq=False)
class Deployed:
    """A network as a device runs it; the network shares no tensor with a supernet.

    Attributes:
        graph: The resolved architecture.
        parameters: All parameters by address and name, in the shapes of `Op.deployed`. A norm that
            is not folded also has its statistics `mean` and `variance` here.
        inputs: The quantization of every quantized input, by address and position.
        metadata: Texts that every exported file carries, by names such as `genotype` and `run`.
    """

    graph: Graph
    parameters: Mapping[str, Mapping[str, Stored]]
    inputs: Mapping[Slot, ActivationScale]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def weight(self, address: str) -> EncodedTensor | NDArray[np.float32] | None:
        """The weight at an address, output channels first; None without a weight there."""
        found = self.parameters.get(address, {}).get("weight")
        assert not isinstance(found, IntegerBias)
        return found

    def changed(self, address: str, **parameters: Stored) -> Deployed:
        """The network with `parameters` added or replaced at an address."""
        here = {**self.parameters.get(address, {}), **parameters}
        return replace(self, parameters={**self.parameters, address: here})

    def module(self) -> fx.GraphModule:
        """The network as stock layers of torch, with the values that an integer runtime uses."""
        return assemble(steps_of(self.graph), self.stock_layer, self.inputs).eval()

    def stock_layer(self, step: Step) -> nn.Module | None:
        """The layer of a step with its parameters; None where a function runs the operator."""
        held = self.parameters.get(step.address, {})
        tensors = {name: torch.from_numpy(values(stored)) for name, stored in held.items()}
        return layer_of(step.op, tensors, *step.inputs)


Rewrite = Callable[[Deployed], Deployed]
"""A change of a deployed network, such as folding its norms or correcting its biases."""
