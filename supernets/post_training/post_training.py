"""Deployment without training: from float weights and a genotype to the network that ships."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np
import torch
from torch import Tensor, fx

from search_spaces.compensation import branches_of, unbranched, without_branches
from search_spaces.graph import Graph
from search_spaces.policy import full_precision
from search_spaces.space import Genotype, SearchSpace
from supernets.biases import round_biases
from supernets.deployed import Deployed, Rewrite
from supernets.fold import without_norms
from supernets.inputs import Inputs, inputs_of
from supernets.post_training.float_network import float_network, with_precisions
from supernets.post_training.reference import Reference

Maker = Callable[[Reference], Rewrite]
"""A function that makes a rewrite for the networks that have this reference."""

_REFERENCES = 8


@dataclass(frozen=True)
class Preserving:
    """A maker of a rewrite that keeps the function of a float network, such as equalization.

    `PostTraining` applies the rewrite once, to the float network. All rewrites behind compare with
    the network that comes out, whose layers may give other numbers than before.

    Attributes:
        make: The maker.
    """

    make: Maker

    def __call__(self, reference: Reference) -> Rewrite:
        """The rewrite for a reference."""
        return self.make(reference)


@dataclass(frozen=True)
class OfLargest:
    """A maker of a rewrite that compares narrower networks with the largest one of the space.

    `PostTraining` applies the rewrite before all others, to the float network without its low-rank
    branches, which give zeros there. All rewrites behind
    compare with the network that comes out.

    Attributes:
        make: The maker, which is given the reference of the largest network.
    """

    make: Maker

    def __call__(self, reference: Reference) -> Rewrite:
        """The rewrite for networks that are narrower than that of a reference."""
        return self.make(reference)


@dataclass(frozen=True)
class Filling:
    """A maker of a rewrite that fills low-rank branches, which give zeros until then.

    Attributes:
        make: The maker.
    """

    make: Maker

    def __call__(self, reference: Reference) -> Rewrite:
        """The rewrite for a reference."""
        return self.make(reference)


def integer_biases(reference: Reference) -> Rewrite:  # noqa: ARG001  # every maker takes one
    """The rewrite that puts biases on the grid of integer accumulators, the last one to apply."""
    return round_biases


class PostTraining:
    """A maker of deployed networks from the weights of a trained float network.

    A call with a genotype returns the network that ships, as `supernets.deploy.Deployment` does
    for a supernet. Networks that differ in precisions only share one float network with its
    samples and its rewrites, which keep what they rounded; the references of the last few
    architectures are kept.

    Attributes:
        space: The space of the genotypes.
        calibration: The batches of inputs by name.
        device: The device on which networks are made: the CPU.

    Args:
        space: The space.
        tensors: The largest parameters and the statistics of norms, see `float_network`.
        calibration: Batches of inputs; at least one. They need no labels.
        rewrites: Makers of the rewrites, in order: first those that keep the function, then one
            that sets ranges, one that rounds weights, those that repair, and `round_biases`.
            One that is an `OfLargest` is applied before all others, wherever it stands.

    Raises:
        InputError: If a batch does not fit the inputs of the space.
        ValueError: If there is no batch, or a batch or a tensor holds numbers that are not finite,
            or a rewrite that keeps the function stands behind one that does not.
        WeightsError: If a tensor of the largest network is missing.
    """

    def __init__(
        self,
        space: SearchSpace,
        tensors: Mapping[str, Tensor],
        calibration: Sequence[Inputs | Tensor],
        *,
        rewrites: Sequence[Maker],
    ) -> None:
        self.space = space
        self.device = torch.device("cpu")
        self.calibration = [inputs_of(space.graph, batch) for batch in calibration]
        self._tensors = tensors
        self._rewrites = tuple(rewrites)
        self._makers = tuple(make for make in rewrites if not isinstance(make, OfLargest))
        kept = [isinstance(make, Preserving) for make in self._makers]
        if kept != sorted(kept, reverse=True):
            raise ValueError(
                "rewrites that keep the function of the float network stand behind others that "
                "compare with this network; put equalize, smooth, awq and their like first"
            )
        self._known: OrderedDict[Hashable, tuple[Reference, tuple[Rewrite, ...]]] = OrderedDict()
        whole = self._unrounded(full_precision(space.decode(unbranched(space))))
        self._repairs = [make(whole) for make in rewrites if isinstance(make, OfLargest)]
        self.reference(space.largest)

    def __call__(self, genotype: Genotype) -> Deployed:
        """The deployed network of `genotype`.

        Raises:
            ValueError: If the rewrites leave a weight or an input that has a precision as floats.
        """
        graph = self.space.decode(genotype)
        reference, rewrites = self._shared(graph)
        network = with_precisions(reference.network, without_norms(graph)[0])
        made = reduce(lambda deployed, rewrite: rewrite(deployed), rewrites, network)
        require_rounded(made)
        return made

    def __reduce__(self) -> tuple[object, ...]:
        """How pickle makes an equal maker elsewhere: of the same arguments, nothing rounded yet."""
        made = partial(PostTraining, rewrites=self._rewrites)
        return made, (self.space, self._tensors, self.calibration)

    @property
    def given(self) -> Iterator[Tensor]:
        """The tensors that it was made of: those of the network and those of the samples."""
        yield from self._tensors.values()
        for batch in self.calibration:
            yield from batch.values()

    def full_precision(self, genotype: Genotype) -> fx.GraphModule:
        """The float network of `genotype`."""
        return self.reference(genotype).module

    def reference(self, genotype: Genotype) -> Reference:
        """The float network of `genotype` with the calibration batches."""
        return self._shared(self.space.decode(genotype))[0]

    def _unrounded(self, plain: Graph, *repairs: Rewrite) -> Reference:
        """The reference of a graph without precisions, repaired before it has any branch."""
        network = float_network(without_branches(plain), self._tensors)
        for repair in repairs:
            network = repair(network)
        if branches_of(plain):
            whole = float_network(plain, self._tensors)
            network = replace(whole, parameters={**whole.parameters, **network.parameters})
        return Reference(network, self.calibration)

    def _shared(self, graph: Graph) -> tuple[Reference, tuple[Rewrite, ...]]:
        """The reference and the rewrites of all networks that differ in precisions only."""
        plain = full_precision(graph)
        key = tuple(plain.nodes.items())
        if key not in self._known:
            reference = self._unrounded(plain, *self._repairs)
            rewrites: list[Rewrite] = []
            for make in self._makers:
                if isinstance(make, Preserving):
                    network = make(reference)(reference.network)
                    reference = Reference(network, self.calibration)
                else:
                    rewrites.append(make(reference))
            self._known[key] = (reference, tuple(rewrites))
            if len(self._known) > _REFERENCES:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


def require_rounded(deployed: Deployed) -> None:
    """Raise `ValueError` if a weight or an input that has a precision is still in floats."""
    nodes = deployed.graph.nodes.items()
    weights = [
        address
        for address, node in nodes
        if node.op.weight is not None and isinstance(deployed.weight(address), np.ndarray)
    ]
    inputs = [
        address
        for address, node in nodes
        if node.op.activation is not None
        and any((address, position) not in deployed.inputs for position in range(len(node.inputs)))
    ]
    for what, left, remedy in (
        ("weights", weights, "a rounding such as nearest"),
        ("inputs", inputs, "ranges"),
    ):
        if left:
            raise ValueError(
                f"the rewrites leave the {what} of {', '.join(left)} in floats, though these have "
                f"a precision; add {remedy} to the rewrites"
            )
