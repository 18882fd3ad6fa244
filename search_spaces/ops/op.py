"""The operator spec: output shape, amount of work and parameters of a node, without any weights.

A shape leaves the batch out: `(channels, height, width)` for images, `(features,)` for vectors,
`(tokens, features)` for sequences. `weight` is the precision of an operator's weight,
`activation` the precision of every input that the operator reads.

All facts about an operator stand on its spec: its parameters, whether deployment folds it into
the operator before, which values its output can have, whether a device runs anything for it. No
other file needs to ask for the class of an operator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from search_spaces.choice import Spec
from search_spaces.quant import Quant, Shape

# The bounds hold for specs read from files; nothing checks a spec that is made in Python.
Size = Annotated[int, Field(ge=1)]
Axis = Annotated[int, Field(ge=0)]  # of a sample, counted from the front
Role = Literal["entry", "out", "in", "window"]
DType = Literal["float32", "int64"]
Start = Literal["fan_in", "small", "ones", "zeros"]
Bounds = tuple[float, float]
FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Parameter:
    """The description of a parameter tensor of an operator: its shape, its axes, its first values.

    Attributes:
        shape: The shape of the tensor.
        roles: The meaning of each axis: entries of a table (`entry`), output channels (`out`),
            input channels (`in`), or places of a window (`window`). A narrower operator uses the
            first channels of the tensor, and the centre of its window. An axis that is a product,
            such as heads times the features of each head, is described by its factors, outer first,
            as axes with the same role: a narrower operator uses the first features of its first
            heads. `Op.deployed` then has the whole product as a single axis.
        start: The values with which training begins: ones, zeros, normal random numbers whose
            standard deviation keeps the variance of the inputs (`fan_in`), or normal random
            numbers of a standard deviation of 0.02 (`small`, Radford et al. 2019).
    """

    shape: Shape
    roles: tuple[Role, ...]
    start: Start = "fan_in"

    def factored(self, shape: Shape) -> Shape:
        """The `shape` of a wider tensor with axes that are products described by their factors.

        Of a product that `shape` has as a single axis, as in the weights of a traced network, only
        the number of heads can be larger than here, which is the last factor but one.
        """
        found: list[int] = []
        lengths = iter(shape)
        for role, axes in groupby(zip(self.roles, self.shape, strict=True), key=itemgetter(0)):
            factors = [length for _, length in axes]
            if role in ("entry", "window") or len(factors) == 1:
                found += [next(lengths) for _ in factors]
                continue
            *outer, _, size = factors
            found += [*outer, next(lengths) // (math.prod(outer) * size), size]
        return tuple(found)

    def along(self, *roles: Role) -> Shape:
        """The lengths of the axes that have one of these `roles`."""
        pairs = zip(self.shape, self.roles, strict=True)
        return tuple(length for length, role in pairs if role in roles)


def per_channel(channels: int, start: Start = "zeros") -> Parameter:
    """A parameter with one number per output channel, `(channels,)`."""
    return Parameter((channels,), ("out",), start)


def filled_up(count: int, multiple: int) -> int:
    """`count` rounded up to a multiple of `multiple`."""
    return math.ceil(count / multiple) * multiple


@dataclass(frozen=True)
class Op(Spec):
    """The base of all operators: a pure description of a computation, free of weights.

    A new operator is a frozen dataclass that inherits from this class and adds fields. `infer` is
    the only method that every operator must define.

    Attributes:
        arity: The number of inputs; 0 for `Input` only, which stands for an input of the network.
            An operator with a variable number of inputs redefines `arity` as a field.
        is_view: Whether the output holds exactly the numbers of the input in the same order, so
            that only the shape changes and a device runs nothing; True for `Flatten`.
        keeps_values: Whether every number of the output also occurs in the input, or depends on no
            input; True for max pooling. Rounding before such an operator then gives the same as
            rounding behind it.
        reads: The type of the numbers that the operator reads; `int64` for an operator on tokens.
        channel_axis: The axis of the output that holds the channels: 0 for images, -1 where the
            features come last.
        mixes_channels: Whether each number of the output is a sum of products over several channels
            of the input; True for a convolution.
        sums: Whether the output is the sum of the inputs; True for `Add`.
        looks_up: Whether the weight is a table, of which entries are read and nothing multiplied.
        products: Whether the operator multiplies its inputs by each other and adds up the products,
            so that both factors have the precision `activation`; True for `MatMul`.
        channelwise: Whether each channel of the output depends only on the same channel of every
            input, so that the first channels of a wider operator equal those of a narrower one.
        folds: Whether deployment folds the operator into the operator before; True for batch norm.
            An operator that folds must define `affine`.
        absorbs: Whether a folding operator can be folded into this operator: its factor and shift
            per output channel become part of `weight` and `bias` here.
    """

    arity: ClassVar[int] = 1
    reads: ClassVar[DType] = "float32"
    is_view: ClassVar[bool] = False
    keeps_values: ClassVar[bool] = False
    channel_axis: ClassVar[int] = 0
    mixes_channels: ClassVar[bool] = False
    products: ClassVar[bool] = False
    sums: ClassVar[bool] = False
    looks_up: ClassVar[bool] = False
    channelwise: ClassVar[bool] = False
    folds: ClassVar[bool] = False
    absorbs: ClassVar[bool] = False

    @property
    def called(self) -> str:
        """What messages call the operator."""
        return type(self).__name__

    @property
    def runs(self) -> bool:
        """Whether a device runs a kernel for the operator.

        False for inputs, for views, and for what a file only holds or hands over.
        """
        return self.arity > 0 and not self.is_view

    def is_identity(self, *inputs: Shape) -> bool:
        """Whether the output equals the input for these shapes, so that a device runs nothing."""
        return False

    @property
    def sums_all_channels(self) -> bool:
        """Whether each output channel is a sum over all input channels, in whatever order.

        False for an operator with groups or heads, whose channels have places.
        """
        return self.mixes_channels

    @property
    def passes(self) -> bool:
        """Whether the output depends on the input; False for an operator that always gives zeros.

        A node that is read only by operators with `passes` False has no effect on the network.
        """
        return True

    @property
    def entries(self) -> int | None:
        """The number of different tokens that the operator can read; None if it reads no tokens."""
        return None

    @property
    def homogeneous(self) -> bool:
        """Whether inputs times a positive number give the output times this number.

        False for an operator with parameters, since those could be multiplied instead.
        """
        return False

    @property
    def clamp(self) -> Bounds | None:
        """The bounds `(low, high)` of an operator that only clamps, such as ReLU; else None."""
        return None

    def never_negative(self, *inputs: bool) -> bool:
        """Whether all numbers of the output are at least zero.

        Args:
            inputs: For each input, whether all of its numbers are at least zero.
        """
        return False

    @property
    def weight(self) -> Quant | None:
        """The precision of the weight; operators that can quantize it redefine this as a field."""
        return None

    @property
    def activation(self) -> Quant | None:
        """The precision of every input; operators that can quantize it redefine this as a field."""
        return None

    @property
    def only_moves(self) -> bool:
        """Whether the operator only moves the numbers that it reads, and does not round them."""
        return self.keeps_values and self.activation is None

    def canonical(self) -> Self:
        """The representative of all operators that a device runs in the same way.

        Rows of a latency table name an operator by its canonical form. Redefine the method if a
        field affects only training, such as a `bias` that a device adds in any case, or if the same
        operator can be written in several ways, such as a kernel of 3 and of (3, 3).
        """
        return self

    def with_sets(self, sets: int, heads: int, size: int) -> Op | None:
        """The operator whose output is described as several sets of heads of a size each.

        None for an operator that cannot be described so. A narrower operator has the first heads of
        each set.
        """
        return None

    def infer(self, *inputs: Shape) -> Shape:
        """The output shape for the given input shapes, without the batch.

        Raises:
            ValueError: If the operator cannot read inputs of these shapes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define infer")

    def macs(self, *inputs: Shape) -> int:
        """The number of multiply-accumulates for one sample."""
        return 0

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        """The trained parameters by name; `weight` is the precision of the parameter `weight`."""
        return {}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        """The parameters that a device stores, by name, after folding operators are folded."""
        return self.parameters(*inputs)

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        """The operator and its input shapes with all channel counts rounded up to a `multiple`.

        For devices whose hardware computes channels in groups of a fixed size.
        """
        return self, tuple(_filled_up(shape, multiple, self.channel_axis) for shape in inputs)

    def affine(self, held: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """The factor and the shift per channel, `(channels,)` each, of an operator that folds.

        Args:
            held: The parameters and the calibrated statistics of the operator, by name.
        """
        raise NotImplementedError(f"{type(self).__name__} folds, so it must define affine")

    def weights_read(self, *inputs: Shape) -> int:
        """The number of elements of the weight that a device reads for one sample."""
        return math.prod(self.weight_shape(*inputs) or (0,))

    def weight_shape(self, *inputs: Shape) -> Shape | None:
        """The shape of the weight that a device stores; None for an operator without a weight."""
        weight = self.deployed(*inputs).get("weight")
        return None if weight is None else weight.shape


def _filled_up(shape: Shape, multiple: int, axis: int) -> Shape:
    lengths = list(shape)
    lengths[axis] = filled_up(lengths[axis], multiple)
    return tuple(lengths)
