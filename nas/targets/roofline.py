"""Costs of a device that is known by a few figures: peak rate, bandwidth, overhead, energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nas.targets.capability import Bits
from search_spaces.kernels import Kernel

_PER_MS = 1e6  # one G/s, per millisecond
_PJ_IN_MJ = 1e-9


@dataclass(frozen=True)
class Energy:
    """Picojoules per multiply-accumulate at each pair of bits, and per byte moved."""

    pj_per_mac: Mapping[Bits, float]
    pj_per_byte: float


@dataclass(frozen=True)
class Roofline:
    """A kernel takes its overhead, and as long as the slower of computing and moving takes.

    Williams et al. 2009, with one peak per pair of bits and an overhead per kernel.

    Attributes:
        gmacs_per_s: Peak rate at each native pair of weight and activation bits.
        bandwidth_gb_per_s: What moves weights, inputs and outputs.
        overhead_us: Added to every kernel.
        utilisation: Operator class name -> the share of the peak that it reaches; 1 where absent.
        energy: What kernels use, where that is known.
    """

    gmacs_per_s: Mapping[Bits, float]
    bandwidth_gb_per_s: float
    overhead_us: float
    utilisation: Mapping[str, float] = field(default_factory=dict)
    energy: Energy | None = None

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Bits], float]]:
        """Cost name -> the cost of a kernel that computes in the given bits."""
        known: dict[str, Callable[[Kernel, Bits], float]] = {"latency_ms": self.latency_ms}
        if self.energy is not None:
            known["energy_mj"] = self.energy_mj
        return known

    def require(self, kernels: Iterable[tuple[Kernel, Bits]]) -> None:
        """Nothing: figures hold for every kernel."""

    def latency_ms(self, kernel: Kernel, bits: Bits) -> float:
        """Milliseconds for one sample."""
        work = sum(
            op.macs(*reads) / self.utilisation.get(type(op).__name__, 1.0)
            for op, reads in kernel.members()
        )
        computing = work / (self.gmacs_per_s[bits] * _PER_MS) if work else 0.0
        moving = bytes_moved(kernel, bits) / (self.bandwidth_gb_per_s * _PER_MS)
        return self.overhead_us / 1e3 + max(computing, moving)

    def energy_mj(self, kernel: Kernel, bits: Bits) -> float:
        """Millijoules for one sample."""
        if self.energy is None:
            raise ValueError("this roofline has no energy figures; read `costs` for what it has")
        computing = kernel.macs * self.energy.pj_per_mac[bits] if kernel.macs else 0.0
        return (computing + bytes_moved(kernel, bits) * self.energy.pj_per_byte) * _PJ_IN_MJ


def bytes_moved(kernel: Kernel, bits: Bits) -> float:
    """Bytes of weights, inputs and output of one sample, in the bits the kernel computes in.

    What passes between the operators of one kernel is not moved.
    """
    shapes = (op.weight_shape(*reads) for op, reads in kernel.members())
    stored = sum(math.prod(shape) for shape in shapes if shape is not None) * (bits.weight or 0)
    elements = sum(map(math.prod, kernel.inputs)) + math.prod(kernel.output)
    return (stored + elements * bits.activation) / 8
