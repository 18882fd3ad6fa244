"""A walk through a network, layer by layer, beside the float network that it should equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from search_spaces.ops import Add
from supernets.assemble import ADDRESS, Step, module_name, steps_of
from supernets.deployed import Deployed, values
from supernets.encoded import EncodedTensor
from supernets.inputs import Inputs, arguments, count
from supernets.post_training.lattice import matrices
from supernets.post_training.moments import Draw, Moments, columns, moments, outputs, places_of


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that is about to be rounded.

    Attributes:
        address: The address of the layer.
        groups: The number of groups of its channels.
        weight: The float weight, in the shape that a device stores.
        encoded: The weight as it is rounded so far.
        moments: What arrives at the layer, and what the layer misses.
    """

    address: str
    groups: int
    weight: Tensor
    encoded: EncodedTensor
    moments: Moments


Solve = Callable[[Layer], EncodedTensor]
"""A way to round a weight by the inputs of its layer."""


def layer_by_layer(
    deployed: Deployed, exact: Deployed, batches: Sequence[Inputs], solve: Solve
) -> Deployed:
    """`deployed` with all weights rounded anew in execution order, and with biases that fit.

    Each layer reads what the layers before it really give, once they are rounded, and should give
    what it gives in the float network. Where its output is added to another tensor, it should also
    make good the error of that tensor.

    Args:
        deployed: The network, with encoded weights.
        exact: The same network in floats.
        batches: Batches of inputs.
        solve: Rounds the weight of one layer.
    """
    readers = deployed.graph.consumers()
    with torch.no_grad():
        modules = deployed.module(), exact.module()
        runs = [_Pair.of(*modules, batch) for batch in batches]
        for step in steps_of(deployed.graph):
            weight = deployed.weight(step.address)
            if not isinstance(weight, EncodedTensor):
                continue
            for run in runs:
                run.reach(step.address)
            layer = _layer(deployed, exact, step, _addition(deployed, readers, step), runs)
            if layer is None:
                continue
            with torch.enable_grad():
                found = solve(layer)
            deployed = _with(deployed, exact, layer, found)
            modules[0].add_module(module_name(step.address), deployed.stock_layer(step))
    return deployed


def _with(deployed: Deployed, exact: Deployed, layer: Layer, found: EncodedTensor) -> Deployed:
    flat = matrices(layer.weight, layer.groups)
    rounded = matrices(torch.from_numpy(found.values()), layer.groups)
    shift = layer.moments.bias(flat, rounded).numpy()
    bias = values(exact.parameters[layer.address]["bias"]) + shift
    return deployed.changed(layer.address, weight=found, bias=bias)


def _addition(deployed: Deployed, readers: Mapping[str, list[str]], step: Step) -> str | None:
    """The address of the tensor to which the output of a step is added, its only use."""
    reading = readers[step.address]
    if len(reading) != 1 or not isinstance(deployed.graph.nodes[reading[0]].op, Add):
        return None
    others = [a for a in deployed.graph.nodes[reading[0]].inputs if a != step.address]
    shapes = deployed.graph.shapes()
    return next((a for a in others if shapes[a] == shapes[step.address]), None)


def _layer(
    deployed: Deployed, exact: Deployed, step: Step, other: str | None, runs: Sequence[_Pair]
) -> Layer | None:
    weight, shape = deployed.weight(step.address), step.op.infer(*step.inputs)
    places = places_of(step.op, shape)
    if places is None or not isinstance(weight, EncodedTensor):
        return None
    held = {n: torch.from_numpy(values(p)) for n, p in exact.parameters[step.address].items()}
    draw = Draw(places, sum(run.samples for run in runs))

    def seen() -> Iterator[tuple[Tensor, Tensor]]:
        for run in runs:
            chosen = draw()
            read = columns(step.op, run.read(step.address), chosen)
            given = matrices(held["weight"], len(read)) @ read
            should = outputs(step.op, run.wanted(step.address), chosen) - held["bias"][:, None]
            if other is not None:
                missing = run.missing(other)
                if missing is not None:
                    should = should + outputs(step.op, missing, chosen)
            yield read, should.reshape(given.shape) - given

    found = moments(seen())
    return Layer(step.address, len(found.gram), held["weight"], weight, found)


class _Running(fx.Interpreter):
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
class _Pair:
    """A batch on its way through the network that is rounded, and through the float network."""

    rounded: _Running
    exact: _Running
    samples: int

    @classmethod
    def of(cls, rounded: fx.GraphModule, exact: fx.GraphModule, batch: Inputs) -> _Pair:
        return cls(_Running(rounded, batch), _Running(exact, batch), count(batch))

    def reach(self, address: str) -> None:
        self.rounded.run_to(address, inclusive=False)
        self.exact.run_to(address, inclusive=True)

    def read(self, address: str) -> Tensor:
        return self.rounded.env[self.rounded.nodes[address].args[0]]  # pyright: ignore

    def wanted(self, address: str) -> Tensor:
        return self.exact.env[self.exact.nodes[address]]

    def missing(self, address: str) -> Tensor | None:
        """What the tensor at `address` lacks; None while it is not computed."""
        here, there = self.rounded.nodes[address], self.exact.nodes[address]
        both = here in self.rounded.env and there in self.exact.env
        return self.exact.env[there] - self.rounded.env[here] if both else None
