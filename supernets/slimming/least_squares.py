"""The repair of a narrower network: layers are fitted to what they should give, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from search_spaces.graph import Graph
from search_spaces.ops import Add, Parameter
from search_spaces.runs import Runs, runs_of
from supernets.assemble import Step, module_name, steps_of
from supernets.deployed import Deployed, Rewrite, values
from supernets.elastic import first_of_runs
from supernets.inputs import Inputs, count
from supernets.post_training.lattice import matrices
from supernets.post_training.moments import Draw, columns, moments, outputs, places_of
from supernets.post_training.post_training import OfLargest
from supernets.post_training.reference import Reference
from supernets.post_training.walk import Running


def least_squares(reference: Reference) -> Rewrite:
    """The rewrite that repairs a network some of whose channels or blocks were removed.

    Each layer behind a cut gets the weights with which it comes nearest to what it gives in the
    whole network, from what the layers before it, which are repaired already, really hand to it
    (ridge regression towards the weights that it has). A layer whose output is added to another
    tensor also makes good what that tensor lacks (He et al. 2017, "Channel pruning for
    accelerating very deep neural networks", sections 3.1 and 3.3).

    Args:
        reference: The whole network, whose calibration batches are used.
    """

    def repaired(deployed: Deployed) -> Deployed:
        behind = behind_cuts(deployed.graph, reference.network.graph)
        if not behind:
            return deployed
        with torch.no_grad():
            module = deployed.module()
            inner = runs_of(deployed.graph)
            runs = [_Pair.of(module, reference.module, b, inner) for b in reference.batches]
            for step in steps_of(deployed.graph):
                weight = deployed.parameters.get(step.address, {}).get("weight")
                if step.address in behind and weight is not None and step.op.absorbs:
                    other = _addends(deployed.graph, reference.network.graph, step.address)
                    deployed = _fitted(deployed, step, other, runs)
                    module.add_module(module_name(step.address), deployed.stock_layer(step))
        return deployed

    return repaired


LEAST_SQUARES = OfLargest(least_squares)
"""The maker of the repair, for `PostTraining`."""


def behind_cuts(graph: Graph, whole: Graph) -> set[str]:
    """The addresses whose inputs differ from those in the whole network."""
    changed: set[str] = set()
    behind: set[str] = set()
    for address, node in graph.nodes.items():
        if node.inputs != whole.nodes[address].inputs or changed.intersection(node.inputs):
            behind.add(address)
        if address in behind or node.op != whole.nodes[address].op:
            changed.add(address)
    return behind


def _addends(graph: Graph, whole: Graph, address: str) -> tuple[str, str] | None:
    """The tensor to which the output at `address` is added, its only use: here, and in `whole`."""
    readers = graph.consumers()[address]
    if len(readers) != 1 or not isinstance(graph.nodes[readers[0]].op, Add):
        return None
    place = graph.nodes[readers[0]].inputs.index(address)
    return graph.nodes[readers[0]].inputs[1 - place], whole.nodes[readers[0]].inputs[1 - place]


def _fitted(
    deployed: Deployed, step: Step, other: tuple[str, str] | None, runs: Sequence[_Pair]
) -> Deployed:
    """The network with the layer of a step fitted; as it is if the layer has no columns."""
    places = places_of(step.op, step.op.infer(*step.inputs))
    if places is None:
        return deployed
    held = {n: torch.from_numpy(values(p)) for n, p in deployed.parameters[step.address].items()}
    draw = Draw(places, sum(run.samples for run in runs))
    for run in runs:
        run.reach(step.address)

    def seen() -> Iterator[tuple[Tensor, Tensor]]:
        for run in runs:
            chosen, x = draw(), run.read(step.address)
            read = columns(step.op, x, chosen)
            given = matrices(held["weight"], len(read)) @ read
            shape = (len(x), *step.op.infer(*step.inputs))
            kept = step.runs if step.op.channelwise else None
            wanted = narrowed(_made(step, run.wanted(step.address)), shape, kept)
            should = outputs(step.op, wanted, chosen) - held["bias"][:, None]
            missing = None if other is None else run.missing(*other)
            if missing is not None:
                should = should + outputs(step.op, missing, chosen)
            yield read, should.reshape(given.shape) - given

    found = moments(seen())
    flat = matrices(held["weight"], len(found.gram))
    target = found.target(flat)
    bias = held["bias"] + found.bias(flat, target)
    return deployed.changed(
        step.address, weight=target.reshape(held["weight"].shape).numpy(), bias=bias.numpy()
    )


def _made(step: Step, whole: Tensor) -> Tensor:
    """Those channels of the output of a wider layer that the layer of a step makes.

    They are not the first ones in a layer that makes several sets of heads.
    """
    factors = step.op.parameters(*step.inputs)["weight"].along("out")
    if len(factors) == 1:
        return whole
    made = Parameter(factors, ("out",) * len(factors))
    along = whole.movedim(step.op.channel_axis, 0)
    kept = narrowed(along.unflatten(0, made.factored(along.shape[:1])), factors)
    return kept.flatten(0, len(factors) - 1).movedim(0, step.op.channel_axis)


def narrowed(tensor: Tensor, shape: Sequence[int], runs: Runs | None = None) -> Tensor:
    """The first numbers of a tensor along every axis that is shorter in `shape`.

    Of several runs of channels behind the batch, these are the first ones of each.
    """
    if runs is not None:
        tensor = first_of_runs(tensor, 1, runs)
    return tensor[tuple(slice(length) for length in shape)]


@dataclass(frozen=True, eq=False)
class _Pair:
    """A batch on its way through the narrower network, and through the whole one."""

    narrow: Running
    whole: Running
    samples: int
    runs: Mapping[str, Runs]

    @classmethod
    def of(
        cls, narrow: fx.GraphModule, whole: fx.GraphModule, batch: Inputs, runs: Mapping[str, Runs]
    ) -> _Pair:
        return cls(Running(narrow, batch), Running(whole, batch), count(batch), runs)

    def reach(self, address: str) -> None:
        self.narrow.run_to(address, inclusive=False)
        self.whole.run_to(address, inclusive=True)

    def read(self, address: str) -> Tensor:
        return self.narrow.env[self.narrow.nodes[address].args[0]]  # pyright: ignore

    def wanted(self, address: str) -> Tensor:
        return self.whole.env[self.whole.nodes[address]]

    def missing(self, here: str, there: str) -> Tensor | None:
        """What the tensor at `here` lacks of that at `there`; None while it is not computed."""
        narrow, whole = self.narrow.nodes[here], self.whole.nodes[there]
        if narrow not in self.narrow.env or whole not in self.whole.env:
            return None
        found = self.narrow.env[narrow]
        return narrowed(self.whole.env[whole], found.shape, self.runs.get(here)) - found
