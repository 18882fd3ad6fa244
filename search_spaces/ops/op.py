"""What an operator spec is: the output shape, the work and the parameters of a node, no weights.

A shape leaves the batch out: `(channels, height, width)` for images, `(features,)` for vectors,
`(tokens, features)` for sequences.
`weight` is the precision of an operator's weight, `activation` that of every input it reads.

All facts about an operator stand on its spec, so that no other file asks which operator it has
before it: what parameters it holds, whether it folds into the one before it, what its output can
be, whether a device runs anything for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from search_spaces.choice import Spec
from search_spaces.quant import Quant

# The bounds are those of files; nothing checks them where a spec is made in Python.
Size = Annotated[int, Field(ge=1)]
Shape = tuple[int, ...]
Role = Literal["out", "in", "window"]
Start = Literal["fan_in", "ones", "zeros"]
Bounds = tuple[float, float]
FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Parameter:
    """A tensor of numbers that an operator holds.

    Attributes:
        shape: Of the tensor.
        roles: What each axis runs over: channels that the operator gives (`out`) or reads (`in`),
            or places of a `window`. A narrower operator uses the first channels, and the centre of
            a window.
        start: How training begins: normal with the deviation that keeps variance over the inputs
            (`fan_in`), ones or zeros.
    """

    shape: Shape
    roles: tuple[Role, ...]
    start: Start = "fan_in"


def per_channel(channels: int, start: Start = "zeros") -> Parameter:
    """A parameter with one number per output channel, `(channels,)`."""
    return Parameter((channels,), ("out",), start)


def filled_up(count: int, multiple: int) -> int:
    """The least multiple of `multiple` that is not below `count`."""
    return math.ceil(count / multiple) * multiple


@dataclass(frozen=True)
class Op(Spec):
    """An operator: a pure description, free of weights.

    A new operator subclasses this and adds fields; `infer` is the one method it must have.

    Attributes:
        arity: How many inputs it reads; a source of the network's input reads none. Operators that
            read a number of inputs of their own redefine this as a field.
        is_view: Whether the output holds the numbers of the input in their order, under another
            shape only, so that a device runs nothing for it.
        keeps_values: Whether every number of the output is one of the input, so that rounding
            before and rounding behind the operator are the same.
        channel_axis: The axis of the output over which its channels run: 0 for images, -1 where
            features come last.
        mixes_channels: Whether an output is a sum of products over several channels of the input.
        channelwise: Whether a channel of the output depends on the same channel of each input only,
            so that a wider operator gives the same in its first channels.
        folds: Whether deployment folds the operator into the one before it, as a batch norm; such
            an operator tells its `affine`.
        absorbs: Whether an operator that folds can fold into this one: a factor and a shift per
            output channel become part of its `weight` and its `bias`.
    """

    arity: ClassVar[int] = 1
    is_view: ClassVar[bool] = False
    keeps_values: ClassVar[bool] = False
    channel_axis: ClassVar[int] = 0
    mixes_channels: ClassVar[bool] = False
    channelwise: ClassVar[bool] = False
    folds: ClassVar[bool] = False
    absorbs: ClassVar[bool] = False

    @property
    def runs(self) -> bool:
        """Whether a device runs anything for it: nothing for a source or for a view."""
        return self.arity > 0 and not self.is_view

    @property
    def passes(self) -> bool:
        """Whether the output depends on the input; False for an operator that always gives zeros.

        What only such an operator reads does not matter to the network.
        """
        return True

    @property
    def clamp(self) -> Bounds | None:
        """The bounds that the operator cuts its input to, where it does nothing else; or None."""
        return None

    def never_negative(self, *inputs: bool) -> bool:
        """Whether no output is below zero, where `inputs` says the same of each input."""
        return False

    @property
    def weight(self) -> Quant | None:
        """The precision of the weight; operators that have one redefine this as a field."""
        return None

    @property
    def activation(self) -> Quant | None:
        """The precision of every input; operators that quantize theirs redefine this as a field."""
        return None

    def canonical(self) -> Self:
        """The one form that stands for all operators that a device runs alike.

        Latency rows name an operator by this form. Redefine the method where a field changes only
        what is trained, such as a `bias` that a device adds in any case, or where one operator can
        be written in several ways, such as a kernel of 3 and of (3, 3).
        """
        return self

    def infer(self, *inputs: Shape) -> Shape:
        """The output shape for the given input shapes."""
        raise NotImplementedError(f"{type(self).__name__} must define infer")

    def macs(self, *inputs: Shape) -> int:
        """Multiply-accumulates for one sample."""
        return 0

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        """The trained parameters by name; the one called `weight` has the precision `weight`."""
        return {}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        """The parameters that a device holds, once what folds is folded."""
        return self.parameters(*inputs)

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        """The operator and its inputs on a device that fills up channels to a `multiple`."""
        return self, tuple(_filled_up(shape, multiple, self.channel_axis) for shape in inputs)

    def affine(self, held: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """The factor and the shift per channel, `(channels,)`, of an operator that folds.

        Args:
            held: Its parameters and its calibrated statistics, by name.
        """
        raise NotImplementedError(f"{type(self).__name__} folds, so it must define affine")

    def weight_shape(self, *inputs: Shape) -> Shape | None:
        """The shape of the weight that a device holds, or None where there is none."""
        weight = self.deployed(*inputs).get("weight")
        return None if weight is None else weight.shape


def _filled_up(shape: Shape, multiple: int, axis: int) -> Shape:
    lengths = list(shape)
    lengths[axis] = filled_up(lengths[axis], multiple)
    return tuple(lengths)
