"""Repair of rounded layers: outputs get back the mean and the variance of the float network.

Rounding a weight shifts and stretches the output of every channel. Both are measured on calibration
batches and put into the scales and the bias, which costs nothing at run time (Banner et al. 2019,
section 4.2; here for the network with folded norms, and relative to the float network: a plain new
estimate of norms loses points, since trained statistics come from augmented images).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from search_spaces.quant import Quant
from supernets.biases import bias_shifts
from supernets.deployed import Deployed, Rewrite
from supernets.encoded import EncodedTensor
from supernets.fold import absorbs, folded_weight
from supernets.inputs import Inputs, batches, count, rows
from supernets.post_training.observing import LayerByLayer, outputs_of_ops
from supernets.post_training.reference import Reference

_MOST_VALUES = 1 << 25
"""How many numbers the largest tensor of a pass may have; fewer samples are used beyond that."""
_CHUNK = 64
_LEAST_VARIANCE = 1e-12
_FURTHEST = 4.0  # a channel that needs a larger factor has lost its meaning


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean and the variance of every channel of a tensor, `(channels,)` each."""

    mean: Tensor
    variance: Tensor


def norm_repair(reference: Reference) -> Rewrite:
    """The rewrite that gives rounded layers the channel means and variances of the float layers.

    Layers are repaired in execution order, in one pass; each reads what the repaired layers before
    give. Means are exact on the calibration batches; variances where the scales of a weight belong
    to a single output channel, other weights keep their scales.
    """
    chunks = [*batches(bounded(reference), _CHUNK)]
    wanted: dict[str, Moments] = {}

    def rewrite(deployed: Deployed) -> Deployed:
        axes = _rounded_layers(deployed)
        if missing := axes.keys() - wanted.keys():
            wanted.update(_moments(reference.module, {a: axes[a] for a in missing}, chunks))
        for address, (factor, shift) in _matched(deployed, wanted, axes, chunks=chunks).items():
            deployed = _affine(deployed, address, factor.numpy(), shift.numpy())
        return deployed

    return rewrite


def bias_correction(reference: Reference) -> Rewrite:
    """The rewrite that gives rounded layers the channel means of the float layers.

    Biases are corrected in execution order; each layer reads what the corrected layers before give
    (Nagel et al. 2019, section 4.2, with measured means).
    """
    batch = bounded(reference)

    def rewrite(deployed: Deployed) -> Deployed:
        axes = _rounded_layers(deployed)
        pairs = {address: address for address in axes}
        shifts = bias_shifts(reference.module, deployed.module(), pairs, batch, axes=axes)
        for address, shift in shifts.items():
            one = np.ones(len(shift), np.float32)
            deployed = _affine(deployed, address, one, shift.numpy())
        return deployed

    return rewrite


def bounded(reference: Reference) -> Inputs:
    """The samples of all calibration batches as one batch, as many as memory allows."""
    whole = {
        name: torch.cat([batch[name] for batch in reference.batches])
        for name in reference.batches[0]
    }
    largest = max(outputs_of_ops(reference.network.graph).values())
    return rows(whole, slice(0, max(1, min(count(whole), _MOST_VALUES // largest))))


def _rounded_layers(deployed: Deployed) -> dict[str, int]:
    """The addresses of rounded layers that have a bias, each with the axis of its channels.

    Raises:
        ValueError: If a bias is on the grid of integers already.
    """
    layers = {
        address: node.op.channel_axis
        for address, node in deployed.graph.nodes.items()
        if node.op.absorbs and isinstance(deployed.weight(address), EncodedTensor)
    }
    done = [a for a in layers if not isinstance(deployed.parameters[a]["bias"], np.ndarray)]
    if done:
        raise ValueError(
            f"the biases of {', '.join(done)} are integers already, which a repair would undo; "
            "apply round-biases last"
        )
    return layers


def _affine(deployed: Deployed, address: str, factor: np.ndarray, shift: np.ndarray) -> Deployed:
    """The network with the output of a layer times `factor` plus `shift`, per channel."""
    held = deployed.parameters[address]
    weight, bias = held["weight"], held["bias"]
    assert isinstance(weight, EncodedTensor)
    assert isinstance(bias, np.ndarray)
    if (factor != 1).any():
        weight = folded_weight(weight, factor.astype(np.float64))
    return deployed.changed(address, weight=weight, bias=(bias * factor + shift).astype(np.float32))


def moments_of(parts: Sequence[Tensor], axis: int) -> Moments:
    """The moments of a batch in `parts`; `axis` is the axis of channels without the batch."""
    others = [d for d in range(parts[0].dim()) if d != 1 + axis % (parts[0].dim() - 1)]
    middle = parts[0].mean(others, keepdim=True)  # near the mean, so that no digits cancel
    first = torch.zeros(middle.numel(), dtype=torch.float64)
    second = torch.zeros_like(first)
    for part in parts:
        apart = part - middle
        first += apart.sum(others)
        second += apart.square_().sum(others)
    places = sum(part.numel() for part in parts) / middle.numel()
    mean = first / places
    variance = (second / places - mean.square()).clamp_min(0.0)
    return Moments((mean + middle.reshape(-1)).float(), variance.float())


def _moments(
    module: fx.GraphModule, axes: Mapping[str, int], chunks: Sequence[Inputs]
) -> dict[str, Moments]:
    """The moments of the outputs at the addresses of `axes`."""
    found: dict[str, Moments] = {}

    def see(address: str, parts: list[Tensor]) -> list[Tensor]:
        found[address] = moments_of(parts, axes[address])
        return parts

    LayerByLayer(module, axes.keys(), see).show(chunks)
    return found


def _matched(
    deployed: Deployed,
    wanted: Mapping[str, Moments],
    axes: Mapping[str, int],
    *,
    chunks: Sequence[Inputs],
) -> dict[str, tuple[Tensor, Tensor]]:
    """The factor and the shift of each layer, `(channels,)` each, that give the wanted moments."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def match(address: str, parts: list[Tensor]) -> list[Tensor]:
        now, aim = moments_of(parts, axes[address]), wanted[address]
        factor = torch.ones_like(now.mean)
        if absorbs(_quant(deployed, address)):
            known = torch.minimum(now.variance, aim.variance) > _LEAST_VARIANCE
            ratio = (aim.variance / now.variance).sqrt().clamp(1 / _FURTHEST, _FURTHEST)
            factor = torch.where(known, ratio, factor)
        found[address] = factor, aim.mean - factor * now.mean
        behind = parts[0].dim() - 2 - axes[address] % (parts[0].dim() - 1)
        column = (-1, *(1,) * behind)
        factor, shift = (one.reshape(column) for one in found[address])
        return [part * factor + shift for part in parts]

    LayerByLayer(deployed.module(), axes.keys(), match).show(chunks)
    return found


def _quant(deployed: Deployed, address: str) -> Quant:
    weight = deployed.weight(address)
    assert isinstance(weight, EncodedTensor)
    return weight.quant
