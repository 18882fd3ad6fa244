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
_NEVER_NEGATIVE = ("relu", "relu6", "hardsigmoid", "sigmoid")


@dataclass(frozen=True)
class Activation(Op):
    """A pointwise nonlinearity; `gelu` is the exact one, by the error function.

    Integer runtimes cut a sum to `relu` or `relu6` as they round it, but keep the convolution
    before any other function in floats, unless `activation` puts what the function reads on
    integers too.
    """

    function: Nonlinearity
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        known = get_args(Nonlinearity)
        if isinstance(self.function, str) and self.function not in known:
            raise ValueError(
                f"there is no activation function {self.function!r}; known are {', '.join(known)}"
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
    """The input where it is positive, else `negative_slope` times it: Maas et al. 2013."""

    negative_slope: Slope = 0.01
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]
