"""The distance of a network's outputs from those of the float network, without any labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nas.evaluation.answers import Answers
from nas.facts.metric import MetricWords
from nas.own.model import called
from nas.own.samples import Samples

WORDS = MetricWords("distance to the float network", "%", digits=3)
"""The squared distance of outputs, in percent of the variance of the float network's outputs."""

ALIKE = 0.2
"""The distance below which scores of classes give the same answers as those of the float network.

Noise of this size on the outputs of ResNet-20 changes 1 of 1,000 answers for training images, and
its accuracy by 0.03 +- 0.06 points (ResNet-32: 0.00 +- 0.04; 2,000 images, 20 draws each).
"""


class Distance:
    """The distance to the float network on some samples.

    The distance of a sample is the squared distance of its outputs from those of the float network,
    in percent of the mean squared distance of the float network's outputs from their mean. Of
    several outputs, the distances are averaged. 100 % is no better than a constant answer.

    Attributes:
        count: The number of samples.
        alike: The difference of distances up to which networks give the same answers. It is above 0
            for one output of the shape `(n, classes)` alone, since numbers of any other kind are of
            use to their last digit.

    Args:
        model: The float network, which is run once on all samples.
        samples: The samples.
        batch: The number of samples that are run at once.
    """

    def __init__(self, model: nn.Module, samples: Samples, *, batch: int = 64) -> None:
        self._batches = [*samples.batches(batch)]
        self.count = len(samples)
        given = self._outputs(model)
        self.alike = ALIKE if [out.ndim for out in given] == [2] and given[0].shape[1] > 1 else 0.0
        self._float = [*map(_rows, given)]
        self._spread = [
            float(((out - out.mean(0)) ** 2).sum(1).mean()) or 1.0 for out in self._float
        ]

    @property
    def given(self) -> Iterator[Tensor]:
        """The tensors of the samples, and the outputs of the float network."""
        yield from self._float
        for batch in self._batches:
            yield from batch.tensors

    def losses(self, module: nn.Module) -> Answers:
        """The distance of each sample in percent, for a network that is called as the float one."""
        outputs = map(_rows, self._outputs(module))
        each = [
            ((out - target) ** 2).sum(1) / spread
            for out, target, spread in zip(outputs, self._float, self._spread, strict=True)
        ]
        found = 100 * torch.stack(each).mean(0)
        # An output that overflows is as far away as float32 can tell.
        held = torch.nan_to_num(found, nan=1e30, posinf=1e30).clamp_(max=1e30)
        return Answers.of(held.numpy(), self.count)

    def _outputs(self, module: nn.Module) -> Sequence[Tensor]:
        """All outputs for all samples, each `(n, ...)`."""
        found = [
            [out.double() for out in _tensors(called(module, batch.given()))]
            for batch in self._batches
        ]
        return [torch.cat(parts) for parts in zip(*found, strict=True)]


def _rows(output: Tensor) -> Tensor:
    return output.reshape(len(output), -1)


def _tensors(output: object) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
