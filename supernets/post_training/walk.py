"""A walk through a network, layer by layer, beside the float network that it should equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from search_spaces.graph import Graph
from search_spaces.ops import Add, Shape
from supernets.assemble import ADDRESS, Step, module_name, steps_of
from supernets.deployed import Deployed, values
from supernets.encoded import EncodedTensor
from supernets.inputs import Inputs, arguments, count, rows
from supernets.post_training.lattice import matrices
from supernets.post_training.moments import Draw, Moments, columns, moments, outputs, places_of
from supernets.post_training.observing import outputs_of_ops

# A walk through a large network reads fewer samples. All of them are on their way at once.
_MOST_MACS, _MOST_VALUES, _FEWEST_SAMPLES = 1 << 39, 1 << 26, 16


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that a walk has reached.

    Attributes:
        address: The address of the layer.
        groups: The number of groups of its channels.
        base: The weight, in floats, against which is measured what the layer misses.
        bias: The bias against which is measured what the layer misses.
        moments: What arrives at the layer, and what the layer misses.
    """

    address: str
    groups: int
    base: Tensor
    bias: Tensor
    moments: Moments

    def fitting_bias(self, weight: Tensor) -> NDArray[np.float32]:
        """The bias with which the layer gives the right means, if `weight` is its weight."""
        flat, other = matrices(self.base, self.groups), matrices(weight, self.groups)
        return (self.bias + self.moments.bias(flat, other)).numpy()


Change = Callable[[Deployed, Layer], Deployed]
"""A change of a network at a layer that a walk has reached, or right behind this layer."""


def walked(
    deployed: Deployed,
    exact: Deployed,
    batches: Sequence[Inputs],
    change: Change,
    *,
    base: Deployed | None = None,
) -> Deployed:
    """`deployed` changed at each rounded layer, in execution order.

    At each layer is measured what arrives there, now that the layers before are changed, and what
    the layer misses: the difference of its output in the float network and of its output with the
    weight and bias in `base`. Where the output is added to another tensor, the layer also misses
    what that tensor misses.

    Args:
        deployed: The network, with encoded weights.
        exact: The same network in floats.
        batches: Batches of inputs.
        change: Changes the network at a layer.
        base: The network with the weights against which is measured; `exact` if left out.
    """
    shapes = deployed.graph.shapes()
    with torch.no_grad():
        modules = deployed.module(), exact.module()
        steps = {step.address: step for step in steps_of(deployed.graph)}
        taken = first_samples(batches, affordable(deployed.graph))
        runs = [Pair.of(*modules, batch) for batch in taken]
        for address, step in steps.items():
            if not isinstance(deployed.weight(address), EncodedTensor):
                continue
            for run in runs:
                run.reach(address)
            added = _added(deployed.graph, shapes, address)
            layer = _layer(base or exact, step, added, runs)
            if layer is None:
                continue
            with torch.enable_grad():
                after = change(deployed, layer)
            for other, held in after.parameters.items():
                if held is not deployed.parameters.get(other):
                    modules[0].add_module(module_name(other), after.stock_layer(steps[other]))
            deployed = after
    return deployed


