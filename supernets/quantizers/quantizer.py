"""The base of the quantizers of a supernet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor, nn

from search_spaces.ops import Parameter, Shape
from search_spaces.quant import Quant
from supernets.encoded import EncodedTensor


class Quantizer(nn.Module):
    """Base of the fake quantizers of a tensor in any of several precisions.

    All widths and depths of a layer share its quantizer. Every parameter of a quantizer is trained
    as a step: without weight decay, at the learning rate of steps.

    Attributes:
        name: The name in recipes and checkpoints.
        quants: The precisions.

    Args:
        quants: The precisions, resolved.
        weight: The largest weight that is quantized; None for an input of an operator, which has a
            single scale.
    """

    name: ClassVar[str]

    def __init__(self, quants: Iterable[Quant], weight: Parameter | None = None) -> None:
        super().__init__()
        self.quants = tuple(quants)

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        """`x` fake-quantized to `quant`, with gradients to `x` and to the parameters."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def encode(self, x: Tensor, quant: Quant, shape: Shape) -> EncodedTensor:
        """The codes and scales of `forward(x, quant)`, for a device that stores `x` in `shape`."""
        raise NotImplementedError(f"{type(self).__name__} must define encode")

    def scalar(self, quant: Quant) -> tuple[float, int]:
        """The scale and the zero point of a per-tensor `quant`, as plain numbers."""
        raise NotImplementedError(f"{type(self).__name__} must define scalar")

    def initialise(self, values: Tensor) -> None:
        """Set the state of every precision to fit `values`.

        Those of a weight have the largest shape; those of an input have any shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define initialise")
