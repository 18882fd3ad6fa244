"""How a user's network is called, so that every network made from it is called alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nas.own.model import called
from nas.own.samples import Samples, require_outputs
from search_spaces.graph import Graph
from supernets.inputs import Inputs


@dataclass(frozen=True, eq=False)
class Calling:
    """The inputs and outputs of a user's network.

    Attributes:
        inputs: The names of the graph's inputs, in the order of the network's arguments.
        arguments: The names of the network's arguments.
        spec: The structure of the network's output, such as a dict of three tensors.
        shapes: The shape of each tensor of the output, without the batch; None stands for None.
    """

    inputs: tuple[str, ...]
    arguments: tuple[str, ...]
    spec: pytree.TreeSpec
    shapes: tuple[torch.Size | None, ...]

    @classmethod
    def of(cls, model: nn.Module, graph: Graph, few: Samples) -> Calling:
        """The inputs and outputs of a network, seen on a few samples.

        Args:
            model: The network.
            graph: Its graph, with inputs in the order of the arguments.
            few: The samples.
        """
        output = called(model, few.given())
        require_outputs(output, len(few))
        leaves = pytree.tree_leaves(output)
        inputs = tuple(op.name for op in graph.inputs.values())
        shapes = tuple(None if leaf is None else leaf.shape[1:] for leaf in leaves)
        return cls(inputs, few.names or inputs, pytree.tree_structure(output), shapes)

    def named(self, samples: Samples) -> Inputs:
        """Samples by the names of the graph's inputs."""
        return dict(zip(self.inputs, samples.tensors, strict=True))

    def outputs(self, flat: Tensor) -> Any:
        """The outputs in the structure of the user's network, from one tensor with all of them."""
        return pytree.tree_unflatten(parted(flat, self.shapes), self.spec)

    def module(self, network: nn.Module) -> nn.Module:
        """A network made from the user's, to be called like it and with the same outputs."""
        if self.spec.num_leaves == 1 and self.spec.is_leaf() and self.arguments == self.inputs:
            return network
        return CalledAlike(network, self)


class CalledAlike(nn.Module):
    """A network with several outputs or other names of inputs, called like the user's own.

    Args:
        network: The network, whose outputs are flattened, one behind the other.
        calling: The inputs and outputs of the user's network.
    """

    def __init__(self, network: nn.Module, calling: Calling) -> None:
        super().__init__()
        self.network = network
        self._calling = calling

    def forward(self, *args: Tensor, **named: Tensor) -> Any:
        """The outputs in the structure of the user's network."""
        of = dict(zip(self._calling.arguments, self._calling.inputs, strict=True))
        output = self.network(*args, **{of.get(name, name): one for name, one in named.items()})
        return self._calling.outputs(output)


class FileModule(nn.Module):
    """A file that a runtime runs, called like the networks of a graph.

    Args:
        run: Runs the file: from a batch by names of inputs to the output `(batch, ...)`.
        names: The names of the inputs, in their order.
    """

    def __init__(self, run: Callable[[Inputs], NDArray[np.float32]], names: Sequence[str]) -> None:
        super().__init__()
        self._run, self._names = run, tuple(names)

    def forward(self, *args: Tensor, **named: Tensor) -> Tensor:
        """The output of the file."""
        return torch.from_numpy(self._run({**dict(zip(self._names, args, strict=False)), **named}))


def parted(output: Tensor, shapes: Sequence[torch.Size | None]) -> list[Tensor | None]:
    """The outputs in a tensor `(n, numbers)` that holds all of them, one behind the other.

    A single output is that tensor itself.
    """
    held = [shape for shape in shapes if shape is not None]
    if len(held) == 1:
        return [None if shape is None else output for shape in shapes]
    parts = iter(output.reshape(len(output), -1).split([shape.numel() for shape in held], dim=1))
    return [None if shape is None else next(parts).reshape(-1, *shape) for shape in shapes]