def affordable(graph: Graph) -> int:
    """How many samples a walk through a network reads: fewer, the more each costs.

    At 224 x 224 pixels, 83 images go through ResNet-18: its largest tensor then takes 270 MB.
    """
    macs = sum(step.op.macs(*step.inputs) for step in steps_of(graph))
    largest = max(outputs_of_ops(graph).values())
    return max(_FEWEST_SAMPLES, min(_MOST_MACS // max(macs, 1), _MOST_VALUES // largest))


def first_samples(batches: Sequence[Inputs], most: int) -> Iterator[Inputs]:
    """The first batches, with at most so many samples in all; the last one may be cut."""
    for batch in batches:
        if most <= 0:
            return
        yield rows(batch, slice(0, most))
        most -= count(batch)


def _added(graph: Graph, shapes: Mapping[str, Shape], address: str) -> list[str]:
    """The addresses of the tensors to which an output is added, one after another."""
    readers, found, here = graph.consumers(), list[str](), address
    while len(readers[here]) == 1:
        (reader,) = readers[here]
        others = [read for read in graph.nodes[reader].inputs if read != here]
        alike = all(shapes[read] == shapes[address] for read in others)
        if not isinstance(graph.nodes[reader].op, Add) or len(others) != 1 or not alike:
            break
        found += others
        here = reader
    return found


def _layer(base: Deployed, step: Step, added: Sequence[str], runs: Sequence[Pair]) -> Layer | None:
    """The layer of a step; None if the output is no product of a matrix with columns."""
    places = places_of(step.op, step.op.infer(*step.inputs))
    if places is None:
        return None
    held = {n: torch.from_numpy(values(p)) for n, p in base.parameters[step.address].items()}
    draw = Draw(places, sum(run.samples for run in runs))

    def seen() -> Iterator[tuple[Tensor, Tensor]]:
        for run in runs:
            chosen = draw()
            read = columns(step.op, run.read(step.address), chosen)
            given = matrices(held["weight"], len(read)) @ read
            should = outputs(step.op, run.wanted(step.address), chosen) - held["bias"][:, None]
            for missing in filter(torch.is_tensor, map(run.missing, added)):
                should = should + outputs(step.op, missing, chosen)
            yield read, should.reshape(given.shape) - given

    found = moments(seen())
    return Layer(step.address, len(found.gram), held["weight"], held["bias"], found)


class Running(fx.Interpreter):
    """An interpreter of an assembled module that stops where it is told to.

    Args:
        module: The module.
        batch: The inputs.
    """

    def __init__(self, module: fx.GraphModule, batch: Inputs) -> None:
        super().__init__(module)
        self.args_iter = iter(arguments(module, batch))
        self._left = iter(module.graph.nodes)
        self.nodes = {n.meta[ADDRESS]: n for n in module.graph.nodes if ADDRESS in n.meta}
        self._waiting: fx.Node | None = None

    def run_to(self, address: str, *, inclusive: bool) -> None:
        """Run all nodes before the one that computes `address`, and that one if inclusive."""
        last = self.nodes[address]
        while last not in self.env:
            node = self._waiting or next(self._left)
            if node is last and not inclusive:
                self._waiting = node
                return
            self._waiting = None
            self.env[node] = self.run_node(node)
            for done in self.user_to_last_uses.get(node, []):
                del self.env[done]


@dataclass(frozen=True, eq=False)
class Pair:
    """A batch on its way through the network that is rounded, and through the float network.

    Attributes:
        rounded: The run of the network that is rounded.
        exact: The run of the float network.
        samples: The number of samples of the batch.
    """

    rounded: Running
    exact: Running
    samples: int

    @classmethod
    def of(cls, rounded: fx.GraphModule, exact: fx.GraphModule, batch: Inputs) -> Pair:
        """The pair of runs of a batch through both modules, which have not begun."""
        return cls(Running(rounded, batch), Running(exact, batch), count(batch))

    def reach(self, address: str) -> None:
        """Run the rounded network up to an operator, and the float network one further."""
        self.rounded.run_to(address, inclusive=False)
        self.exact.run_to(address, inclusive=True)

    def read(self, address: str) -> Tensor:
        """What an operator of the rounded network, which has been reached, reads first."""
        return self.rounded.env[self.rounded.nodes[address].args[0]]  # pyright: ignore

    def wanted(self, address: str) -> Tensor:
        """The output of an operator in the float network."""
        return self.exact.env[self.exact.nodes[address]]

    def given(self, address: str) -> Tensor:
        """The output of an operator in the rounded network."""
        return self.rounded.env[self.rounded.nodes[address]]

    def missing(self, address: str) -> Tensor | None:
        """What the tensor at `address` lacks; None while it is not computed."""
        here, there = self.rounded.nodes[address], self.exact.nodes[address]
        both = here in self.rounded.env and there in self.exact.env
        return self.exact.env[there] - self.rounded.env[here] if both else None
