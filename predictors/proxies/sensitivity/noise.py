"""The noise of rounded tensors: that of weights needs no data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from predictors.proxies.rounding import rounded
from predictors.proxies.sensitivity.study import Entry, Study
from search_spaces.quant import Quant


def squared_error(study: Study, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, float]]:
    """The squared rounding error of a weight, or that of a layer's inputs, the mean over samples.

    With weights alone, no data are looked at.
    """
    reads: dict[Entry, float] = {}
    for entry in wanted:
        if entry.site.tensor == "weight":
            yield entry, squared(study.rounded_weight(entry) - study.weight(entry.site.address))
        else:
            reads[entry] = 0.0
    samples = sum(len(reference) for reference in study.references()) if reads else 0
    for batch in study.batches if reads else ():
        with torch.no_grad():
            walk = study.walk(batch, keep=True)[1]
        for entry in reads:
            for x in inputs_of(walk.read[study.nodes[entry.site.address]][0]):
                error = rounded(x, entry.quant, channels=1) - x
                reads[entry] += squared(error) / samples
    yield from reads.items()


def inputs_of(args: object) -> list[Tensor]:
    """The tensors that a node computes with, parameters left out, without their gradients."""
    leaves = [x for x in tree_leaves(args) if isinstance(x, Tensor) and x.is_floating_point()]
    return [x.detach() for x in leaves if not isinstance(x, torch.nn.Parameter)]


def squared(x: Tensor) -> float:
    """The sum of the squares of all elements."""
    return float(x.detach().double().square().sum())


def noise(weight: Tensor, quant: Quant | None) -> float:
    """The power of the rounding error of `weight` divided by the power of `weight`.

    Args:
        weight: A weight, output channels first.
        quant: The precision to which it is rounded.
    """
    error = (rounded(weight, quant) - weight).detach().double()
    return float(error.square().sum() / weight.detach().double().square().sum().clamp_min(1e-300))


def sqnr(weight: Tensor, quant: Quant | None) -> float:
    """The signal-to-quantization-noise ratio of `weight` in dB; infinite without an error."""
    power = noise(weight, quant)
    return -10.0 * math.log10(power) if power > 0 else math.inf


def weight_noise(
    weights: Mapping[str, Tensor], layers: Mapping[str, Sequence[Quant | None]]
) -> dict[tuple[str, Quant | None], float]:
    """The relative noise power of every weight under every precision; needs no data.

    Args:
        weights: Address -> weight, output channels first.
        layers: Address -> precisions to try.
    """
    return {
        (address, quant): noise(weights[address], quant)
        for address, quants in layers.items()
        for quant in quants
    }
