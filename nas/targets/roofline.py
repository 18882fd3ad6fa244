"""Roofline costs: a device described by peak rate, bandwidth, overhead and energy alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nas.targets.numerics import Numerics
from search_spaces.costs import scale_bits
from search_spaces.kernels import Kernel
from search_spaces.ops import Op, Shape, filled_up
from search_spaces.quant import FULL_PRECISION_BITS

_PER_MS = 1e6  # 10^9 per second, as a rate per millisecond
_PJ_IN_MJ = 1e-9


@dataclass(frozen=True)
class Energy:
    """The energy of operations and of data movement, in picojoules.

    Attributes:
        pj_per_mac: Energy of a multiply-accumulate, by native pair of formats.
        pj_per_byte: Energy of a byte that crosses the border of the chip.
        pj_per_on_chip_byte: Energy of every byte that a kernel reads or writes, on or off the chip.
    """

    pj_per_mac: Mapping[Numerics, float]
    pj_per_byte: float
    pj_per_on_chip_byte: float = 0.0


@dataclass(frozen=True)
class OnChip:
    """A buffer on the chip.

    If the weights and tensors of a kernel fit the buffer, its tensors stay there and only its
    weights cross the border of the chip. If they do not fit, weights and tensors all cross once.

    Attributes:
        bytes: Size of the buffer.
        bandwidth_gb_per_s: Bandwidth of the buffer, in 10^9 bytes per second.
    """

    bytes: float
    bandwidth_gb_per_s: float = math.inf


@dataclass(frozen=True)
class Work:
    """The operations and bytes of one kernel, for one sample and with padded channels.

    Attributes:
        macs: Operator class name -> multiply-accumulates.
        weight_bytes: Bytes of all weights, with the scales of groups.
        tensor_bytes: Bytes of the tensors that the kernel reads and writes. Tensors between the
            operators of one kernel are not moved and do not count.
    """

    macs: Mapping[str, int]
    weight_bytes: float
    tensor_bytes: float

    @property
    def total_bytes(self) -> float:
        """The bytes of weights and tensors together."""
        return self.weight_bytes + self.tensor_bytes


@dataclass(frozen=True)
class Roofline:
    """A roofline cost model: a kernel takes as long as the slower of computing and moving data.

    The latency of a kernel is `overhead + max(sum of MACs / (peak x utilisation), off-chip bytes /
    bandwidth, all bytes / on-chip bandwidth)`. This is the model of Williams et al. 2009 with one
    peak per pair of formats and an overhead per kernel. There is one ceiling per level of memory,
    as in Yang et al. 2020 ("Hierarchical Roofline analysis").

    Attributes:
        gmacs_per_s: Peak rate in 10^9 multiply-accumulates per second, by native pair of formats; a
            product of two activations has the rate of a weight of their format.
        bandwidth_gb_per_s: Bandwidth across the border of the chip, in 10^9 bytes per second.
        overhead_us: Microseconds that are added to every kernel.
        utilisation: Operator class name -> the share of the peak that it reaches; 1 where absent.
        channel_multiple: Formats -> the number to a multiple of which channels are padded; 1 where
            absent.
        on_chip: The buffer on the chip, if there is one.
        energy: The energy of operations and bytes, where that is known.
        full_precision_bits: Bits of an element in full precision.
    """

    gmacs_per_s: Mapping[Numerics, float]
    bandwidth_gb_per_s: float
    overhead_us: float
    utilisation: Mapping[str, float] = field(default_factory=dict)
    channel_multiple: Mapping[Numerics, int] = field(default_factory=dict)
    on_chip: OnChip | None = None
    energy: Energy | None = None
    full_precision_bits: int = FULL_PRECISION_BITS

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Numerics], float]]:
        """Cost name -> the cost of a kernel that computes in the given formats."""
        known: dict[str, Callable[[Kernel, Numerics], float]] = {"latency_ms": self.latency_ms}
        if self.energy is not None:
            known["energy_mj"] = self.energy_mj
        return known

    def lacking(self, kernels: Iterable[tuple[Kernel, Numerics]]) -> str | None:
        """None: a roofline has a cost for every kernel."""

    def latency_ms(self, kernel: Kernel, numerics: Numerics) -> float:
        """The latency of a kernel for one sample, in milliseconds."""
        work = self.work(kernel, numerics)
        effort = sum(macs / self.utilisation.get(name, 1.0) for name, macs in work.macs.items())
        computing = effort / (self.gmacs_per_s[numerics.factors] * _PER_MS) if effort else 0.0
        moving = self._off_chip_bytes(work) / (self.bandwidth_gb_per_s * _PER_MS)
        inside = math.inf if self.on_chip is None else self.on_chip.bandwidth_gb_per_s
        return self.overhead_us / 1e3 + max(
            computing, moving, work.total_bytes / (inside * _PER_MS)
        )

    def energy_mj(self, kernel: Kernel, numerics: Numerics) -> float:
        """The energy of a kernel for one sample, in millijoules.

        Raises:
            ValueError: If the roofline has no energy figures.
        """
        if self.energy is None:
            raise ValueError("this roofline has no energy figures; read `costs` for what it has")
        work = self.work(kernel, numerics)
        macs = sum(work.macs.values())
        computing = macs * self.energy.pj_per_mac[numerics.factors] if macs else 0.0
        moving = self._off_chip_bytes(work) * self.energy.pj_per_byte
        inside = work.total_bytes * self.energy.pj_per_on_chip_byte
        return (computing + moving + inside) * _PJ_IN_MJ

    def work(self, kernel: Kernel, numerics: Numerics) -> Work:
        """The operations and bytes of `kernel` when it computes in `numerics`."""
        multiple = self.channel_multiple.get(numerics.plain, 1)
        macs: dict[str, int] = {}
        weights, scales = 0, 0
        for op, reads in kernel.members():
            wide, inputs = op.padded(multiple, *reads)
            name = type(op).__name__
            macs[name] = macs.get(name, 0) + wide.macs(*inputs)
            weights += wide.weights_read(*inputs)
            scales += _group_scale_bits(op, reads) if numerics.groups else 0
        tensors = (*kernel.inputs, kernel.output)
        elements = sum(math.prod(_padded(shape, multiple)) for shape in tensors)
        return Work(
            macs={name: count for name, count in macs.items() if count},
            weight_bytes=(weights * self._stored(numerics.weight_bits) + scales) / 8,
            tensor_bytes=elements * self._stored(numerics.activation_bits) / 8,
        )

    def _off_chip_bytes(self, work: Work) -> float:
        fits = self.on_chip is not None and work.total_bytes <= self.on_chip.bytes
        return work.weight_bytes if fits else work.total_bytes

    def _stored(self, bits: int) -> int:
        return self.full_precision_bits if bits == FULL_PRECISION_BITS else bits


def _group_scale_bits(op: Op, reads: Sequence[Shape]) -> int:
    """The bits of the scales of an operator's weight, 0 without a weight."""
    shape = op.weight_shape(*reads)
    return 0 if op.weight is None or shape is None else scale_bits(op.weight, shape)


def _padded(shape: Shape, multiple: int) -> Shape:
    return (filled_up(shape[0], multiple), *shape[1:])
