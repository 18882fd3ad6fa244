"""Costs of a device that is known by a few figures: peak rate, bandwidth, overhead, energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nas.targets.capability import Bits
from search_spaces.kernels import Kernel
from search_spaces.ops import Shape, filled_up
from search_spaces.quant import FULL_PRECISION_BITS

_PER_MS = 1e6  # one G/s, per millisecond
_PJ_IN_MJ = 1e-9


@dataclass(frozen=True)
class Energy:
    """Picojoules: per multiply-accumulate at each pair of bits, and per byte moved.

    Attributes:
        pj_per_mac: At each native pair of weight and activation bits.
        pj_per_byte: Across the chip's border.
        pj_per_on_chip_byte: For every byte that a kernel reads or writes, wherever it lies.
    """

    pj_per_mac: Mapping[Bits, float]
    pj_per_byte: float
    pj_per_on_chip_byte: float = 0.0


@dataclass(frozen=True)
class OnChip:
    """A buffer on the chip: a kernel whose tensors and weights fit keeps its tensors there.

    Only its weights then cross the chip's border. A kernel that does not fit moves everything
    across it, once.
    """

    bytes: float
    bandwidth_gb_per_s: float = math.inf


@dataclass(frozen=True)
class Work:
    """What one kernel computes and moves, for one sample and with channels padded.

    Attributes:
        macs: Operator class name -> multiply-accumulates.
        weight_bytes: Of all its weights.
        tensor_bytes: Of what it reads and what it writes. What passes between the operators of one
            kernel is not moved.
    """

    macs: Mapping[str, int]
    weight_bytes: float
    tensor_bytes: float

    @property
    def total_bytes(self) -> float:
        """Weights and tensors."""
        return self.weight_bytes + self.tensor_bytes


@dataclass(frozen=True)
class Roofline:
    """A kernel takes its overhead, and as long as the slowest of computing and moving takes.

    `overhead + max(sum of MACs / (peak x utilisation), off-chip bytes / bandwidth, all bytes /
    on-chip bandwidth)`: Williams et al. 2009 with one peak per pair of bits and an overhead per
    kernel, and one ceiling per level of memory as in Yang et al. 2020 ("Hierarchical Roofline
    analysis").

    Attributes:
        gmacs_per_s: Peak rate at each native pair of weight and activation bits.
        bandwidth_gb_per_s: What moves bytes across the chip's border.
        overhead_us: Added to every kernel.
        utilisation: Operator class name -> the share of the peak that it reaches; 1 where absent.
        channel_multiple: Bits -> what channels are padded to a multiple of; 1 where absent.
        on_chip: The buffer on the chip, if there is one.
        energy: What kernels use, where that is known.
        full_precision_bits: Bits of an element in full precision.
    """

    gmacs_per_s: Mapping[Bits, float]
    bandwidth_gb_per_s: float
    overhead_us: float
    utilisation: Mapping[str, float] = field(default_factory=dict)
    channel_multiple: Mapping[Bits, int] = field(default_factory=dict)
    on_chip: OnChip | None = None
    energy: Energy | None = None
    full_precision_bits: int = FULL_PRECISION_BITS

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
        work = self.work(kernel, bits)
        effort = sum(macs / self.utilisation.get(name, 1.0) for name, macs in work.macs.items())
        computing = effort / (self.gmacs_per_s[bits] * _PER_MS) if effort else 0.0
        moving = self._off_chip_bytes(work) / (self.bandwidth_gb_per_s * _PER_MS)
        inside = math.inf if self.on_chip is None else self.on_chip.bandwidth_gb_per_s
        return self.overhead_us / 1e3 + max(
            computing, moving, work.total_bytes / (inside * _PER_MS)
        )

    def energy_mj(self, kernel: Kernel, bits: Bits) -> float:
        """Millijoules for one sample."""
        if self.energy is None:
            raise ValueError("this roofline has no energy figures; read `costs` for what it has")
        work = self.work(kernel, bits)
        macs = sum(work.macs.values())
        computing = macs * self.energy.pj_per_mac[bits] if macs else 0.0
        moving = self._off_chip_bytes(work) * self.energy.pj_per_byte
        inside = work.total_bytes * self.energy.pj_per_on_chip_byte
        return (computing + moving + inside) * _PJ_IN_MJ

    def work(self, kernel: Kernel, bits: Bits) -> Work:
        """What `kernel` computes and moves where it computes in `bits`."""
        multiple = self.channel_multiple.get(bits, 1)
        macs: dict[str, int] = {}
        weights = 0
        for op, reads in kernel.members():
            wide, inputs = op.padded(multiple, *reads)
            name = type(op).__name__
            macs[name] = macs.get(name, 0) + wide.macs(*inputs)
            weights += math.prod(wide.weight_shape(*inputs) or (0,))
        tensors = (*kernel.inputs, kernel.output)
        elements = sum(math.prod(_padded(shape, multiple)) for shape in tensors)
        return Work(
            macs={name: count for name, count in macs.items() if count},
            weight_bytes=weights * self._stored(bits.weight or 0) / 8,
            tensor_bytes=elements * self._stored(bits.activation) / 8,
        )

    def _off_chip_bytes(self, work: Work) -> float:
        fits = self.on_chip is not None and work.total_bytes <= self.on_chip.bytes
        return work.weight_bytes if fits else work.total_bytes

    def _stored(self, bits: int) -> int:
        return self.full_precision_bits if bits == FULL_PRECISION_BITS else bits


def _padded(shape: Shape, multiple: int) -> Shape:
    return (filled_up(shape[0], multiple), *shape[1:])
