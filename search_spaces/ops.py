"""Operator specs: what a node computes, its output shape and its multiply-accumulates.

A shape leaves the batch out: `(channels, height, width)` for images, `(features,)` for vectors.
`weight` is the precision of an operator's weight, `activation` that of every input it reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from search_spaces.choice import Spec, derived
from search_spaces.quant import Quant


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("must be odd")
    return kernel


# The bounds are those of files; nothing checks them where a spec is made in Python.
Shape = tuple[int, ...]
Ratio = Annotated[float, Field(gt=0)]
Size = Annotated[int, Field(ge=1)]
Kernel = Annotated[int, Field(ge=1), AfterValidator(_odd)]
Nonlinearity = Literal["relu", "relu6", "hardswish", "hardsigmoid"]


@dataclass(frozen=True)
class Op(Spec):
    """An operator: a pure description, free of weights.

    A new operator subclasses this and adds fields; `infer` is the one method it must have.
    """

    arity: ClassVar[int] = 1

    @property
    def passes(self) -> bool:
        """Whether what it reads changes what it gives; one that always gives zeros cuts its way."""
        return True

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

    def weight_shape(self, *inputs: Shape) -> Shape | None:
        """The shape of the weight, output channels first, or None where there is none."""
        return None

    def bias_length(self, *inputs: Shape) -> int:
        """The number of elements of the bias, after a following norm is folded in."""
        return 0


@dataclass(frozen=True)
class Image(Op):
    """The input image, resized to `size x size`; `size` may be a choice of resolution."""

    arity: ClassVar[int] = 0
    channels: Size
    size: Size

    def infer(self, *inputs: Shape) -> Shape:
        return (self.channels, self.size, self.size)


@dataclass(frozen=True)
class Conv2d(Op):
    """Convolution with `same` padding (`kernel // 2`); odd kernels only, no dilation."""

    out: Size
    kernel: Kernel
    stride: Size = 1
    bias: bool = False
    weight: Quant | None = None
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        _, height, width = inputs[0]
        return (self.out, _strided(height, self.stride), _strided(width, self.stride))

    def macs(self, *inputs: Shape) -> int:
        _, height, width = self.infer(*inputs)
        return math.prod(self.weight_shape(*inputs)) * height * width

    def weight_shape(self, *inputs: Shape) -> Shape:
        return (self.out, inputs[0][0], self.kernel, self.kernel)

    def bias_length(self, *inputs: Shape) -> int:
        return self.out


@dataclass(frozen=True)
class DepthwiseConv2d(Op):
    """One filter per channel, with `same` padding; as many channels out as in."""

    kernel: Kernel
    stride: Size = 1
    weight: Quant | None = None
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = inputs[0]
        return (channels, _strided(height, self.stride), _strided(width, self.stride))

    def macs(self, *inputs: Shape) -> int:
        return math.prod(self.infer(*inputs)) * self.kernel**2

    def weight_shape(self, *inputs: Shape) -> Shape:
        return (inputs[0][0], 1, self.kernel, self.kernel)

    def bias_length(self, *inputs: Shape) -> int:
        return inputs[0][0]


@dataclass(frozen=True)
class Linear(Op):
    """Fully connected layer with bias; an image input is flattened."""

    out: Size
    weight: Quant | None = None
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        return (self.out,)

    def macs(self, *inputs: Shape) -> int:
        return math.prod(inputs[0]) * self.out

    def weight_shape(self, *inputs: Shape) -> Shape:
        return (self.out, math.prod(inputs[0]))

    def bias_length(self, *inputs: Shape) -> int:
        return self.out


@dataclass(frozen=True)
class BatchNorm2d(Op):
    """Batch normalization over channels; folded into the convolution before it on deployment."""

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True)
class Activation(Op):
    """A pointwise nonlinearity.

    Integer runtimes cut a sum to `relu` or `relu6` as they round it, but keep the convolution
    before any other function in floats, unless `activation` puts what the function reads on
    integers too.
    """

    function: Nonlinearity
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True)
class Add(Op):
    """Residual addition of two equal shapes; absent, it hands on its first input."""

    arity: ClassVar[int] = 2
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        if inputs[0] != inputs[1]:
            raise ValueError(f"Add needs two equal shapes, given {inputs[0]} and {inputs[1]}")
        return inputs[0]


@dataclass(frozen=True)
class Multiply(Op):
    """Scale the first input `(c, h, w)` by the second, a gate `(c, 1, 1)`."""

    arity: ClassVar[int] = 2
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        if inputs[1] != (inputs[0][0], 1, 1):
            raise ValueError(
                f"Multiply needs a gate of shape {(inputs[0][0], 1, 1)}, given {inputs[1]}"
            )
        return inputs[0]


@dataclass(frozen=True)
class GlobalPool(Op):
    """Average over height and width: `(c, h, w)` becomes `(c, 1, 1)`."""

    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        return (inputs[0][0], 1, 1)


@derived
def scaled(width: Size, ratio: Ratio, multiple: Size = 8) -> Size:
    """`width * ratio` as the nearest multiple of `multiple`, at least one and at least 90 % of it.

    The channel rounding of the MobileNet family (Howard et al. 2019).
    """
    rounded = max(multiple, int(width * ratio + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * width * ratio else rounded


@derived
def deeper_than(depth: int, position: int) -> bool:
    """Whether the block at `position` (from 0) is among the first `depth` of its stage."""
    return depth > position


def _strided(length: int, stride: int) -> int:
    """Output length of a `same`-padded odd kernel."""
    return (length - 1) // stride + 1
