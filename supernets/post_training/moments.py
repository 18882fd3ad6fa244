"""The inputs of a layer as columns of a matrix product, and their moments over batches."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.ops import Convolution, Linear, Op, Shape
from supernets.deployed import Deployed
from supernets.inputs import Inputs, count
from supernets.post_training.error_feedback import damped
from supernets.post_training.observing import Watch

# How firmly a layer's target is held to its own weight, as a share of the mean variance of inputs.
# At 0.01, ResNet-20 at 3 bits came out at a divergence of 0.024 from its float network, at 0.1 at
# 0.014; with weights and inputs of 4 bits, at 0.026 and 0.015 (gptq, 128 calibration images).
_HELD = 0.1
MOST_PLACES = 1 << 13
"""How many places moments are taken of, over all samples of a calibration set."""


@singledispatch
def places_of(op: Op, shape: Shape) -> int | None:  # noqa: ARG001
    """The number of places of a sample at which an operator multiplies columns by its weight.

    None for an operator whose output is no product of a matrix with columns, such as an embedding.

    Args:
        op: The operator.
        shape: The shape of its output, without the batch.
    """
    return None


@places_of.register
def _(op: Linear, shape: Shape) -> int:  # noqa: ARG001
    return math.prod(shape[:-1])


@places_of.register
def _(op: Convolution, shape: Shape) -> int:  # noqa: ARG001
    return math.prod(shape[1:])


@singledispatch
def columns(op: Op, x: Tensor, places: Tensor) -> Tensor:
    """The inputs `x` at some places as `(groups, columns, samples * places)`.

    Args:
        op: An operator that has places.
        x: A batch of inputs.
        places: The indices of places `(n,)`, the same for all samples.
    """
    raise NotImplementedError(f"{type(op).__name__} has no case of post_training.moments.columns")


@columns.register
def _(op: Linear, x: Tensor, places: Tensor) -> Tensor:  # noqa: ARG001
    return (
        x.flatten(1, -2)[:, places].flatten(0, 1).t().unsqueeze(0) if x.dim() > 2 else x.t()[None]
    )


@columns.register
def _(op: Convolution, x: Tensor, places: Tensor) -> Tensor:
    window, groups = op.window, op.groups_of(x.shape[1])
    top, left, bottom, right = window.padding
    image = F.pad(x, (left, right, top, bottom))
    _, across = window.over(*x.shape[2:])
    corners = places // across, places % across
    rows, cols = (
        corner[:, None] * stride + torch.arange(length) * dilation
        for corner, stride, length, dilation in zip(
            corners, window.stride, window.kernel, window.dilation, strict=True
        )
    )
    found = image[:, :, rows[:, :, None], cols[:, None, :]]  # samples, channels, places, window
    found = found.flatten(3).permute(1, 3, 0, 2).flatten(2)
    return found.reshape(groups, -1, found.shape[2])


@singledispatch
def outputs(op: Op, y: Tensor, places: Tensor) -> Tensor:
    """The outputs `y` of an operator as `(out, samples * places)`, in the order of `columns`."""
    raise NotImplementedError(f"{type(op).__name__} has no case of post_training.moments.outputs")


@outputs.register
def _(op: Linear, y: Tensor, places: Tensor) -> Tensor:  # noqa: ARG001
    return y.flatten(1, -2)[:, places].flatten(0, 1).t() if y.dim() > 2 else y.t()


@outputs.register
def _(op: Convolution, y: Tensor, places: Tensor) -> Tensor:  # noqa: ARG001
    return y.flatten(2)[:, :, places].transpose(0, 1).flatten(1)


class Draw:
    """A draw of places, the same for the same numbers of places and samples.

    Args:
        places: The number of places of a sample.
        samples: The number of samples of all batches.
    """

    def __init__(self, places: int, samples: int) -> None:
        self._places, self._kept = places, max(1, min(places, MOST_PLACES // samples))
        self._random = torch.Generator().manual_seed(0)

    def __call__(self) -> Tensor:
        """The places of the samples of one batch."""
        return torch.randperm(self._places, generator=self._random)[: self._kept]


@dataclass(frozen=True, eq=False)
class Moments:
    """Means and second moments, about the means, of a layer's inputs and of its missing outputs.

    The missing outputs are what the outputs of the float weights would have to change by.

    Attributes:
        mean: The mean input, `(groups, columns)`.
        gram: The covariance of the inputs, `(groups, columns, columns)`.
        missed: The mean of what the layer misses, `(groups, out)`.
        cross: The covariance of what the layer misses and of the inputs, `(groups, out, columns)`.
    """

    mean: Tensor
    gram: Tensor
    missed: Tensor
    cross: Tensor

    def target(self, weight: Tensor) -> Tensor:
        """The weight that comes nearest to what the layer should give (damped least squares)."""
        if not self.cross.any():
            return weight
        return (
            weight
            + torch.linalg.solve(damped(self.gram, _HELD), self.cross.double(), left=False).float()
        )

    def bias(self, weight: Tensor, rounded: Tensor) -> Tensor:
        """What to add to the bias, `(out,)`, so that the mean output is as it should be."""
        shift = self.missed + ((weight - rounded) @ self.mean.unsqueeze(2)).squeeze(2)
        return shift.flatten()


def moments(seen: Iterable[tuple[Tensor, Tensor]]) -> Moments:
    """The moments over batches of `(inputs, what is missed)`.

    Args:
        seen: For each batch, `(groups, columns, places)` and `(groups, out, places)`.
    """
    total: list[Tensor] = []
    places = 0
    for inputs, missed in seen:
        found = [inputs.sum(2), inputs @ inputs.mT, missed.sum(2), missed @ inputs.mT]
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
        places += inputs.shape[2]
    mean, gram, missing, cross = (held / places for held in total)
    gram = gram - mean.unsqueeze(2) * mean.unsqueeze(1)
    return Moments(mean, gram, missing, cross - missing.unsqueeze(2) * mean.unsqueeze(1))


def second_moments(
    network: Deployed, batches: Sequence[Inputs], addresses: Collection[str]
) -> dict[str, Tensor]:
    """The second moment of what operators read, `(groups, columns, columns)`, by their addresses.

    Operators whose output is no product of a matrix with columns are left out.
    """
    shapes, samples = network.graph.shapes(), sum(map(count, batches))
    draws: dict[str, Draw] = {}
    readers: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        node = network.graph.nodes[address]
        places = places_of(node.op, shapes[address])
        if places is not None:
            readers[node.inputs[0]].append(address)
            draws[address] = Draw(places, samples)
    found: dict[str, Tensor] = {}

    def see(source: str, output: Tensor) -> None:
        for address in readers[source]:
            read = columns(network.graph.nodes[address].op, output, draws[address]())
            found[address] = found.get(address, 0.0) + read @ read.mT / read.shape[2]

    watch = Watch(network.module(), readers, see)
    for batch in batches:
        watch.show(batch)
    return {address: total / len(batches) for address, total in found.items()}
