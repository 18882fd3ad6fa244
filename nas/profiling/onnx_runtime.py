"""The backend of onnxruntime, which times kernels and model files on this machine's processor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.export.onnx_operators import is_sound, is_writable, prepare
from nas.profiling.beside import Room, room_for
from nas.profiling.kernel_models import empty_model, is_cut, kernel_model
from nas.profiling.kernel_networks import unshipped
from nas.profiling.seam_models import leaving, seam_model
from nas.profiling.timing import (
    ROUNDS,
    Empties,
    Reading,
    Session,
    Timed,
    TimedKernel,
    Timing,
    conditions,
    time_kernels,
    time_networks,
)
from nas.targets.numerics import FULL, Numerics, of_bits
from nas.targets.saturation import WEIGHTS_NOTE, EightBitWeights
from nas.targets.seams.space_seams import Tensor
from nas.targets.seams.table import Added
from nas.targets.table.rows import KernelKey, Row
from search_spaces.formats import BFLOAT16, E4M3, E5M2, FLOAT16, MAXIMUM_BITS
from search_spaces.kernels import Kernel
from search_spaces.quant import FULL_PRECISION_BITS

# Copies of a kernel in a model: many lessen the share of the call, few fit the cache.
FEW_COPIES, COPIES = 2, 4
NARROW_BITS = MAXIMUM_BITS - 1  # the most bits of signed weights that all processors run alike
NARROW = of_bits(NARROW_BITS, MAXIMUM_BITS)
ROUNDED = of_bits(FULL_PRECISION_BITS, MAXIMUM_BITS)  # float32 weights on fake-quantized inputs
_TIMED = (
    *(of_bits(bits, bits) for bits in (MAXIMUM_BITS, FULL_PRECISION_BITS)),
    *(of_bits(None, bits) for bits in (MAXIMUM_BITS, FULL_PRECISION_BITS)),
    *(NARROW, ROUNDED),
)
_FLOATS = (E4M3.name, E5M2.name)  # dequantized before a kernel in float32
_HALVES = (FLOAT16.name, BFLOAT16.name)  # converted before a kernel in float32
_DECODED = (
    *(Numerics(weight, read) for weight in _FLOATS for read in (*_FLOATS, FULL)),
    *(Numerics(None, read) for read in _FLOATS),
    *(numerics for half in _HALVES for numerics in (Numerics(half, half), Numerics(half, FULL))),
    *(Numerics(weight, half) for half in _HALVES for weight in (FULL, None)),
)
_FEW_BITS = ("int2", "int4", "int8")  # the formats of weights with inputs in floats
_PACKED = of_bits(4, MAXIMUM_BITS)  # a type of ONNX; only some devices have kernels for it
_NETWORK_BUDGET_MS = 40.0 * ROUNDS  # the time for a whole network


@dataclass(frozen=True)
class OnnxRuntime:
    """The CPU provider of onnxruntime, with kernels on 8-bit integers and kernels in float32.

    Fully connected layers can also have weights of 2, 4 or 8 bits and activations in floats. Small
    floats and groups of integers are decoded in every run, and inputs are rounded to floats of 16
    bits there, which the rows contain.

    Attributes:
        threads: The number of threads inside a kernel.
        eight_bit_weights: The form of 8-bit weights with quantized inputs, which must be that of
            the files exported for the target.
        network_weights: The number of weights of the networks to which kernels belong, as
            `nas.profiling.beside.weights_of` counts them. The memory of so many weights is read
            between two runs of a kernel, so that the caches are as within a network; 0 leaves the
            weights of a kernel in the cache.
    """

    threads: int = 1
    eight_bit_weights: EightBitWeights = "unsigned"
    network_weights: int = 0
    name: str = "onnxruntime"

    def conditions(self) -> dict[str, str]:
        """The conditions that all rows of a table must share."""
        run = conditions(threads=self.threads, providers=(), device=None)
        return {**run, WEIGHTS_NOTE: self.eight_bit_weights}

    def refusal(self, kernel: Kernel, numerics: Numerics) -> str | None:
        """The reason why the backend cannot time `kernel` in `numerics`; None if it can."""
        return refusal(kernel, numerics)

    def measure(self, kernels: Sequence[tuple[Kernel, Numerics]], *, budget_ms: float) -> list[Row]:
        """A row for each kernel, from undisturbed runs of a model with four copies of it."""
        prepare(member for kernel, _ in kernels for member in kernel.members())
        jobs = {str(number): self.job(*one) for number, one in enumerate(kernels)}
        timings = time_kernels(jobs, empties=empties(), start=self._start, budget_ms=budget_ms)
        return [Row(t.latency_ms, t.spread_ms, t.count) for t in timings.values()]

    def seams(self, tensors: Sequence[Tensor], *, budget_ms: float) -> list[Added]:
        """What the kernels around each tensor add to the sum of their times alone."""
        alone = {
            str(KernelKey.of(*one)): self.job(*one) for tensor in tensors for one in tensor.alone
        }
        together = {str(number): self._together(tensor) for number, tensor in enumerate(tensors)}
        timings = time_kernels(
            {**alone, **together}, empties=empties(), start=self._start, budget_ms=budget_ms
        )
        return [
            _added(timings[str(number)], [timings[str(KernelKey.of(*one))] for one in tensor.alone])
            for number, tensor in enumerate(tensors)
        ]

    def network(self, model: Path) -> tuple[float, float]:
        """The latency of a model file for one sample and its spread, in ms, without the call."""
        empty = empty_model(quantized=False, copies=1)
        found = time_networks(
            {"": str(model)}, empty=empty, start=self._start, budget_ms=_NETWORK_BUDGET_MS
        )[""]
        return found.latency_ms, found.spread_ms

    def job(self, kernel: Kernel, numerics: Numerics) -> TimedKernel:
        """The model with its settings that is timed for a row."""
        room, weights = self._room([(kernel, numerics)]), self.eight_bit_weights
        return TimedKernel(
            model=kernel_model(kernel, numerics, copies=room.copies, eight_bit_weights=weights),
            copies=room.copies,
            empty=_empty(quantized=numerics.on_integers),
            cuts=int(is_cut(kernel)),
            beside=room.beside,
        )

    def _together(self, tensor: Tensor) -> TimedKernel:
        """The model of the kernels around a tensor with its settings."""
        room, weights = self._room(tensor.alone), self.eight_bit_weights
        return TimedKernel(
            model=seam_model(tensor, copies=room.copies, eight_bit_weights=weights),
            copies=room.copies,
            empty=_empty(quantized=all(numerics.on_integers for _, numerics in tensor.alone)),
            cuts=sum(map(is_cut, leaving(tensor))),
            beside=room.beside,
        )

    def _room(self, kernels: Sequence[tuple[Kernel, Numerics]]) -> Room:
        return room_for(kernels, self.network_weights, copies=(FEW_COPIES, COPIES))

    def _start(self, model: bytes | str, before: Reading | None) -> Timed:
        return Timed(Session(model, threads=self.threads), before)


@dataclass(frozen=True)
class Elsewhere(OnnxRuntime):
    """onnxruntime on another machine, which may have kernels for weights of 4 bits.

    `write_folder` writes what this backend can time; the backend itself measures nothing here.
    """

    name: str = "elsewhere"

    def refusal(self, kernel: Kernel, numerics: Numerics) -> str | None:
        """The reason why no ONNX file can hold `kernel` in `numerics`; None if one can."""
        if (why := _unwritable(kernel, numerics)) is not None:
            return why
        if numerics == _PACKED or _is_timed(kernel, numerics):
            return None
        return f"no ONNX file holds {type(kernel.op).__name__} computing at {numerics}"


def refusal(kernel: Kernel, numerics: Numerics) -> str | None:
    """The reason why `kernel` in `numerics` cannot be timed on this machine; None if it can."""
    if (why := _unwritable(kernel, numerics)) is not None or _is_timed(kernel, numerics):
        return why
    return (
        f"onnxruntime on this machine is timed at {', '.join(map(str, (*_TIMED, *_DECODED)))}, "
        f"given {type(kernel.op).__name__} at {numerics}; let the target's containers map it to "
        "one of them"
    )


def _unwritable(kernel: Kernel, numerics: Numerics) -> str | None:
    """The reason why `kernel` has no ONNX model, whatever number formats there are; else None."""
    if not kernel.inputs:
        return unshipped(kernel)
    unknown = [type(op).__name__ for op in kernel.ops if not (op.folds or is_writable(op))]
    if unknown:
        return (
            f"operator {unknown[0]} has no ONNX form to be timed in; register a case of "
            "nas.export.onnx_operators.write"
        )
    if (why := unshipped(kernel)) is not None:
        return why
    if numerics.groups and kernel.op.looks_up:
        return f"a table that {type(kernel.op).__name__} looks up has no groups in a file"
    return None


def _is_timed(kernel: Kernel, numerics: Numerics) -> bool:
    return _is_weight_only(kernel, numerics) or numerics in _DECODED or numerics.plain in _TIMED


def _is_weight_only(kernel: Kernel, numerics: Numerics) -> bool:
    """Whether a kernel is a matrix product or a lookup with a weight of few bits and float inputs.

    False where onnxruntime would compute wrong numbers (`nas.export.onnx_operators.is_sound`).
    """
    shape = kernel.op.weight_shape(*kernel.inputs)
    return (
        shape is not None
        and len(shape) == 2
        and numerics.weight in _FEW_BITS
        and numerics.activation == FULL
        and (kernel.op.looks_up or is_sound(numerics.weight_bits, outputs=shape[0]))
    )


def _added(together: Timing, alone: Sequence[Timing]) -> Added:
    return Added(
        ms=round(together.latency_ms - sum(one.latency_ms for one in alone), 6),
        spread_ms=round(math.hypot(*(one.spread_ms for one in (together, *alone))), 6),
        count=together.count,
    )


def empties() -> Empties:
    """The models without kernels, whose latencies are subtracted, by name and number of copies."""
    return {
        _empty(quantized=quantized): {
            copies: empty_model(quantized=quantized, copies=copies)
            for copies in (1, FEW_COPIES, COPIES)
        }
        for quantized in (False, True)
    }


def _empty(*, quantized: bool) -> str:
    return "uint8" if quantized else "float32"
