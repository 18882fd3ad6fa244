"""Costs of whole networks on a device: costs of kernels, combined by the device's rules.

Most costs are sums over kernels. The device's rules may add conversions between formats, run
branches in parallel or refuse operands of unlike formats; for these, the edges between kernels
matter too. Memory is the stored model and the largest sum of tensors that are needed at one time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.targets.numerics import Numerics, bits_in, name_of
from nas.targets.rules import Cast, Rules
from nas.targets.seams.seam_cost import SeamCost
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
ComputesIn = Callable[[Kernel], Numerics | None]
KernelFigure = Callable[[Kernel, Numerics], float]

_US_IN_MS = 1e-3
_PER_MS = 1e6  # 10^9 per second, as a rate per millisecond


@dataclass(frozen=True, eq=False)
class Sum:
    """A population cost that is the sum of several."""

    parts: Sequence[PopulationCost]

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of every row of `genotypes` `(n, choices)`, as `(n,)`."""
        return functools.reduce(np.add, (part(genotypes) for part in self.parts))


@dataclass(frozen=True)
class Constant:
    """A population cost that is the same for every network."""

    value: float

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of every row of `genotypes` `(n, choices)`, as `(n,)`."""
        return np.full(len(genotypes), self.value)


class NetworkCosts:
    """The costs of all networks of a space on one device.

    A cost that no rule of the device touches stays a sum over kernels, which is the fastest to
    compute.

    Args:
        kernels: The kernels of the space, fused as on the device.
        computes_in: The formats in which the device computes a kernel; None for a refused kernel.
        rules: How the costs of kernels make the cost of a network.
    """

    def __init__(self, kernels: SpaceKernels, computes_in: ComputesIn, rules: Rules) -> None:
        self._kernels = kernels
        self._rules = rules
        self._runs = [(k, computes_in(k) if k.runs else None) for k in kernels.distinct()]
        self._flow = Flow(kernels)
        formats = [self._format(kernel, numerics) for kernel, numerics in self._runs]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(["", *formats]))}
        self._tensors = Tensors(
            elements=self._each(lambda kernel, _: float(math.prod(kernel.output))),
            bits=np.array([0.0, *(float(self._bits(name)) for name in formats)]),
            formats=np.array([0.0, *(float(numbers[name]) for name in formats)]),
        )

    @property
    def runs(self) -> list[tuple[Kernel, Numerics]]:
        """The kernels of the space that the device runs, each with the formats it computes in."""
        return [(kernel, numerics) for kernel, numerics in self._runs if numerics is not None]

    def all(
        self, figures: Mapping[str, KernelFigure], *, between: SeamCost | None = None
    ) -> dict[str, PopulationCost]:
        """All costs by name with unit: those of `figures`, and the bytes in memory.

        All are infinite for a network that the device refuses.

        Args:
            figures: Name of a cost -> cost of a kernel that computes in the given formats; at least
                `latency_ms`.
            between: What tensors between kernels add to the latency, in ms.
        """
        each = {name: self._each(priced(figure)) for name, figure in figures.items()}
        costs: dict[str, PopulationCost] = {n: self._kernels.summed(v) for n, v in each.items()}
        latency = self._latency(costs["latency_ms"], each["latency_ms"])
        if between is not None:
            latency = Sum([latency, FlowCost(self._kernels.space, between)])
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
        """The latency in ms: a sum over kernels or the longest path, and conversions of tensors.

        Args:
            summed: The latency as the sum over kernels.
            each: The latency of every kernel by number, `(kernels,)`.
        """
        space, cast = self._kernels.space, self._rules.cast
        crossings = cast and Crossings(self._flow, self._tensors, convert=converting(cast))
        if self._rules.branches == "max":
            return FlowCost(space, LongestPath(self._flow, each, crossings))
        return Sum([summed, FlowCost(space, Conversions(crossings))]) if crossings else summed

    def _peak_activation(self) -> PopulationCost:
        peak = FlowCost(self._kernels.space, PeakActivation(self._flow, self._tensors))
        refused = self._each(priced(lambda kernel, numerics: 0.0))
        return Sum([peak, self._kernels.summed(refused)]) if refused.any() else peak

    def _refusal(self) -> PopulationCost:
        """A cost that is infinite where the operands of an operator break the rule `same_format`.

        It is 0 for all other networks.
        """
        widest = max(len(kernel.inputs) for kernel, _ in self._runs)
        slots = np.zeros((len(self._runs) + 1, widest), dtype=np.bool_)
        for number, (kernel, _) in enumerate(self._runs, 1):
            slots[number, sharing(kernel, self._rules.same_format)] = True
        crossings = Crossings(self._flow, self._tensors, convert=_never, slots=slots)
        return FlowCost(self._kernels.space, Conversions(crossings))

    def _stored_bytes(self, kernel: Kernel, numerics: Numerics) -> float:
        """The bytes of a kernel's parameters as this device stores them.

        Weights are packed at their own bits or at those of their container. Biases and scales have
        32 bits each.
        """
        container = None if self._rules.packed else numerics.weight_bits
        return float(
            sum(
                stored_bytes(op, reads, self._width(container or bits_of(op.weight)))
                for op, reads in kernel.members()
            )
        )

    def _format(self, kernel: Kernel, numerics: Numerics | None) -> str:
        """The name of the format of a kernel's output, that of its inputs; empty for an input.

        Empty means that each reader may have the tensor in the format that it needs.
        """
        if not kernel.runs:
            return ""
        return name_of(kernel.op.activation) if numerics is None else numerics.activation

    def _bits(self, name: str) -> int:
        """The bits per element of a tensor in the format called `name`; 0 without a format."""
        return self._width(bits_in(name)) if name else 0

    def _width(self, bits: int) -> int:
        return self._rules.full_precision_bits if bits == FULL_PRECISION_BITS else bits

    def _each(self, value: Callable[[Kernel, Numerics | None], float]) -> FloatArray:
        """The value of every kernel by number, `(kernels,)`; 0 at number 0, which is no kernel."""
        return np.array([0.0, *(value(kernel, numerics) for kernel, numerics in self._runs)])


def priced(figure: KernelFigure) -> Callable[[Kernel, Numerics | None], float]:
    """The cost `figure` extended to all kernels: 0 for an input, infinite for a refused kernel."""

    def price(kernel: Kernel, numerics: Numerics | None) -> float:
        if not kernel.runs:
            return 0.0
        return math.inf if numerics is None else figure(kernel, numerics)

    return price


def sharing(kernel: Kernel, operators: Collection[str]) -> list[int]:
    """The positions of the inputs of a kernel that some operator of the named classes reads.

    Args:
        kernel: The kernel.
        operators: Class names of operators.
    """
    reading = zip(kernel.ops, kernel.slots, strict=True)
    named = (slots for op, slots in reading if type(op).__name__ in operators)
    return sorted({slot for slots in named for slot in slots if slot < len(kernel.inputs)})


def _never(elements: FloatArray, *_: FloatArray) -> FloatArray:
    return np.full_like(elements, np.inf)


def converting(cast: Cast) -> Conversion:
    """A function for the milliseconds of converting tensors from one bit-width to another.

    Every element is read at the old width and written at the new one.
    """

    def milliseconds(elements: FloatArray, written: FloatArray, wanted: FloatArray) -> FloatArray:
        moved = elements * (written + wanted) / 8
        return cast.overhead_us * _US_IN_MS + moved / (cast.bandwidth_gb_per_s * _PER_MS)

    return milliseconds
