"""Pointwise nonlinearities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from search_spaces.ops.op import Bounds, Op, Shape
from search_spaces.quant import Quant

Nonlinearity = Literal[
    "relu",
    "relu6",
    "hardswish",
    "hardsigmoid",
    "gelu",
    "silu",
    "sigmoid",
    "tanh",
    "gelu_tanh",
    "elu",
    "selu",
    "softplus",
    "mish",
]
Slope = Annotated[float, Field(ge=0, lt=1)]
_KNOWN = get_args(Nonlinearity)
_NEVER_NEGATIVE = ("relu", "relu6", "hardsigmoid", "sigmoid", "softplus")


@dataclass(frozen=True)
class Activation(Op):
    """A pointwise nonlinearity; `gelu` has the error function, `gelu_tanh` its approximation.

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

    @property
    def homogeneous(self) -> bool:
        return self.function == "relu"

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

    @property
    def homogeneous(self) -> bool:
        return True

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class Clamp(Op):
    """Numbers kept within `low` and `high`; None is no bound.

    Raises:
        ValueError: If there is no bound, or `low` is not below `high`.
    """

    low: float | None = None
    high: float | None = None
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        low, high = self.clamp
        if (self.low, self.high) == (None, None) or low >= high:
            raise ValueError(
                f"Clamp has the bounds {self.low} and {self.high}; give at least one number, and "
                "a low bound below the high one"
            )

    @property
    def clamp(self) -> Bounds:
        low = -math.inf if self.low is None else self.low
        return low, math.inf if self.high is None else self.high

    @property
    def homogeneous(self) -> bool:
        return self.clamp == (0, math.inf)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0] or self.clamp[0] >= 0

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]
