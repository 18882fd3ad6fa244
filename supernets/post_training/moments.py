"""The inputs of a layer as columns of a matrix product, and their moments over batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.ops import Convolution, Linear, Op
from supernets.deployed import Deployed
from supernets.inputs import Inputs
from supernets.post_training.error_feedback import damped
from supernets.post_training.observing import Watch

_MOST_PLACES = 1 << 15  # of which moments are taken, over all samples of a calibration set


@singledispatch
def columns(op: Op, x: Tensor) -> Tensor | None:  # noqa: ARG001
    """The inputs `x` of an operator as `(groups, columns, places)`, which its weight multiplies.

    The first axis of `x` is the batch. None for an operator whose output is no product of a matrix
    with columns, such as an embedding.
    """
    return None


@columns.register
def _(op: Linear, x: Tensor) -> Tensor:  # noqa: ARG001
    return x.flatten(0, -2).t().unsqueeze(0)


@columns.register
def _(op: Convolution, x: Tensor) -> Tensor:
    window, groups = op.window, op.groups_of(x.shape[1])
    top, left, bottom, right = window.padding
    image = F.pad(x, (left, right, top, bottom))
    found = F.unfold(image, window.kernel, window.dilation, 0, window.stride)
    return found.unflatten(1, (groups, -1)).permute(1, 2, 0, 3).flatten(2)


@singledispatch
def outputs(op: Op, y: Tensor, groups: int) -> Tensor:
    """The outputs `y` of an operator as `(groups, out, places)`, in the order of `columns`."""
    raise NotImplementedError(f"{type(op).__name__} has no case of post_training.moments.outputs")


@outputs.register
def _(op: Linear, y: Tensor, groups: int) -> Tensor:  # noqa: ARG001
    return y.flatten(0, -2).t().unsqueeze(0)


@outputs.register
def _(op: Convolution, y: Tensor, groups: int) -> Tensor:  # noqa: ARG001
    return y.flatten(2).unflatten(1, (groups, -1)).permute(1, 2, 0, 3).flatten(2)


@dataclass(frozen=True, eq=False)
class Moments:
    """Means and second moments, about the means, of a layer's inputs and of what it misses.

    What a layer misses is what its outputs would have to change by, for the float weights.

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
            weight + torch.linalg.solve(damped(self.gram), self.cross.double(), left=False).float()
        )

    def bias(self, weight: Tensor, rounded: Tensor) -> Tensor:
        """What to add to the bias, `(out,)`, so that the mean output is as it should be."""
        shift = self.missed + ((weight - rounded) @ self.mean.unsqueeze(2)).squeeze(2)
        return shift.flatten()


def moments(seen: Iterable[tuple[Tensor, Tensor]], samples: int) -> Moments:
    """The moments over batches of `(inputs, what is missed)`, as `columns` and `outputs` give them.

    Args:
        seen: For each batch, `(groups, columns, places)` and `(groups, out, places)`.
        samples: About how many places all batches have; at most 32,768 of them are taken.
    """
    random = torch.Generator().manual_seed(0)
    total: list[Tensor] = []
    count = 0
    for inputs, missed in seen:
        places = inputs.shape[2]
        kept = max(1, min(places, _MOST_PLACES * places // max(samples, 1)))
        if kept < places:
            chosen = torch.randperm(places, generator=random)[:kept]
            inputs, missed = inputs[..., chosen], missed[..., chosen]  # noqa: PLW2901
        found = [inputs.sum(2), inputs @ inputs.mT, missed.sum(2), missed @ inputs.mT]
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
        count += inputs.shape[2]
    mean, gram, missing, cross = (held / count for held in total)
    gram = gram - mean.unsqueeze(2) * mean.unsqueeze(1)
    return Moments(mean, gram, missing, cross - missing.unsqueeze(2) * mean.unsqueeze(1))


def second_moments(
    network: Deployed, batches: Sequence[Inputs], addresses: Collection[str]
) -> dict[str, Tensor]:
    """The second moment of what operators read, `(groups, columns, columns)`, by their addresses.

    Operators whose output is no product of a matrix with columns are left out.
    """
    readers: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        readers[network.graph.nodes[address].inputs[0]].append(address)
    found: dict[str, Tensor] = {}
    places: dict[str, int] = defaultdict(int)
    kept = _MOST_PLACES // len(batches)
    random = torch.Generator().manual_seed(0)

    def see(source: str, output: Tensor) -> None:
        for address in readers[source]:
            read = columns(network.graph.nodes[address].op, output)
            if read is None:
                continue
            if kept < read.shape[2]:
                read = read[..., torch.randperm(read.shape[2], generator=random)[:kept]]
            found[address] = found.get(address, 0.0) + read @ read.mT
            places[address] += read.shape[2]

    watch = Watch(network.module(), readers, see)
    for batch in batches:
        watch.show(batch)
    return {address: total / places[address] for address, total in found.items()}
