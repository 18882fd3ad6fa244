"""Pointwise nonlinearities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from search_spaces.ops.op import Bounds, Op, Shape
from search_spaces.quant import Quant

Nonlinearity = Literal[
    "relu", "relu6", "hardswish", "hardsigmoid", "gelu", "silu", "sigmoid", "tanh"
]
Slope = Annotated[float, Field(ge=0, lt=1)]
_KNOWN = get_args(Nonlinearity)
_NEVER_NEGATIVE = ("relu", "relu6", "hardsigmoid", "sigmoid")


@dataclass(frozen=True)
class Activation(Op):
    """A pointwise nonlinearity; `gelu` is the exact form with the error function.

    An integer runtime applies `relu` and `relu6` while it rounds the sums of the operator before.
    Before any other function, a runtime computes a convolution in floats, unless `activation`
    quantizes the input of the function too.
    """

    function: Nonlinearity
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.function, str) and self.function not in _KNOWN:
            raise ValueError(
                f"there is no activation function {self.function!r}; known are {', '.join(_KNOWN)}"
            )

    @property
    def clamp(self) -> Bounds | None:
        return {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}.get(self.function)

    def never_negative(self, *inputs: bool) -> bool:
        return self.function in _NEVER_NEGATIVE

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True)
class LeakyReLU(Op):
    """Leaky ReLU: `x` for positive `x`, else `negative_slope * x` (Maas et al. 2013)."""

    negative_slope: Slope = 0.01
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]
