"""The reference of post-training quantization: the float network and its calibration batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, fx

from supernets.deployed import Deployed
from supernets.inputs import Inputs, inputs_of
from supernets.post_training.observing import Sample, outputs_at, samples

_KEPT = 4


class Reference:
    """The float network that rewrites compare with, and the batches that they may look at.

    Attributes:
        network: The float network, in which nothing is rounded.
        batches: The calibration batches.

    Args:
        network: The float network, such as `float_network` makes it.
        batches: Batches of inputs by name, or of the only input; at least one.

    Raises:
        InputError: If a batch does not fit the inputs of the network.
        ValueError: If there is no batch, or a batch holds a number that is not finite.
    """

    def __init__(self, network: Deployed, batches: Sequence[Inputs | Tensor]) -> None:
        self.network = network
        self.batches = calibration_of(network, batches)
        self._samples: list[tuple[Deployed, Mapping[str, Sample]]] = []

    @cached_property
    def module(self) -> fx.GraphModule:
        """The float network as stock layers of torch."""
        return self.network.module()

    @cached_property
    def outputs(self) -> Sequence[Tensor]:
        """The output of the float network for every batch."""
        with torch.no_grad():
            return [self.module(**batch) for batch in self.batches]

    def activations(self, address: str) -> Iterator[Tensor]:
        """The output of the operator at `address` in the float network, batch by batch.

        The network is run up to this operator again, so that only one batch is in memory.
        """
        return outputs_at(self.network, address, self.batches)

    def samples(self, network: Deployed | None = None) -> Mapping[str, Sample]:
        """A sample of the output of every operator whose readers may quantize it, by address.

        Args:
            network: The network to run: one that computes the same as the float network, in other
                numbers, such as after equalization; the float network itself if left out. The
                samples of the last few networks are kept.
        """
        network = network or self.network
        for known, found in self._samples:
            if _same(known, network):
                return found
        found = samples(network, self.batches)
        self._samples = [*self._samples[1 - _KEPT :], (network, found)]
        return found


def _same(one: Deployed, other: Deployed) -> bool:
    """Whether two networks of one graph hold the same arrays, not only equal ones."""
    return one.inputs == other.inputs and all(
        stored is other.parameters[address].get(name)
        for address, held in one.parameters.items()
        for name, stored in held.items()
    )


def calibration_of(network: Deployed, batches: Sequence[Inputs | Tensor]) -> list[Inputs]:
    """The calibration batches by the names of inputs, checked."""
    if not batches:
        raise ValueError(
            "post-training quantization needs inputs for calibration, given no batch of them"
        )
    named = [inputs_of(network.graph, batch) for batch in batches]
    for number, batch in enumerate(named):
        for name, tensor in batch.items():
            if not len(tensor) or not bool(tensor.isfinite().all()):
                raise ValueError(
                    f"calibration batch {number} has no samples, or numbers of input {name!r} that "
                    "are not finite; leave it out"
                )
    return named
