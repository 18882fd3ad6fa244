"""What a traced network has besides the engine's operators: opaque calls, several outputs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from search_spaces.choice import Spec
from search_spaces.names import require_text
from search_spaces.ops.op import Axis, DType, Op, Parameter, Shape, Size
from search_spaces.ops.structure import Several

# None, a number, a text, a Read, a Fixed, a Samples, a Word, or a tuple of these.
Argument = Any
WordKind = Literal["dtype", "memory_format", "layout", "float", "device"]
FixedType = Literal["float32", "int64", "bool"]
Result = Annotated[int, Field(ge=0)]
_TARGET = re.compile(r"aten\.[a-z0-9_]+\.[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Read(Spec):
    """The argument of an opaque call that is one of the inputs of the node.

    Attributes:
        slot: The position of the input.
        batch: The axis of the call's own tensor that holds the batch, alone or with other factors.
        shape: The shape of the call's own tensor, with -1 for the axis `batch`; None if the tensor
            is that of the node, with the batch as first axis.
        before: How many places there are along the axis `batch` for each sample, outside of the
            batch: 1 if the batch is the outer factor.
    """

    slot: Axis
    batch: Axis = 0
    shape: tuple[Annotated[int, Field(ge=-1)], ...] | None = None
    before: Size = 1


@dataclass(frozen=True)
class Fixed(Spec):
    """The argument of an opaque call that is a tensor of the network itself, `fixed0` and so on.

    Attributes:
        slot: The number in the name of the parameter.
        shape: The shape of the tensor.
        dtype: The type that the call reads; the parameter itself is always float32.
        trained: Whether training changes the numbers.
    """

    slot: Axis
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    dtype: FixedType = "float32"
    trained: bool = False


@dataclass(frozen=True)
class Samples(Spec):
    """The argument of an opaque call that is the number of samples, times a constant `factor`."""

    factor: Size = 1


@dataclass(frozen=True)
class Word(Spec):
    """The argument of an opaque call that is a name of torch, or a number that JSON cannot hold."""

    kind: WordKind
    name: str

    def __post_init__(self) -> None:
        require_text("the argument of an opaque call", self.name)


Part = TypeVar("Part", Read, Fixed)
_ARGUMENTS = (bool, int, float, str, Read, Fixed, Samples, Word)


@dataclass(frozen=True, kw_only=True)
class Opaque(Op):
    """A call of torch that is none of the engine's operators, with the shapes seen at tracing.

    The call runs as it is, in floats, and its operands are neither quantized nor narrowed.

    Attributes:
        target: A function of torch that changes none of its arguments, such as
            `aten.cumsum.default`.
        arguments: The arguments by position, tensors as `Read` or `Fixed`.
        named: The arguments by name, as pairs.
        seen: The shapes of the inputs, without the batch.
        shape: The shape of the output, without the batch.
        arity: The number of inputs.
        result: Which of several results the output is; None if the call gives a single tensor.
        gives: How the call's own output holds the batch, with `slot` 0.

    Raises:
        ValueError: If `target` is no name of a function of `aten`, or the arguments do not read
            every input.
    """

    target: str
    arguments: tuple[Argument, ...]
    seen: tuple[tuple[Size, ...], ...]
    shape: tuple[Size, ...]
    arity: Size = 1
    named: tuple[tuple[str, Argument], ...] = ()
    result: Result | None = None
    gives: Read = Read(0)
    reads: DType = "float32"
    channel_axis: ClassVar[int] = -1

    def __post_init__(self) -> None:
        if not _TARGET.fullmatch(self.target):
            raise ValueError(
                f"Opaque has the target {self.target!r}; only functions of torch's own aten are "
                "run, such as 'aten.cumsum.default'"
            )
        held = {part.slot for part in self._of(Read, (self.arguments, self.named))}
        if held != {*range(self.arity)} or len(self.seen) != self.arity:
            raise ValueError(
                f"Opaque {self.target!r} reads {self.arity} inputs of the shapes {self.seen}, but "
                f"its arguments read the inputs {sorted(held)}; give each input a shape, and let "
                "an argument read it"
            )

    @property
    def called(self) -> str:
        return f"the opaque call {self.target}"

    def infer(self, *inputs: Shape) -> Shape:
        if inputs != self.seen:
            raise ValueError(
                f"the opaque call {self.target!r} was traced with the shapes {self.seen}, given "
                f"{inputs}; nothing that it reads can have another shape"
            )
        return self.shape

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {
            f"fixed{part.slot}": Parameter(part.shape, ("window",) * len(part.shape), "zeros")
            for part in self._of(Fixed, (self.arguments, self.named))
        }

    def _of(self, kind: type[Part], value: Argument) -> Iterator[Part]:
        """The parts of an argument that are of a kind, in their order, with repetitions."""
        if isinstance(value, kind):
            yield value
        elif isinstance(value, tuple):
            for part in value:
                yield from self._of(kind, part)
        elif not (value is None or isinstance(value, _ARGUMENTS)):
            raise ValueError(
                f"Opaque {self.target!r} has the argument {value!r}; give numbers, texts, Read, "
                "Fixed, Samples, Word, or tuples of these"
            )


@dataclass(frozen=True, kw_only=True)
class Outputs(Op):
    """All outputs of a network with several, as the last operator.

    Their numbers stand one after the other in one axis; the shapes are those of the inputs.

    Attributes:
        names: The name of each output.
    """

    names: tuple[str, ...]
    arity: Several = 2

    @property
    def runs(self) -> bool:
        return False

    def __post_init__(self) -> None:
        if len(self.names) != self.arity or len({*self.names}) != self.arity:
            raise ValueError(
                f"Outputs reads {self.arity} tensors, given the names {self.names}; give each its "
                "own name"
            )
        for name in self.names:
            require_text("the name of an output", name)

    def infer(self, *inputs: Shape) -> Shape:
        return (sum(map(math.prod, inputs)),)

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)
