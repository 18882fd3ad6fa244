"""Seams: tensors between kernels, told apart by who writes and who reads them in which formats.

A kernel in a network costs more, or less, than alone: a tensor is quantized or dequantized, its
layout in memory changes, a product on integers is computed in floats since one of its readers needs
floats. All of this depends on the kernel that writes the tensor and on all kernels that read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nas.targets.numerics import FULL, Numerics, name_of
from nas.targets.table.operator_text import operator_text
from search_spaces.kernels import Kernel
from search_spaces.ops import Op, Shape

JOIN = " | "
_ASKS = " of "


@dataclass(frozen=True, order=True)
class Seam:
    """The kinds of the kernels around a tensor.

    Attributes:
        writer: The kind of the kernel that writes the tensor, such as `Conv2d int8`, or `Input`.
        readers: The kinds of the kernels that read the tensor, in ascending order, such as
            `Add int8 of uint8`: operators, the format they compute in, the format they ask for.
            Empty for the output of a network.
    """

    writer: str
    readers: tuple[str, ...]

    @property
    def on_one_grid(self) -> bool:
        """Whether all readers ask for integers on the same grid."""
        asked = {reader.rpartition(_ASKS)[2] for reader in self.readers}
        return len(asked) == 1 and Numerics(None, asked.pop()).on_integers

    def __str__(self) -> str:
        return f"{self.writer} -> {JOIN.join(self.readers) or 'the output'}"


def written_by(kernel: Kernel, numerics: Numerics | None) -> str:
    """The kind of a kernel as the writer of a tensor; `numerics` is None for an input."""
    if numerics is None:
        return type(kernel.op).__name__
    return f"{_operators(kernel)} {_computed(numerics)}"


def read_by(kernel: Kernel, numerics: Numerics, slot: int) -> str:
    """The kind of a kernel as the reader of a tensor that is its input number `slot`."""
    asked = "/".join(dict.fromkeys(name_of(op.activation) for op in reading(kernel, slot)))
    return f"{_operators(kernel)} {_computed(numerics)}{_ASKS}{asked or FULL}"


def may_fall_back(kernel: Kernel, numerics: Numerics) -> bool:
    """Whether a kernel on integers computes in floats if its readers ask for no single grid.

    That holds for convolutions, whose sums are then needed in floats, unless an operator behind one
    rounds them in the same kernel.
    """
    weight = kernel.op.deployed(*kernel.inputs).get("weight")
    windowed = weight is not None and "window" in weight.roles
    rounded = any(op.activation is not None for op in kernel.fused)
    return windowed and numerics.on_integers and not rounded


def reading(kernel: Kernel, slot: int) -> Iterator[Op]:
    """The operators of a kernel that read its input number `slot`."""
    return (op for op, reads in zip(kernel.ops, kernel.slots, strict=True) if slot in reads)


def _computed(numerics: Numerics) -> str:
    """The format in which a kernel computes; few bits of integer weights make no other seam."""
    return numerics.activation if numerics.on_integers else str(numerics)


def _operators(kernel: Kernel) -> str:
    """The operators that run, without the fields of those that have a weight."""
    return "+".join(_text(op, reads) for op, reads in kernel.members() if _counts(op))


def _counts(op: Op) -> bool:
    return op.runs and not op.folds and not op.is_view


def _text(op: Op, reads: tuple[Shape, ...]) -> str:
    return operator_text(op) if op.weight_shape(*reads) is None else type(op).__name__
