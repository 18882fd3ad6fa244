"""Normalizations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field

from search_spaces.ops.op import FloatArray, Op, Parameter, Role, Shape, Size, per_channel
from search_spaces.ops.window import image_of
from search_spaces.quant import Quant

# The number that is added to a variance before division, so that the quotient stays finite.
Epsilon = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class BatchNorm2d(Op):
    """Batch normalization per channel of images; deployment folds it into the convolution before.

    In an extracted subnet, the norm holds the `mean` and the `variance` of its inputs beside
    `scale` and `shift`.
    """

    epsilon: Epsilon = 1e-5
    younger: ClassVar[frozenset[str]] = frozenset({"epsilon"})
    folds: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True

    def canonical(self) -> Self:
        return type(self)()  # a device adds nothing to a variance: the norm is folded

    def infer(self, *inputs: Shape) -> Shape:
        return image_of(inputs[0], "BatchNorm2d")

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return _scale_and_shift(inputs[0][0])

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {}

    def affine(self, held: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        factor = held["scale"] / np.sqrt(held["variance"].astype(np.float64) + self.epsilon)
        return factor, held["shift"] - held["mean"] * factor


@dataclass(frozen=True)
class Affine(Op):
    """A learned factor and a learned shift for every place along the axis of the channels.

    The evaluation form of a batch norm that no operator can absorb, and the scale of a layer
    (Touvron et al. 2021, "Going deeper with image transformers", section 2).
    """

    channel_axis: int = 0
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        _require_axis(self, inputs[0])
        return inputs[0]

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return _scale_and_shift(inputs[0][self.channel_axis])


@dataclass(frozen=True)
class LayerNorm(Op):
    """Layer normalization over the last axis, the features of each place (Ba et al. 2016).

    A narrower layer norm takes mean and variance over its own, fewer features.
    """

    epsilon: Epsilon = 1e-5
    activation: Quant | None = None
    channel_axis: ClassVar[int] = -1

    def infer(self, *inputs: Shape) -> Shape:
        if not inputs[0]:
            raise ValueError("LayerNorm normalizes the last axis, given a single number per sample")
        return inputs[0]

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return _scale_and_shift(inputs[0][-1])


@dataclass(frozen=True)
class RMSNorm(Op):
    """Division by the root of the mean square over the last axis (Zhang and Sennrich 2019).

    There is no shift. A narrower norm takes the mean over its own, fewer features.
    """

    epsilon: Epsilon = 1e-6
    activation: Quant | None = None
    channel_axis: ClassVar[int] = -1

    def infer(self, *inputs: Shape) -> Shape:
        if not inputs[0]:
            raise ValueError("RMSNorm normalizes the last axis, given a single number per sample")
        return inputs[0]

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {"scale": per_channel(inputs[0][-1], "ones")}


@dataclass(frozen=True)
class GroupNorm(Op):
    """Group normalization: over all places and all channels of each group (Wu and He 2018).

    Channels are the first axis. With one group, the operator is a layer norm over a whole image.
    """

    groups: Size
    epsilon: Epsilon = 1e-5
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        if len(inputs[0]) < 2:
            raise ValueError(
                f"GroupNorm reads (channels, places...), given the shape {inputs[0]}; use LayerNorm"
            )
        if inputs[0][0] % self.groups:
            raise ValueError(
                f"GroupNorm has {self.groups} groups, which do not divide the {inputs[0][0]} "
                "channels that it reads; offer widths that are multiples of the groups, or derive "
                "the groups from a width with group_count"
            )
        return inputs[0]

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return _scale_and_shift(inputs[0][0])


@dataclass(frozen=True)
class Standardize(Op):
    """Numbers less a constant mean, over a constant deviation, for each place along one axis.

    Exported networks that read raw data begin with this operator; no space needs one. Raw data have
    no precision, so the operator reads floats.
    """

    channel_axis: int = 0
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        _require_axis(self, inputs[0])
        return inputs[0]

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        axis = self.channel_axis % len(inputs[0])
        behind = len(inputs[0]) - axis - 1  # axes over which the numbers are repeated
        repeated: list[Role] = ["window" for _ in range(behind)]
        shape: Shape = (inputs[0][axis], *(1 for _ in repeated))
        roles: tuple[Role, ...] = ("out", *repeated)
        return {
            "mean": Parameter(shape, roles, "zeros"),
            "deviation": Parameter(shape, roles, "ones"),
        }


def _require_axis(op: Op, shape: Shape) -> None:
    """Raise `ValueError` if the `shape` that an operator reads has no axis of channels."""
    if not -len(shape) <= op.channel_axis < len(shape):
        raise ValueError(
            f"{type(op).__name__} has the axis {op.channel_axis}, which the shape {shape} that it "
            "reads does not have"
        )


def _scale_and_shift(channels: int) -> dict[str, Parameter]:
    return {"scale": per_channel(channels, "ones"), "shift": per_channel(channels)}
