"""Operator specs: what a node computes, its output shape and its multiply-accumulates.

A shape leaves the batch out: `(channels, height, width)` for images, `(features,)` for vectors.
`weight` is the precision of an operator's weight, `activation` that of every input it reads.

All facts about an operator stand here, so that no other file asks which operator it has before it:
what parameters it holds, whether it folds into the one before it, what its output can be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
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


@dataclass(frozen=True)
class Linear(Op):
    """Fully connected layer with bias; an image input is flattened."""

    out: Size
    weight: Quant | None = None
    activation: Quant | None = None
    absorbs: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        return (self.out,)

    def macs(self, *inputs: Shape) -> int:
        return math.prod(inputs[0]) * self.out

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        # Not flattened: channels are sliced before the rows run together.
        roles: tuple[Role, ...] = ("out", "in", *("window" for _ in inputs[0][1:]))
        return {"weight": Parameter((self.out, *inputs[0]), roles), "bias": per_channel(self.out)}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        weight = Parameter((self.out, math.prod(inputs[0])), ("out", "in"))
        return {"weight": weight, "bias": per_channel(self.out)}


@dataclass(frozen=True)
class BatchNorm2d(Op):
    """Batch normalization over channels; folded into the convolution before it on deployment.

    Besides `scale` and `shift`, an extracted one holds the `mean` and `variance` of its inputs.
    """

    folds: ClassVar[bool] = True
    epsilon: ClassVar[float] = 1e-5  # keeps the division by a variance of zero finite

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        channels = inputs[0][0]
        return {"scale": per_channel(channels, "ones"), "shift": per_channel(channels)}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {}

    def affine(self, held: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        factor = held["scale"] / np.sqrt(held["variance"].astype(np.float64) + self.epsilon)
        return factor, held["shift"] - held["mean"] * factor


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


@dataclass(frozen=True)
class Add(Op):
    """Residual addition of two equal shapes; absent, it hands on its first input."""

    arity: ClassVar[int] = 2
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        if inputs[0] != inputs[1]:
            raise ValueError(f"Add needs two equal shapes, given {inputs[0]} and {inputs[1]}")
        return inputs[0]

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)


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

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)


@dataclass(frozen=True)
class GlobalPool(Op):
    """Average over height and width: `(c, h, w)` becomes `(c, 1, 1)`."""

    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        return (inputs[0][0], 1, 1)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


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
