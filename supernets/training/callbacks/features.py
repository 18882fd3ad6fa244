"""A penalty on features that differ from the largest subnet's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from search_spaces.space import Genotype
from supernets.training.callbacks.callback import Callback
from supernets.training.context import Moment, TrainingContext

_WEIGHT = 0.01  # of RFQuant's code (Tang et al. 2024), for the distance of features
_TINY = 1e-12


class Features(Callback):
    """The distance between a subnet's inputs of operators and those of the largest subnet.

    As in RFQuant (Tang et al. 2024), features of the largest subnet teach those of others; here,
    the inputs of all quantized operators do, not only those at the fewest bits. The inputs of each
    sample are divided by their root mean square, since the scales of subnets differ. A narrower
    input is compared with the first channels; an input of another size is left out.
    """

    observes: bool = True

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        nodes = context.supernet.space.graph.nodes
        self._axes = {address: node.op.channel_axis for address, node in nodes.items()}
        self._teacher: dict[tuple[str, int], Tensor] = {}
        self._distances: list[Tensor] = []

    def observe(self, place: int, address: str, position: int, value: Tensor) -> None:
        if place == 0:
            self._teacher[address, position] = value.detach()
            return
        teacher = self._teacher.get((address, position))
        if teacher is not None and value.requires_grad:  # the input of the network has no gradient
            axis = self._axes[address]
            pair = common(value, teacher, axis=axis + 1 if axis >= 0 else axis)
            if pair is not None:
                own, others = pair
                self._distances.append(mse_loss(_scaled(own), _scaled(others)))

    def penalty(self, moment: Moment, place: int, genotype: Genotype) -> Tensor | None:
        distances, self._distances = self._distances, []
        return _WEIGHT * torch.stack(distances).sum() if distances else None


def common(one: Tensor, other: Tensor, *, axis: int) -> tuple[Tensor, Tensor] | None:
    """Both tensors without entries of `axis` that one lacks; None if other axes differ."""
    length = min(one.shape[axis], other.shape[axis])
    narrow = one.narrow(axis, 0, length), other.narrow(axis, 0, length)
    return narrow if narrow[0].shape == narrow[1].shape else None


def _scaled(value: Tensor) -> Tensor:
    """The features of each sample, divided by their root mean square."""
    size = value.square().flatten(1).mean(1).reshape(-1, *[1] * (value.ndim - 1))
    return value * (size + _TINY).rsqrt()
