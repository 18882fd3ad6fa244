"""A row of a latency table: the key, a fused kernel in given formats, and the measured figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics, numerics_of
from nas.targets.table.operator_text import fields_text, operator_text
from search_spaces.kernels import Kernel
from search_spaces.ops import Op, Shape


@dataclass(frozen=True, order=True)
class KernelKey:
    """The key of a row: all facts about a kernel on which its latency depends.

    The key has the number formats in which the kernel computes, which need not be those of its
    operators. Scales per tensor and scales per channel share a row, groups have rows of their own.

    Attributes:
        operator: The class name of the anchor, the first operator that a device runs.
        fields: The fields of the anchor as in `operator_text`, such as `out=16,kernel=3`.
        inputs: The input shapes without the batch, such as `16x8x8` or `16x8x8+16x8x8`. If a view
            reads an input, the shape is the output shape of the view.
        fused: The operators behind the anchor, joined by `+`, such as `Activation(function=relu)`.
            Folded norms and views are left out. `@` marks an input that does not come from the
            operator before: `@in1` is an input of the kernel, `@op0` the result of the anchor,
            `@op1` the result of the first operator named in `fused`.
        weight: The format of the weight, with its groups if it has some: `int8`, `e4m3`,
            `int4-per-group-32`, `float` in full precision, empty without a weight.
        activation: The format of the inputs.
        batch: The number of samples per run.
    """

    operator: str
    fields: str
    inputs: str
    fused: str
    weight: str
    activation: str
    batch: int = 1

    @classmethod
    def of(cls, kernel: Kernel, numerics: Numerics, *, batch: int = 1) -> KernelKey:
        """The key of `kernel` when it computes in `numerics`.

        Raises:
            TargetError: If a field of an operator holds a value that has no text, or if a device
                runs nothing for the kernel.
        """
        first, *behind = _named(kernel)
        return cls(
            operator=type(first.op).__name__,
            fields=fields_text(first.op),
            inputs="+".join("x".join(map(str, shape)) for shape in _inputs(kernel)),
            fused="+".join(_fused(behind, len(kernel.inputs))),
            weight=numerics.stored,
            activation=numerics.activation,
            batch=batch,
        )

    def __str__(self) -> str:
        fields = f"({self.fields})" if self.fields else ""
        fused = "".join(f" + {name}" for name in self.fused.split("+") if name)
        return (
            f"{self.operator}{fields}{fused} on {self.inputs}, {self.numerics}, batch {self.batch}"
        )

    @property
    def numerics(self) -> Numerics:
        """The formats in which the kernel computes."""
        return numerics_of(self.weight, self.activation)


@dataclass(frozen=True)
class Row:
    """The measured figures of a kernel.

    Attributes:
        latency_ms: The latency of a run, in milliseconds.
        spread_ms: The standard deviation of the latency over repetitions, in milliseconds.
        count: The number of repetitions; 0 if the latency is predicted from other rows.
        energy_mj: The energy of a run, in millijoules; None if unknown.
    """

    latency_ms: float
    spread_ms: float
    count: int
    energy_mj: float | None = None


class _Member(NamedTuple):
    """An operator that is named in a row, and the sources of its inputs.

    `reads` holds indices: first come the inputs of the kernel, then the operators that are named.
    An operator that is not named, such as a view, is replaced by its own source.
    """

    op: Op
    reads: tuple[int, ...]


def _named(kernel: Kernel) -> list[_Member]:
    """The operators of a kernel that a row names, in order: all but views and folded norms.

    Raises:
        TargetError: If there is no such operator, so that a device runs nothing for the kernel.
    """
    ops, outside = kernel.ops, len(kernel.inputs)
    found: list[_Member] = []
    stands_for = list(range(outside))
    for op, slots in zip(ops, kernel.slots, strict=True):
        follows = op.folds and slots[0] >= outside and folds(ops[slots[0] - outside], op)
        if op.is_view or follows:
            stands_for.append(stands_for[slots[0]])
        else:
            stands_for.append(outside + len(found))
            found.append(_Member(op, tuple([stands_for[slot] for slot in slots])))
    if not found:
        raise TargetError(f"a device runs nothing for {kernel.op}, so it has no latency row")
    return found


def _fused(behind: Sequence[_Member], outside: int) -> Iterator[str]:
    """The texts of the operators behind the anchor, with their wires such as `@in1`."""
    for before, (op, reads) in enumerate(behind, outside):
        text = operator_text(op)
        for read in reads:
            if read != before:
                text += f"@in{read}" if read < outside else f"@op{read - outside}"
        yield text


def _inputs(kernel: Kernel) -> tuple[Shape, ...]:
    """The shapes of the kernel's inputs, each as the first operator that runs sees the input."""
    if not any(op.is_view for op in kernel.ops):
        return kernel.inputs
    seen: dict[int, Shape] = {}
    places = list(range(len(kernel.inputs)))  # slot -> the kernel's input there, perhaps viewed
    for (op, shapes), slots in zip(kernel.members(), kernel.slots, strict=True):
        if not op.is_view:
            for slot, shape in zip(slots, shapes, strict=True):
                seen.setdefault(places[slot], shape)
        places.append(places[slots[0]] if op.is_view else -1)
    return tuple(seen.get(place, shape) for place, shape in enumerate(kernel.inputs))


def anchor_of(kernel: Kernel) -> Op:
    """The first operator of a kernel that a device runs, in its canonical form."""
    return _named(kernel)[0].op.canonical()


def folds(anchor: Op, op: Op) -> bool:
    """Whether `op`, fused behind `anchor`, disappears into the anchor's weights."""
    return op.folds and anchor.absorbs
