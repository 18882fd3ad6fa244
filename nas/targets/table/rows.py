"""What a row of a latency table is about: one fused kernel at given bits, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from nas.targets.table.operator_text import fields_text, operator_text
from search_spaces.kernels import Kernel
from search_spaces.ops import Op, Shape


@dataclass(frozen=True, order=True)
class KernelKey:
    """What tells one kernel's latency from another's; granularity and symmetry do not.

    Attributes:
        operator: The class name of the anchor, the first operator that a device runs.
        fields: The anchor's fields, `out=16,kernel=3`, as `operator_text` writes them.
        inputs: Input shapes without the batch, such as `16x8x8` or `16x8x8+16x8x8`; of an input
            that a view reads, the shape that the view gives.
        fused: What runs behind the anchor, joined by `+`: `Activation(function=relu)`. A folded
            norm or a view is not named. Behind `@` stands what a slot reads where that is not the
            operator before: `in1` an input of the kernel, `op0` the anchor, `op1` the first that is
            named behind it.
        weight_bits: 32 in full precision, 0 where there is no weight.
        activation_bits: 32 in full precision.
        batch: Samples at once.
    """

    operator: str
    fields: str
    inputs: str
    fused: str
    weight_bits: int
    activation_bits: int
    batch: int = 1

    @classmethod
    def of(cls, kernel: Kernel, bits: Bits, *, batch: int = 1) -> KernelKey:
        """The key of `kernel` where it computes in `bits`.

        Raises:
            TargetError: If a field of one of its operators holds something that has no text, or if
                a device runs nothing for the kernel.
        """
        first, *behind = _named(kernel)
        return cls(
            operator=type(first.op).__name__,
            fields=fields_text(first.op),
            inputs="+".join("x".join(map(str, shape)) for shape in _inputs(kernel)),
            fused="+".join(_fused(behind, len(kernel.inputs))),
            weight_bits=bits.weight or 0,
            activation_bits=bits.activation,
            batch=batch,
        )

    def __str__(self) -> str:
        fields = f"({self.fields})" if self.fields else ""
        fused = "".join(f" + {name}" for name in self.fused.split("+") if name)
        bits = f"{self.weight_bits}x{self.activation_bits}" if self.weight_bits else ""
        return (
            f"{self.operator}{fields}{fused} on {self.inputs}, {bits or self.activation_bits} "
            f"bits, batch {self.batch}"
        )


@dataclass(frozen=True)
class Row:
    """What was measured: milliseconds, their spread over repetitions, and how many there were.

    Attributes:
        latency_ms: Of one run.
        spread_ms: Its standard deviation.
        count: Repetitions; 0 where the latency is predicted from other rows.
        energy_mj: Millijoules of one run, where they are known.
    """

    latency_ms: float
    spread_ms: float
    count: int
    energy_mj: float | None = None


class _Member(NamedTuple):
    """An operator that a row names, and what its slots read, past operators that are not named.

    `reads` counts the inputs of the kernel first, then the operators that are named.
    """

    op: Op
    reads: tuple[int, ...]


def _named(kernel: Kernel) -> list[_Member]:
    """The operators of a kernel that a row names, in order: no view and no folded norm.

    Raises:
        TargetError: If none is left, as a device runs nothing for the kernel.
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
    """What each operator behind the anchor is called, and what it reads besides the one before."""
    for before, (op, reads) in enumerate(behind, outside):
        text = operator_text(op)
        for read in reads:
            if read != before:
                text += f"@in{read}" if read < outside else f"@op{read - outside}"
        yield text


def _inputs(kernel: Kernel) -> tuple[Shape, ...]:
    """The shapes of the tensors read from outside, as the first operator that runs sees each."""
    if not any(op.is_view for op in kernel.ops):
        return kernel.inputs
    seen: dict[int, Shape] = {}
    places = list(range(len(kernel.inputs)))  # slot -> the input that it holds, perhaps viewed
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
