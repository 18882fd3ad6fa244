"""What a target does beyond single kernels: branches, casts, shared formats, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from search_spaces.quant import FULL_PRECISION_BITS


@dataclass(frozen=True)
class Cast:
    """Converting a tensor between unlike neighbours: once per tensor and format that is read.

    Attributes:
        overhead_us: Per conversion.
        bandwidth_gb_per_s: What reads the tensor in one format and writes it in the other.
    """

    overhead_us: float
    bandwidth_gb_per_s: float


@dataclass(frozen=True)
class Memory:
    """Hard limits in bytes; none where there is no limit.

    Attributes:
        total_bytes: On the stored model and its peak activation together.
        activation_bytes: On the peak activation.
        model_bytes: On the stored model.
    """

    total_bytes: float | None = None
    activation_bytes: float | None = None
    model_bytes: float | None = None


@dataclass(frozen=True)
class Rules:
    """How kernels combine into a network; the defaults are those of a plain device.

    Attributes:
        branches: Whether parallel branches run one after the other ("sum"), or at once, so that
            the longest path counts ("max").
        cast: What a change of format between neighbours costs; nothing where absent.
        same_format: Operator class names all of whose operands must arrive in the format that the
            operator reads, such as `Add`; a network in which they do not is refused.
        packed: Whether weights are stored at their own bits, or in those of the container that
            computes them.
        memory: Hard limits.
        full_precision_bits: Bits of an element in full precision: 16 on a device that runs it as
            half floats.
        overhead_ms: Added to the latency of every network; below zero where kernels take less time
            together than alone.
    """

    branches: Literal["sum", "max"] = "sum"
    cast: Cast | None = None
    same_format: frozenset[str] = frozenset()
    packed: bool = True
    memory: Memory = Memory()
    full_precision_bits: int = FULL_PRECISION_BITS
    overhead_ms: float = 0.0
