"""Rules of a target for whole networks: branches, casts, shared formats, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from search_spaces.quant import FULL_PRECISION_BITS

# The memories of a device, by the costs that they limit.
MEMORIES = {"model_bytes": "flash", "peak_activation_bytes": "RAM", "memory_bytes": "memory"}


@dataclass(frozen=True)
class Cast:
    """The conversion of a tensor whose format is not the one in which its reader computes.

    A tensor that several kernels read in the same other format is converted once.

    Attributes:
        overhead_us: Microseconds per conversion.
        bandwidth_gb_per_s: Bandwidth, in 10^9 bytes per second, at which the tensor is read in one
            format and written in the other.
    """

    overhead_us: float
    bandwidth_gb_per_s: float


@dataclass(frozen=True)
class Memory:
    """The memory of a device for a network, in bytes; None where there is no limit.

    Attributes:
        flash_bytes: The limit on the stored model.
        ram_bytes: The limit on the peak activation.
        total_bytes: The limit on both together, of a device that has one memory for them.
    """

    flash_bytes: float | None = None
    ram_bytes: float | None = None
    total_bytes: float | None = None


@dataclass(frozen=True)
class Rules:
    """The rules by which costs of kernels become the cost of a network.

    The defaults are those of a plain device.

    Attributes:
        branches: Whether parallel branches run one after the other ("sum") or at the same time
            ("max"), so that the longest path counts.
        cast: The cost of converting tensors between formats; conversions are free where absent.
        same_format: Class names of operators, such as `Add`, whose operands must all arrive in the
            format that the operator reads. A network with other operands is refused.
        packed: Whether weights are stored at their own bit-width (True) or at that of the container
            in which they are computed (False).
        memory: Hard limits of the memory.
        full_precision_bits: Bits of an element in full precision; 16 on a device that computes full
            precision in half floats.
        overhead_ms: Milliseconds that are added to the latency of every network; negative where
            kernels take less time together than alone.
    """

    branches: Literal["sum", "max"] = "sum"
    cast: Cast | None = None
    same_format: frozenset[str] = frozenset()
    packed: bool = True
    memory: Memory = Memory()
    full_precision_bits: int = FULL_PRECISION_BITS
    overhead_ms: float = 0.0
