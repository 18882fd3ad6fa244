"""A subnet as a device runs it: a graph, its parameters by name, the scales of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from search_spaces.graph import Graph
from search_spaces.ops import Shape
from supernets.assemble import Slot, Step, assemble, steps_of
from supernets.elastic import stock
from supernets.integers import ActivationScale, IntegerBias, IntegerTensor

Stored = IntegerTensor | IntegerBias | NDArray[np.float32]


def values(stored: Stored) -> NDArray[np.float32]:
    """The numbers of a parameter in float32, as a runtime computes with them."""
    return stored if isinstance(stored, np.ndarray) else stored.values()


@dataclass(frozen=True, eq=False)
class Deployed:
    """A network that shares nothing with a supernet.

    Attributes:
        graph: The resolved architecture.
        parameters: Every parameter by address and name, in the shapes of `Op.deployed`; those of a
            norm that is not folded have its statistics `mean` and `variance` beside them.
        inputs: How every quantized input is quantized, by address and position.
        fed: The shape of one sample that a source will be fed, without the batch, by the source's
            address; a source that is not named is fed the shape that it gives.
        metadata: Texts that every exported file carries, by names such as `genotype` and `run`.
    """

    graph: Graph
    parameters: Mapping[str, Mapping[str, Stored]]
    inputs: Mapping[Slot, ActivationScale]
    fed: Mapping[str, Shape] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, Shape]:
        """The shape of one sample that each source is fed, without the batch, by address."""
        shapes, nodes = self.graph.shapes(), self.graph.nodes
        return {a: self.fed.get(a, shapes[a]) for a, node in nodes.items() if not node.inputs}

    def weight(self, address: str) -> IntegerTensor | NDArray[np.float32] | None:
        """The weight at an address, output channels first, or None where there is none."""
        found = self.parameters.get(address, {}).get("weight")
        assert not isinstance(found, IntegerBias)
        return found

    def changed(self, address: str, **parameters: Stored) -> Deployed:
        """The network with other `parameters` at one address."""
        here = {**self.parameters.get(address, {}), **parameters}
        return replace(self, parameters={**self.parameters, address: here})

    def module(self) -> fx.GraphModule:
        """The network as stock layers, with the values that an integer runtime computes with."""
        return assemble(steps_of(self.graph), self.stock_layer, self.inputs).eval()

    def stock_layer(self, step: Step) -> nn.Module | None:
        """The torch layer of a step with its parameters; None where torch has no such layer."""
        held = self.parameters.get(step.address, {})
        tensors = {name: torch.from_numpy(values(stored)) for name, stored in held.items()}
        return stock(step.op, tensors, *step.inputs)


Rewrite = Callable[[Deployed], Deployed]
"""A change of a deployed network, such as folding its norms or correcting its biases."""
