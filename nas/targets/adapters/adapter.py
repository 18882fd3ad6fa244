"""The protocol of adapters, and functions that build the kernels that most adapters need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from nas.targets.adapters.collect import Item
from nas.targets.adapters.imported import Imported, Origin, Unmappable, Unmapped
from search_spaces.kernels import Fusion, Kernel
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Linear,
    Nonlinearity,
    Op,
)

T = TypeVar("T")

# The chains that tables of single convolutions time as one kernel. An addition that follows a
# projection belongs to the kernel of the projection.
CONVOLUTIONS = Fusion(
    chains=(
        (Conv2d, BatchNorm2d),
        (Conv2d, BatchNorm2d, Activation),
        (Conv2d, BatchNorm2d, Add),
        (Conv2d, BatchNorm2d, Add, Activation),
        (DepthwiseConv2d, BatchNorm2d, Activation),
    )
)


class Adapter(Protocol):
    """A reader of one public format, a dataclass.

    Its fields are the options that the command `nas targets import` accepts for the format.

    Attributes:
        format: The name of the format on the command line.
        units: The units of the file's numbers, in words.
        origin: Whether the figures were measured, simulated or predicted.
    """

    format: ClassVar[str]
    units: ClassVar[str]
    origin: ClassVar[Origin]

    def read(self, path: Path) -> Imported:
        """The figures of the file at `path`, with a reason for each that could not be mapped.

        Raises:
            TargetError: If the file cannot be read, or no figure can be mapped.
        """
        ...


def each(records: Iterable[tuple[str, T]], item: Callable[[str, T], Item]) -> Iterator[Item]:
    """The items that `item(where, record)` makes of all records of a file.

    A record for which it raises `Unmappable` becomes an `Unmapped` with that reason.

    Args:
        records: Pairs of a place in the file, for messages, and a record.
        item: Makes an entry or a sample of a record.
    """
    for where, record in records:
        try:
            yield item(where, record)
        except Unmappable as reason:
            yield Unmapped(where, str(reason))


def convolution(
    channels: int, size: int, out: int, *, kernel: int, stride: int, function: Nonlinearity | None
) -> Kernel:
    """The kernel of a convolution on a square image, with its norm and nonlinearity.

    Args:
        channels: Channels of the image.
        size: Height and width of the image.
        out: Channels that the convolution writes.
        kernel: The size of its window.
        stride: Its stride.
        function: The nonlinearity, or None.

    Raises:
        Unmappable: If the window is even.
    """
    op = Conv2d(out, _odd(kernel), stride)
    return Kernel(op, _behind(function), ((channels, size, size),))


def depthwise(
    channels: int, size: int, *, kernel: int, stride: int, function: Nonlinearity | None
) -> Kernel:
    """The kernel of a depthwise convolution on a square image, with its norm and nonlinearity.

    The arguments are those of `convolution`.

    Raises:
        Unmappable: If the window is even.
    """
    op = DepthwiseConv2d(_odd(kernel), stride)
    return Kernel(op, _behind(function), ((channels, size, size),))


def classifier(features: int, classes: int) -> Kernel:
    """The kernel of the last layer, which reads the flattened result of a global pool."""
    return Kernel(Linear(classes), (), ((features,),))


def added(kernel: Kernel, function: Nonlinearity | None = None) -> Kernel:
    """The kernel with a residual addition fused behind it, and then a nonlinearity if given."""
    behind = () if function is None else (Activation(function),)
    reads, ops = len(kernel.inputs) + 1, len(kernel.ops)
    wiring = [(0,), *((reads + n,) for n in range(ops - 1)), (reads + ops - 1, reads - 1)]
    wiring += [(reads + ops + n,) for n in range(len(behind))]
    fused = (*kernel.fused, Add(), *behind)
    return Kernel(kernel.op, fused, (*kernel.inputs, kernel.output), tuple(wiring))


def pooling(channels: int, size: int) -> Kernel:
    """The kernel of a global average pool of a square image."""
    return Kernel(GlobalPool(), (), ((channels, size, size),))


def _behind(function: Nonlinearity | None) -> tuple[Op, ...]:
    return (BatchNorm2d(),) if function is None else (BatchNorm2d(), Activation(function))


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise Unmappable(f"kernel = {kernel} is even; our convolutions have a middle")
    return kernel
