"""Rewrites that scale channels before anything is rounded; none of them changes the function.

`equalize` makes the ranges of weights alike. `smooth` and `awq` look at the inputs of layers too:
the first moves the range of activations into weights, the second protects the weights that
multiply large inputs.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Op
from search_spaces.quant import PerChannel, Quant
from supernets.deployed import Deployed, Rewrite, values
from supernets.post_training.moments import second_moments
from supernets.post_training.nearest import rounded
from supernets.post_training.observing import Watch
from supernets.post_training.post_training import Preserving
from supernets.post_training.reference import Reference
from supernets.post_training.scaling import (
    Factors,
    Scaled,
    along_in,
    largest_read,
    largest_written,
    read,
    rescaled,
    scaled_channels,
    written,
)

_SWEEPS, _CONVERGED = 40, 1e-4
_LEAST, _MOST = 1e-3, 1e3  # of a factor, against channels that are hardly used
_STRENGTH = 0.5  # the share of the range of activations that weights take over (Xiao et al. 2023)
_PROBE = Quant(Int(4), PerChannel())
_STRENGTHS = tuple(tried / 10 for tried in range(11))


@Preserving
def equalize(reference: Reference) -> Rewrite:  # noqa: ARG001  # every maker takes a reference
    """The rewrite that makes the ranges of weights alike on both sides of every channel.

    The factor of a channel is the root of the quotient of the largest weight that writes and of the
    largest that reads the channel (Nagel et al. 2019, eq. 11). Chains of layers, such as those
    around a depthwise convolution, are swept until no factor changes.
    """
    return equalized


def equalized(deployed: Deployed) -> Deployed:
    """`deployed` with the ranges of weights made alike, see `equalize`."""
    groups = [
        group
        for group in scaled_channels(deployed.graph)
        if all("weight" in written(deployed.graph.nodes[a].op) for a in group.writers)
    ]
    for _ in range(_SWEEPS):
        change = 0.0
        for group in groups:
            writing = [largest_written(_weight(deployed, a)) for a in group.writers]
            reading = _largest_read(deployed, group)
            factors = _bounded(np.maximum.reduce(writing), reading) ** 0.5
            deployed = rescaled(deployed, group, factors)
            change = max(change, float(np.abs(np.log(factors)).max()))
        if change < _CONVERGED:
            break
    return deployed


@Preserving
def smooth(reference: Reference) -> Rewrite:
    """The rewrite that moves half of the range of activations into the weights that read them.

    The factor of a channel is `max|x| ** 0.5 / max|w| ** 0.5` (SmoothQuant, Xiao et al. 2023, eq.
    4). Only channels with a reader that can quantize its inputs are scaled.
    """

    def smoothed(deployed: Deployed) -> Deployed:
        groups = _read_rounded(deployed.graph, "activation")
        seen = _sizes(deployed, reference, groups)
        for group in groups:
            most, _ = _of(seen, deployed, group)
            factors = _bounded(most**_STRENGTH, _largest_read(deployed, group) ** (1 - _STRENGTH))
            deployed = rescaled(deployed, group, factors)
        return deployed

    return smoothed


@Preserving
def awq(reference: Reference) -> Rewrite:
    """The rewrite that enlarges the weights that multiply large inputs, before they are rounded.

    The factor of a channel is `mean|x| ** a`; of eleven `a` from 0 to 1, that with the least
    squared error of the outputs of all readers is taken (AWQ, Lin et al. 2024, eq. 4 and 5), each
    rounded to the nearest: at its precision, or at 4 bits per channel where it has none yet.
    """

    def scaled(deployed: Deployed) -> Deployed:
        groups = _read_rounded(deployed.graph, "weight")
        seen = _sizes(deployed, reference, groups)
        reading = [address for group in groups for address in group.readers]
        grams = second_moments(deployed, reference.batches, reading)
        for group in groups:
            _, mean = _of(seen, deployed, group)
            tried = [_bounded(mean**strength, np.ones(1)) for strength in _STRENGTHS]
            tried = [factors / np.sqrt(factors.max() * factors.min()) for factors in tried]
            errors = [_error(deployed, group, factors, grams) for factors in tried]
            deployed = rescaled(deployed, group, tried[int(np.argmin(errors))])
        return deployed

    return scaled


def _error(deployed: Deployed, group: Scaled, factors: Factors, grams: dict[str, Tensor]) -> float:
    """The squared error of the outputs of all readers with weights times `factors`, rounded."""
    total = 0.0
    for address in group.readers:
        op = deployed.graph.nodes[address].op
        if address not in grams or "weight" not in _precisions(op):
            continue
        quant = op.weight or _PROBE
        weight = _weight(deployed, address)
        near = rounded(along_in(weight, factors), quant).values()
        off = torch.from_numpy(along_in(near, 1 / factors) - weight)
        off = off.reshape(len(grams[address]), -1, grams[address].shape[-1])
        total += float(((off @ grams[address]) * off).sum())
    return total


def _read_rounded(graph: Graph, part: str) -> list[Scaled]:
    """The channels that can be scaled and have a reader with a precision of its `part`."""
    return [
        group
        for group in scaled_channels(graph)
        if any(part in _precisions(graph.nodes[address].op) for address in group.readers)
    ]


def _precisions(op: Op) -> set[str]:
    """The fields of an operator, those of its precisions among them."""
    return {one.name for one in fields(op)}


def _bounded(above: Factors, below: Factors) -> Factors:
    """The quotients, 1 where one of both numbers is 0, within bounds."""
    known = (above > 0) & (below > 0)
    return np.divide(above, below, out=np.ones_like(above), where=known).clip(_LEAST, _MOST)


def _weight(deployed: Deployed, address: str) -> np.ndarray:
    """The numbers at an address that multiply what is read there."""
    name = read(deployed.graph.nodes[address].op)
    assert name is not None
    return values(deployed.parameters[address][name])


def _largest_read(deployed: Deployed, group: Scaled) -> Factors:
    found = [largest_read(_weight(deployed, address), group.count) for address in group.readers]
    return np.maximum.reduce(found)


def _of(
    seen: dict[str, tuple[Factors, Factors]], deployed: Deployed, group: Scaled
) -> tuple[Factors, Factors]:
    """The greatest and the mean size of every channel that a group's readers read."""
    tensors = {deployed.graph.nodes[address].inputs[0] for address in group.readers}
    most, mean = zip(*(seen[tensor] for tensor in tensors), strict=True)
    return np.maximum.reduce(most), np.mean(mean, axis=0)


def _sizes(
    deployed: Deployed, reference: Reference, groups: list[Scaled]
) -> dict[str, tuple[Factors, Factors]]:
    """The greatest and the mean size of every channel of the tensors that are read, by address."""
    counts = {
        deployed.graph.nodes[address].inputs[0]: (group.count, deployed.graph.nodes[address].op)
        for group in groups
        for address in group.readers
    }
    most: dict[str, list[Tensor]] = {address: [] for address in counts}
    mean: dict[str, list[Tensor]] = {address: [] for address in counts}

    def see(address: str, output: Tensor) -> None:
        count, op = counts[address]
        axis = 1 + op.channel_axis % (output.dim() - 1)
        sizes = output.abs().movedim(axis, 0).reshape(count, -1)
        most[address].append(sizes.amax(1))
        mean[address].append(sizes.mean(1))

    watch = Watch(deployed.module(), counts, see)
    for batch in reference.batches:
        watch.show(batch)
    return {
        address: (
            torch.stack(most[address]).amax(0).double().numpy(),
            torch.stack(mean[address]).mean(0).double().numpy(),
        )
        for address in counts
    }
