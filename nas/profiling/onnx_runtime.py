"""Timing kernels and files through onnxruntime on this machine's processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.export.onnx_operators import is_sound, is_writable
from nas.profiling.kernel_models import empty_model, is_cut, kernel_model
from nas.profiling.kernel_networks import computes_on_integers, unshipped
from nas.profiling.timing import (
    ROUNDS,
    Empties,
    Session,
    Timed,
    TimedKernel,
    conditions,
    time_kernels,
    time_networks,
)
from nas.saturation import WEIGHTS_NOTE, EightBitWeights
from nas.targets.capability import Bits
from nas.targets.table.rows import Row
from search_spaces.kernels import Kernel
from search_spaces.quant import FULL_PRECISION_BITS, MAXIMUM_BITS

COPIES = 4  # of a kernel in one model: shrinks the call's share, yet stays within the cache
NARROW_BITS = MAXIMUM_BITS - 1  # the most for which signed weights run everywhere alike
NARROW = Bits(NARROW_BITS, MAXIMUM_BITS)
ROUNDED = Bits(FULL_PRECISION_BITS, MAXIMUM_BITS)  # float32 on inputs that are rounded to a grid
_FEW_BITS = (2, 4, 8)  # of weights that meet floats
_NETWORK_BUDGET_MS = 40.0 * ROUNDS  # of a whole model


@dataclass(frozen=True)
class OnnxRuntime:
    """onnxruntime's CPU provider: kernels run on integers of 8 bits, others as float32.

    Fully connected layers also run with weights of 2, 4 or 8 bits on float activations.

    Attributes:
        threads: Threads inside one kernel.
        eight_bit_weights: How weights of 8 bits meet quantized inputs, as the files that are
            exported for the target have it.
    """

    threads: int = 1
    eight_bit_weights: EightBitWeights = "unsigned"
    name: str = "onnxruntime"

    def conditions(self) -> dict[str, str]:
        """What measurements must share to stand in one table."""
        run = conditions(threads=self.threads, providers=(), device=None)
        return {**run, WEIGHTS_NOTE: self.eight_bit_weights}

    def refusal(self, kernel: Kernel, bits: Bits) -> str | None:
        """Why it cannot time `kernel` at `bits`, or None where it can."""
        return refusal(kernel, bits)

    def measure(self, kernels: Sequence[tuple[Kernel, Bits]], *, budget_ms: float) -> list[Row]:
        """A row for each kernel: undisturbed runs of a model of four copies of it."""
        jobs = {
            str(number): job(kernel, bits, eight_bit_weights=self.eight_bit_weights)
            for number, (kernel, bits) in enumerate(kernels)
        }
        timings = time_kernels(jobs, empties=empties(), start=self._start, budget_ms=budget_ms)
        return [Row(t.latency_ms, t.spread_ms, t.count) for t in timings.values()]

    def network(self, model: Path) -> tuple[float, float]:
        """Latency and spread in ms of one sample through a whole model, less the call's cost."""
        empty = empty_model(quantized=False, copies=1)
        found = time_networks(
            {"": str(model)}, empty=empty, start=self._start, budget_ms=_NETWORK_BUDGET_MS
        )[""]
        return found.latency_ms, found.spread_ms

    def _start(self, model: bytes | str) -> Timed:
        return Timed(Session(model, threads=self.threads))


def refusal(kernel: Kernel, bits: Bits) -> str | None:
    """Why there is no ONNX model to time `kernel` with at `bits`, or None where there is one."""
    unknown = [type(op).__name__ for op in kernel.ops if not (op.folds or is_writable(op))]
    if unknown:
        return (
            f"operator {unknown[0]} has no ONNX form to be timed in; register a case of "
            "nas.export.onnx_operators.write"
        )
    if (why := unshipped(kernel)) is not None or _is_weight_only(kernel, bits):
        return why
    if _widths(bits) in ({MAXIMUM_BITS}, {FULL_PRECISION_BITS}) or bits in (ROUNDED, NARROW):
        return None
    return (
        f"onnxruntime on this machine is timed at {MAXIMUM_BITS} and {FULL_PRECISION_BITS} "
        f"bits and at {NARROW} and {ROUNDED}, given {type(kernel.op).__name__} at {bits}; let the "
        "target's containers map it to one of them"
    )


def _is_weight_only(kernel: Kernel, bits: Bits) -> bool:
    """Whether only the weight of a fully connected layer is stored in few bits, and runs so.

    `nas.export.onnx_operators.is_sound` says where it would compute wrong numbers.
    """
    shape = kernel.op.weight_shape(*kernel.inputs)
    return (
        shape is not None
        and len(shape) == 2
        and bits.weight in _FEW_BITS
        and bits.activation == FULL_PRECISION_BITS
        and is_sound(bits.weight, outputs=shape[0])
    )


def job(kernel: Kernel, bits: Bits, *, eight_bit_weights: EightBitWeights) -> TimedKernel:
    """What is timed for a row."""
    return TimedKernel(
        model=kernel_model(kernel, bits, copies=COPIES, eight_bit_weights=eight_bit_weights),
        copies=COPIES,
        empty=_empty(quantized=computes_on_integers(bits)),
        is_cut=is_cut(kernel),
    )


def empties() -> Empties:
    """The models around the kernels of a job, without them."""
    return {
        _empty(quantized=quantized): {
            copies: empty_model(quantized=quantized, copies=copies) for copies in (1, COPIES)
        }
        for quantized in (False, True)
    }


def _widths(bits: Bits) -> set[int]:
    return {width for width in (bits.weight, bits.activation) if width is not None}


def _empty(*, quantized: bool) -> str:
    return "uint8" if quantized else "float32"
