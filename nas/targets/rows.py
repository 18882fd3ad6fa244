"""What a row of a latency table is about: one fused kernel at given bits, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import singledispatch

from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, BatchNorm2d, Conv2d, DepthwiseConv2d, Linear, Op

_KEYED = {"out", "kernel", "stride", "function", "bias", "weight", "activation"}


@dataclass(frozen=True, order=True)
class KernelKey:
    """What tells one kernel's latency from another's; granularity and symmetry do not.

    Attributes:
        operator: The anchor's class name, or the function's name for a lone activation.
        inputs: Input shapes without the batch, such as `16x8x8` or `16x8x8+16x8x8`.
        out: Output channels or features.
        kernel: Window, 1 for operators without one.
        stride: Stride, 1 for operators without one.
        fused: Names of what is fused behind the anchor, joined by `+`; a folded norm is not named.
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
        behind = [_name(op) for op in kernel.fused if not folds(kernel.op, op)]
        return cls(
            operator=_name(kernel.op),
            inputs="+".join("x".join(map(str, shape)) for shape in kernel.inputs),
            out=kernel.output[0],
            kernel=window,
            stride=stride,
            fused="+".join(behind),
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
    """What was measured: milliseconds, their spread over repetitions, and how many there were."""

    latency_ms: float
    spread_ms: float
    count: int


def folds(anchor: Op, op: Op) -> bool:
    """Whether `op`, fused behind `anchor`, disappears into the anchor's weights."""
    return isinstance(op, BatchNorm2d) and isinstance(anchor, Conv2d | DepthwiseConv2d | Linear)


def _name(op: Op) -> str:
    """What a row calls an operator; refuses one that no column can tell from its like."""
    unknown = sorted({f.name for f in fields(op)} - _KEYED)
    if unknown:
        raise TargetError(
            f"operator {type(op).__name__} has the fields {unknown}; a latency table has no column "
            "for them; use an analytical target"
        )
    return op.function if isinstance(op, Activation) else type(op).__name__


@singledispatch
def _window(op: Op) -> tuple[int, int]:
    """Kernel and stride; 1 for operators without a window."""
    del op
    return 1, 1


@_window.register
def _(op: Conv2d | DepthwiseConv2d) -> tuple[int, int]:
    return op.kernel, op.stride
