"""Pointwise nonlinearities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from search_spaces.ops.op import Bounds, Op, Shape
from search_spaces.quant import Quant

Nonlinearity = Literal["relu", "relu6", "hardswish", "hardsigmoid"]


@dataclass(frozen=True)
class Activation(Op):
    """A pointwise nonlinearity.

    Integer runtimes cut a sum to `relu` or `relu6` as they round it, but keep the convolution
    before any other function in floats, unless `activation` puts what the function reads on
    integers too.
    """

    function: Nonlinearity
    activation: Quant | None = None

    @property
    def clamp(self) -> Bounds | None:
        return {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}.get(self.function)

    def never_negative(self, *inputs: bool) -> bool:
        return self.function != "hardswish"

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]
