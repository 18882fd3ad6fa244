"""A penalty that makes the distribution of weights even, which rounding to few values suits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from search_spaces.space import Genotype
from supernets.supernet import Supernet
from supernets.training.callbacks.callback import Callback
from supernets.training.context import Moment, TrainingContext

# Of EQ-Net's code (Xu et al. 2023): the wanted kurtosis is that of a uniform distribution.
_KURTOSIS, _KURTOSIS_RATE, _SKEWNESS_RATE = 1.8, 0.015, 1.0
# A tensor with fewer numbers tells too little: the kurtosis of 64 normal numbers deviates by 0.6.
_LEAST = 64
_TINY = 1e-12


class WeightDistribution(Callback):
    """EQ-Net's regularization of the weights' skewness to 0 and kurtosis to 1.8.

    The penalty is added once per step, while subnets are quantized, for all quantized weights but
    the first layer's and those of fewer than 64 numbers (Xu et al. 2023, with the rates of their
    code). A network without further weights has no penalty.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._weights = [w for w in _behind_the_first(context.supernet) if w.numel() >= _LEAST]

    def penalty(self, moment: Moment, place: int, genotype: Genotype) -> Tensor | None:
        if place or not moment.quantized or not self._weights:
            return None
        return torch.stack([unevenness(weight) for weight in self._weights]).mean()


def unevenness(weight: Tensor) -> Tensor:
    """The weighted squared distances of a weight's moments from those wanted, a scalar."""
    skewness, kurtosis = shape_of(weight)
    return _SKEWNESS_RATE * skewness**2 + _KURTOSIS_RATE * (kurtosis - _KURTOSIS) ** 2


def shape_of(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The skewness and the kurtosis of all numbers of a tensor; those of a normal are 0 and 3."""
    centred = weight - weight.mean()
    scaled = centred * (centred.square().mean() + _TINY).rsqrt()
    return scaled.pow(3).mean(), scaled.pow(4).mean()


def _behind_the_first(supernet: Supernet) -> Iterator[Tensor]:
    """The quantized weights of all operators but the first in the network."""
    nodes = (supernet.node(address) for address in supernet.space.graph.nodes)
    quantized = (node for node in nodes if node.weight is not None)
    next(quantized, None)
    yield from (node.tensors["weight"] for node in quantized)
