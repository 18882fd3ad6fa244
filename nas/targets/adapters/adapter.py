"""What an adapter is, and the pieces that most of them need."""

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

# What tables of single convolutions time as one: the addition behind a projection included.
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
    """Reads one public format; its dataclass fields are the options of `nas targets import`.

    Attributes:
        format: What the command line calls it.
        units: What the file's numbers are in.
        origin: Whether they were measured, simulated or predicted.
    """

    format: ClassVar[str]
    units: ClassVar[str]
    origin: ClassVar[Origin]

    def read(self, path: Path) -> Imported:
        """Everything in the file at `path` that has a counterpart here, and what has none.

        Raises:
            TargetError: If the file cannot be read at all, or nothing of it can be mapped.
        """
        ...


def each(records: Iterable[tuple[str, T]], item: Callable[[str, T], Item]) -> Iterator[Item]:
    """`item(where, record)` for every record; one that cannot be mapped becomes `Unmapped`."""
    for where, record in records:
        try:
            yield item(where, record)
        except Unmappable as reason:
            yield Unmapped(where, str(reason))


def convolution(
    channels: int, size: int, out: int, *, kernel: int, stride: int, function: Nonlinearity | None
) -> Kernel:
    """A convolution of a square image with its norm and, if any, its nonlinearity."""
    op = Conv2d(out, _odd(kernel), stride)
    return Kernel(op, _behind(function), ((channels, size, size),))


def depthwise(
    channels: int, size: int, *, kernel: int, stride: int, function: Nonlinearity | None
) -> Kernel:
    """A depthwise convolution of a square image with its norm and nonlinearity."""
    op = DepthwiseConv2d(_odd(kernel), stride)
    return Kernel(op, _behind(function), ((channels, size, size),))


def classifier(features: int, classes: int) -> Kernel:
    """The last layer, which reads what a global pool leaves: `(features, 1, 1)`."""
    return Kernel(Linear(classes), (), ((features,),))


def added(kernel: Kernel, function: Nonlinearity | None = None) -> Kernel:
    """`kernel` with a residual addition, and then a nonlinearity, fused behind it."""
    behind = () if function is None else (Activation(function),)
    reads, ops = len(kernel.inputs) + 1, len(kernel.ops)
    wiring = [(0,), *((reads + n,) for n in range(ops - 1)), (reads + ops - 1, reads - 1)]
    wiring += [(reads + ops + n,) for n in range(len(behind))]
    fused = (*kernel.fused, Add(), *behind)
    return Kernel(kernel.op, fused, (*kernel.inputs, kernel.output), tuple(wiring))


def pooling(channels: int, size: int) -> Kernel:
    """The average over a square image."""
    return Kernel(GlobalPool(), (), ((channels, size, size),))


def _behind(function: Nonlinearity | None) -> tuple[Op, ...]:
    return (BatchNorm2d(),) if function is None else (BatchNorm2d(), Activation(function))


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise Unmappable(f"kernel = {kernel} is even; our convolutions have a middle")
    return kernel
