"""What whole networks cost on a device, from its kernels' costs and from who reads whose result."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.targets.capability import Bits
from nas.targets.rules import Cast, Rules
from search_spaces.costs import FloatArray, SpaceKernels, stored_bytes
from search_spaces.flow import (
    Conversion,
    Conversions,
    Crossings,
    Flow,
    FlowCost,
    LongestPath,
    PeakActivation,
    Tensors,
)
from search_spaces.kernels import Kernel
from search_spaces.quant import FULL_PRECISION_BITS, bits_of
from search_spaces.space import IntArray

PopulationCost = Callable[[IntArray], FloatArray]
ComputesIn = Callable[[Kernel], Bits | None]
KernelFigure = Callable[[Kernel, Bits], float]

_US_IN_MS = 1e-3
_PER_MS = 1e6  # one G/s, per millisecond


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of costs of whole networks."""

    parts: Sequence[PopulationCost]

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of every row of `(n, choices)`, as `(n,)`."""
        return functools.reduce(np.add, (part(genotypes) for part in self.parts))


@dataclass(frozen=True)
class Constant:
    """The same cost for every network."""

    value: float

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of every row of `(n, choices)`, as `(n,)`."""
        return np.full(len(genotypes), self.value)


class NetworkCosts:
    """The costs of every network of a space under a device's rules.

    What no rule touches stays a sum over kernels, which is the fastest to compute.

    Args:
        kernels: The kernels of the space, fused as the device does.
        computes_in: The bits of a kernel, or None where it is refused.
        rules: What the device does beyond single kernels.
    """

    def __init__(self, kernels: SpaceKernels, computes_in: ComputesIn, rules: Rules) -> None:
        self._kernels = kernels
        self._rules = rules
        self._runs = [(k, computes_in(k) if executes(k) else None) for k in kernels.distinct()]
        self._flow = Flow(kernels)
        self._tensors = Tensors(
            self._each(lambda kernel, _: float(math.prod(kernel.output))), self._each(self._format)
        )

    @property
    def runs(self) -> list[tuple[Kernel, Bits]]:
        """The kernels that the device runs, each with the bits that it computes in."""
        return [(kernel, bits) for kernel, bits in self._runs if bits is not None]

    def all(self, figures: Mapping[str, KernelFigure]) -> dict[str, PopulationCost]:
        """Every cost by name: the `figures` of kernels, and what they need in memory."""
        each = {name: self._each(priced(figure)) for name, figure in figures.items()}
        costs: dict[str, PopulationCost] = {n: self._kernels.summed(v) for n, v in each.items()}
        latency = self._latency(costs["latency_ms"], each["latency_ms"])
        overhead_ms = self._rules.overhead_ms
        costs["latency_ms"] = Sum([latency, Constant(overhead_ms)]) if overhead_ms else latency
        costs["model_bytes"] = self._kernels.summed(self._each(priced(self._stored_bytes)))
        costs["peak_activation_bytes"] = self._peak_activation()
        costs["memory_bytes"] = Sum([costs["model_bytes"], costs["peak_activation_bytes"]])
        if not self._rules.same_format:
            return costs
        refusal = self._refusal()
        return {name: Sum([cost, refusal]) for name, cost in costs.items()}

    def _latency(self, summed: PopulationCost, each: FloatArray) -> PopulationCost:
        """Milliseconds: kernels one after the other or along the longest path, and conversions."""
        space, cast = self._kernels.space, self._rules.cast
        crossings = cast and Crossings(self._flow, self._tensors, convert=converting(cast))
        if self._rules.branches == "max":
            return FlowCost(space, LongestPath(self._flow, each, crossings))
        return Sum([summed, FlowCost(space, Conversions(crossings))]) if crossings else summed

    def _peak_activation(self) -> PopulationCost:
        peak = FlowCost(self._kernels.space, PeakActivation(self._flow, self._tensors))
        refused = self._each(priced(lambda kernel, bits: 0.0))
        return Sum([peak, self._kernels.summed(refused)]) if refused.any() else peak

    def _refusal(self) -> PopulationCost:
        """Infinite where an operator gets operands of unlike formats that must share one."""
        widest = max(len(kernel.inputs) for kernel, _ in self._runs)
        slots = np.zeros((len(self._runs) + 1, widest), dtype=np.bool_)
        for number, (kernel, _) in enumerate(self._runs, 1):
            slots[number, sharing(kernel, self._rules.same_format)] = True
        crossings = Crossings(self._flow, self._tensors, convert=_never, slots=slots)
        return FlowCost(self._kernels.space, Conversions(crossings))

    def _stored_bytes(self, kernel: Kernel, bits: Bits) -> float:
        """Weights as this device stores them, 32-bit biases, a 32-bit scale per step."""
        container = None if self._rules.packed else bits.weight
        return float(
            sum(
                stored_bytes(op, reads, self._width(container or bits_of(op.weight)))
                for op, reads in kernel.members()
            )
        )

    def _format(self, kernel: Kernel, bits: Bits | None) -> float:
        """The bits of what a kernel writes: those that it computes in; the image has any."""
        if not executes(kernel):
            return 0.0
        return float(
            self._width(bits_of(kernel.op.activation) if bits is None else bits.activation)
        )

    def _width(self, bits: int) -> int:
        return self._rules.full_precision_bits if bits == FULL_PRECISION_BITS else bits

    def _each(self, value: Callable[[Kernel, Bits | None], float]) -> FloatArray:
        """The value of every kernel by number, `(kernels,)`; 0 for none."""
        return np.array([0.0, *(value(kernel, bits) for kernel, bits in self._runs)])


def executes(kernel: Kernel) -> bool:
    """Whether a device runs anything for a kernel; sources of the input and views are no work."""
    return any(op.runs for op in kernel.ops)


def priced(figure: KernelFigure) -> Callable[[Kernel, Bits | None], float]:
    """`figure`, but 0 for the image and infinite for a kernel that has no bits to run in."""

    def price(kernel: Kernel, bits: Bits | None) -> float:
        if not executes(kernel):
            return 0.0
        return math.inf if bits is None else figure(kernel, bits)

    return price


def sharing(kernel: Kernel, operators: Collection[str]) -> list[int]:
    """Which inputs of a kernel are read by one of the named operators."""
    reading = zip(kernel.ops, kernel.slots, strict=True)
    named = (slots for op, slots in reading if type(op).__name__ in operators)
    return sorted({slot for slots in named for slot in slots if slot < len(kernel.inputs)})


def _never(elements: FloatArray, *_: FloatArray) -> FloatArray:
    return np.full_like(elements, np.inf)


def converting(cast: Cast) -> Conversion:
    """Milliseconds that it takes to read elements in one width and to write them in another."""

    def milliseconds(elements: FloatArray, written: FloatArray, wanted: FloatArray) -> FloatArray:
        moved = elements * (written + wanted) / 8
        return cast.overhead_us * _US_IN_MS + moved / (cast.bandwidth_gb_per_s * _PER_MS)

    return milliseconds
