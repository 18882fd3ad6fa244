"""The base of the quantizers of a supernet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from search_spaces.ops import Parameter, Shape
from search_spaces.quant import Quant
from supernets.encoded import EncodedTensor
from supernets.quantizers.grid import Grid


class Quantizer(nn.Module):
    """Base of the fake quantizers of a tensor in any of several precisions.

    All widths and depths of a layer share its quantizer. Every parameter of a quantizer is trained
    as a step: without weight decay, at the learning rate of steps.

    Attributes:
        name: The name in recipes and checkpoints.
        exact: Whether `encode` stores the very values that `forward` gives. If not, networks lose
            accuracy when they are deployed; a search sees this loss, since it measures deployed
            networks.
        quants: The precisions.

    Args:
        quants: The precisions, resolved.
        weight: The largest weight that is quantized; None for an input of an operator, which has a
            single scale.

    Raises:
        ValueError: See `check_weights`.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = True

    def __init__(self, quants: Iterable[Quant], weight: Parameter | None = None) -> None:
        super().__init__()
        self.quants = tuple(quants)
        if weight is not None:
            self.check_weights(self.quants)

    @classmethod
    def check_weights(cls, quants: Iterable[Quant]) -> None:
        """Raise `ValueError` if a weight cannot have one of these precisions; none is refused."""

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        """`x` fake-quantized to `quant`, with gradients to `x` and to the parameters."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def encode(self, x: Tensor, quant: Quant, shape: Shape) -> EncodedTensor:
        """The codes and scales of `forward(x, quant)`, for a device that stores `x` in `shape`.

        If the quantizer is not `exact`, they stand for the nearest values that a device has.
        """
        raise NotImplementedError(f"{type(self).__name__} must define encode")

    def grid(self, x: Tensor, quant: Quant) -> Grid:
        """The grid to which `forward(x, quant)` rounds a weight, without gradients.

        Additions to trainings that follow the roundings of single weights need a grid. A quantizer
        that rounds twice has the grid of its last rounding.

        Raises:
            ValueError: If `quant` is no precision of integers.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define grid for additions to a training that follow how "
            "weights are rounded"
        )

    def scalar(self, quant: Quant) -> tuple[float, int]:
        """The scale and the zero point of a per-tensor `quant`, as plain numbers."""
        raise NotImplementedError(f"{type(self).__name__} must define scalar")

    def initialise(self, values: Tensor) -> None:
        """Set the state of every precision to fit `values`.

        Those of a weight have the largest shape; those of an input have any shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define initialise")


def encoded(
    numbers: Tensor, step: Tensor, zero: Tensor, *, quant: Quant, shape: Shape
) -> EncodedTensor:
    """A weight from its numbers, and from the steps and zero points of its blocks.

    Args:
        numbers: The numbers of the format, in any shape that `shape` is a view of.
        step: The steps, one per block.
        zero: The integer zero points, one per block.
        quant: The precision.
        shape: The shape in which a device stores the weight.
    """
    counts = quant.granularity.counts(shape)
    return EncodedTensor(
        quant.format.encode(numbers.reshape(shape).cpu().numpy()).astype(np.int32),
        step.reshape(counts).cpu().numpy(),
        zero.reshape(counts).cpu().numpy(),
        quant,
    )
