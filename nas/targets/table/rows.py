"""What a row of a latency table is about: one fused kernel at given bits, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nas.targets.capability import Bits
from nas.targets.table.operator_text import fields_text, operator_text
from search_spaces.kernels import Kernel
from search_spaces.ops import Op


@dataclass(frozen=True, order=True)
class KernelKey:
    """What tells one kernel's latency from another's; granularity and symmetry do not.

    Attributes:
        operator: The anchor's class name.
        fields: The anchor's fields, `out=16,kernel=3`, as `operator_text` writes them.
        inputs: Input shapes without the batch, such as `16x8x8` or `16x8x8+16x8x8`.
        fused: What runs behind the anchor, joined by `+`: `Activation(function=relu)`. A folded
            norm is not named. Behind `@` stands what a slot reads where that is not the operator
            before: `in1` an input of the kernel, `op0` the anchor, `op1` the first that is named
            behind it.
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
            TargetError: If a field of one of its operators holds something that has no text.
        """
        return cls(
            operator=type(kernel.op).__name__,
            fields=fields_text(kernel.op),
            inputs="+".join("x".join(map(str, shape)) for shape in kernel.inputs),
            fused="+".join(_behind(kernel)),
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


def _behind(kernel: Kernel) -> Iterator[str]:
    """What each operator behind the anchor is called in `fused`."""
    if not kernel.fused:
        return
    outside = len(kernel.inputs)
    runs_in = {outside: 0}  # place among all operators -> place among those that are named
    for place, (op, slots) in enumerate(zip(kernel.fused, kernel.slots[1:], strict=True), 1):
        read = kernel.ops[slots[0] - outside] if slots[0] >= outside else None
        if read is not None and folds(read, op):
            runs_in[outside + place] = runs_in[slots[0]]
            continue
        before = max(runs_in.values())
        elsewhere = [
            f"in{slot}" if slot < outside else f"op{runs_in[slot]}"
            for slot in slots
            if slot < outside or runs_in[slot] != before
        ]
        runs_in[outside + place] = before + 1
        yield operator_text(op) + "".join(f"@{name}" for name in elsewhere)


def folds(anchor: Op, op: Op) -> bool:
    """Whether `op`, fused behind `anchor`, disappears into the anchor's weights."""
    return op.folds and anchor.absorbs
