"""What an operator spec is: the output shape, the work and the parameters of a node, no weights.

A shape leaves the batch out: `(channels, height, width)` for images, `(features,)` for vectors.
`weight` is the precision of an operator's weight, `activation` that of every input it reads.

All facts about an operator stand on its spec, so that no other file asks which operator it has
before it: what parameters it holds, whether it folds into the one before it, what its output can
be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

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


@dataclass(frozen=True)
class Op(Spec):
    """An operator: a pure description, free of weights.

    A new operator subclasses this and adds fields; `infer` is the one method it must have.

    Attributes:
        arity: How many inputs it reads; a source of the network's input reads none.
        folds: Whether deployment folds the operator into the one before it, as a batch norm; such
            an operator tells its `affine`.
        absorbs: Whether an operator that folds can fold into this one: a factor and a shift per
            output channel become part of its `weight` and its `bias`.
    """

    arity: ClassVar[int] = 1
    folds: ClassVar[bool] = False
    absorbs: ClassVar[bool] = False

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
