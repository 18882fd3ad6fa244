"""Convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from search_spaces.ops.op import Op, Parameter, Shape, Size, per_channel
from search_spaces.quant import Quant


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("must be odd")
    return kernel


Kernel = Annotated[int, Field(ge=1), AfterValidator(_odd)]


@dataclass(frozen=True)
class Conv2d(Op):
    """Convolution with `same` padding (`kernel // 2`); odd kernels only, no dilation."""

    out: Size
    kernel: Kernel
    stride: Size = 1
    bias: bool = False
    weight: Quant | None = None
    activation: Quant | None = None
    absorbs: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        _, height, width = inputs[0]
        return (self.out, _strided(height, self.stride), _strided(width, self.stride))

    def macs(self, *inputs: Shape) -> int:
        _, height, width = self.infer(*inputs)
        return self.out * inputs[0][0] * self.kernel**2 * height * width

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        deployed = self.deployed(*inputs)
        return deployed if self.bias else {"weight": deployed["weight"]}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        shape = (self.out, inputs[0][0], self.kernel, self.kernel)
        weight = Parameter(shape, ("out", "in", "window", "window"))
        return {"weight": weight, "bias": per_channel(self.out)}


@dataclass(frozen=True)
class DepthwiseConv2d(Op):
    """One filter per channel, with `same` padding; as many channels out as in."""

    kernel: Kernel
    stride: Size = 1
    weight: Quant | None = None
    activation: Quant | None = None
    absorbs: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = inputs[0]
        return (channels, _strided(height, self.stride), _strided(width, self.stride))

    def macs(self, *inputs: Shape) -> int:
        return math.prod(self.infer(*inputs)) * self.kernel**2

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        shape = (inputs[0][0], 1, self.kernel, self.kernel)
        return {"weight": Parameter(shape, ("out", "in", "window", "window"))}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {**self.parameters(*inputs), "bias": per_channel(inputs[0][0])}


def _strided(length: int, stride: int) -> int:
    """Output length of a `same`-padded odd kernel."""
    return (length - 1) // stride + 1
