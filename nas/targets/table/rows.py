"""What a row of a latency table is about: one fused kernel at given bits, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Conv2d, DepthwiseConv2d, Linear, Op

_KEYED = {"out", "kernel", "stride", "function", "bias", "weight", "activation"}


@dataclass(frozen=True, order=True)
class KernelKey:
    """What tells one kernel's latency from another's; granularity and symmetry do not.

    Attributes:
        operator: The anchor's class name, or the function's name for a lone activation.
        inputs: Input shapes without the batch, such as `16x8x8` or `16x8x8+16x8x8`.
        out: Output channels or features of the anchor.
        kernel: Window, 1 for operators without one.
        stride: Stride, 1 for operators without one.
        fused: What is fused behind the anchor, joined by `+`: an activation by its function, other
            operators with their parameters (`Conv2d:24:k1:s1`). A folded norm is not named. Behind
            `@` stands what a slot reads where that is not the operator before: `in1` an input of
            the kernel, `op0` the anchor, `op1` the first that is named behind it.
        weight_bits: 32 in full precision, 0 where there is no weight.
        activation_bits: 32 in full precision.
        batch: Samples at once.
    """

    operator: str
    inputs: str
    out: int
    kernel: int
    stride: int
    fused: str
    weight_bits: int
    activation_bits: int
    batch: int = 1

    @classmethod
    def of(cls, kernel: Kernel, bits: Bits, *, batch: int = 1) -> KernelKey:
        """The key of `kernel` where it computes in `bits`."""
        window, stride = _window(kernel.op)
        _, reads = next(kernel.members())
        return cls(
            operator=_name(kernel.op),
            inputs="+".join("x".join(map(str, shape)) for shape in kernel.inputs),
            out=kernel.op.infer(*reads)[0],
            kernel=window,
            stride=stride,
            fused="+".join(_behind(kernel)),
            weight_bits=bits.weight or 0,
            activation_bits=bits.activation,
            batch=batch,
        )

    def __str__(self) -> str:
        fused = f" + {self.fused}" if self.fused else ""
        bits = f"{self.weight_bits}x{self.activation_bits}" if self.weight_bits else ""
        return (
            f"{self.operator}{fused} {self.inputs} -> {self.out}, kernel {self.kernel}, stride "
            f"{self.stride}, {bits or self.activation_bits} bits, batch {self.batch}"
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
    outside = len(kernel.inputs)
    runs_in = {outside: 0}  # place among all operators -> place among those that are named
    for place, (op, slots) in enumerate(zip(kernel.fused, kernel.slots[1:], strict=True), 1):
        read = kernel.ops[slots[0] - outside] if slots[0] >= outside else None
        if op.is_view or (read is not None and folds(read, op)):
            runs_in[outside + place] = runs_in[slots[0]]
            continue
        before = max(runs_in.values())
        elsewhere = [
            f"in{slot}" if slot < outside else f"op{runs_in[slot]}"
            for slot in slots
            if slot < outside or runs_in[slot] != before
        ]
        runs_in[outside + place] = before + 1
        yield _described(op) + "".join(f"@{name}" for name in elsewhere)


def folds(anchor: Op, op: Op) -> bool:
    """Whether `op`, fused behind `anchor`, disappears into the anchor's weights."""
    return op.folds and anchor.absorbs


def _name(op: Op) -> str:
    """What a row calls an operator; refuses one that no column can tell from its like."""
    unknown = sorted(op.written().keys() - _KEYED)
    if unknown:
        raise TargetError(
            f"operator {type(op).__name__} has the fields {unknown}; a latency table has no column "
            "for them; use an analytical target"
        )
    return op.function if isinstance(op, Activation) else type(op).__name__


def _described(op: Op) -> str:
    """An operator behind an anchor, with the parameters that the columns hold of an anchor."""
    name, (window, stride) = _name(op), _window(op)
    out = [str(op.out)] if isinstance(op, Conv2d | Linear) else []
    windowed = isinstance(op, Conv2d | DepthwiseConv2d)
    return ":".join([name, *out, *([f"k{window}", f"s{stride}"] if windowed else [])])


@singledispatch
def _window(op: Op) -> tuple[int, int]:
    """Kernel and stride; 1 for operators without a window."""
    del op
    return 1, 1


@_window.register
def _(op: Conv2d | DepthwiseConv2d) -> tuple[int, int]:
    if isinstance(op.kernel, tuple) or isinstance(op.stride, tuple):
        raise TargetError(
            f"operator {type(op).__name__} has the kernel {op.kernel} and the stride {op.stride}; "
            "a latency table has no column for lengths that differ; use an analytical target"
        )
    return op.kernel, op.stride
