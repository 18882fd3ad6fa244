"""Saturation of 8-bit products on x86-64 processors without VNNI, and files that avoid it.

On these processors, onnxruntime multiplies unsigned activations by signed weights with the
instruction `vpmaddubsw`, which adds two products in 16 bits: 255 x 127 + 255 x 127 = 64,770 becomes
32,767. There are two ways to avoid this. Weights may be moved to unsigned codes, for which
onnxruntime has a kernel that widens both operands first. Or weights may have 7 bits, since
2 x 255 x 63 = 32,130 fits. Depthwise convolutions never add pairs of products.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Literal, get_args

from search_spaces.quant import Quant

EightBitWeights = Literal["unsigned", "signed"]
DescribedWeights = EightBitWeights | Literal["by-processor"]
"""The words of a target file: one of the two, or what is fastest and right on this processor."""
ARRANGEMENTS: tuple[EightBitWeights, ...] = get_args(EightBitWeights)
WEIGHTS_NOTE = "weights"  # the note of a latency table: type of 8-bit weights when measured
WIDEST, NARROWER = "int8", "int7"  # formats of weights whose sums may saturate, and never do
MOVED_BY = 128  # the difference of unsigned and signed codes
_LARGEST_SUM = 2**15 - 1
_LARGEST_ACTIVATION = 2**8 - 1
_CPU_INFO = Path("/proc/cpuinfo")
_X86_64 = ("x86_64", "AMD64")
_EXACT = {"avx512_vnni", "avx_vnni"}


class SaturationWarning(UserWarning):
    """The warning about a file whose sums of 8-bit products may saturate on this processor."""


def pair_fits(largest_code: int) -> bool:
    """Whether two products of 8-bit activations and weights up to `largest_code` fit 16 bits."""
    return 2 * _LARGEST_ACTIVATION * largest_code <= _LARGEST_SUM


def moved(weight: Quant, weights: EightBitWeights) -> bool:
    """Whether weights of this precision are written as unsigned codes for kernels that add pairs.

    Args:
        weight: The precision.
        weights: The type of 8-bit weights in files.
    """
    return (
        weight.integers.symmetric
        and not pair_fits(weight.integers.range[1])
        and weights == "unsigned"
    )


def adds_pairs(channels: int, *, groups: int) -> bool:
    """Whether integer kernels of an operator add products in pairs.

    Only a convolution of one input channel per group, in several groups, adds none.

    Args:
        channels: Input channels per group: the second axis of the weight.
        groups: Groups of a convolution; 1 for other operators.
    """
    return channels > 1 or groups == 1


def processor_saturates() -> bool:
    """Whether this machine has an x86-64 processor that is not known to have VNNI."""
    return platform.machine() in _X86_64 and not _EXACT & set(_flags())


def arrangement(
    described: DescribedWeights, *, measured: str | None, elsewhere: bool
) -> EightBitWeights:
    """The type of 8-bit weights in files for a target.

    By the processor, weights are signed on x86-64 with VNNI, where their sums are right and fast;
    nothing was measured on other kinds of processors, so weights are unsigned there.

    Args:
        described: The words of the target file.
        measured: The type with which the target's table was measured, which decides where the
            words leave it open; None without a table.
        elsewhere: Whether files are for another machine than this one.
    """
    if described != "by-processor":
        return described
    if measured is not None:
        return "signed" if measured == "signed" else "unsigned"
    known = platform.machine() in _X86_64 and not elsewhere
    return "signed" if known and not processor_saturates() else "unsigned"


def _flags() -> list[str]:
    """The features of the processor as Linux lists them; empty on other systems."""
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.exists() else []
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])


def caution(target: str, weights: EightBitWeights) -> str | None:
    """A warning for a user who measures for `target` on this processor; None without a problem.

    Args:
        target: The name of the target.
        weights: The type of 8-bit weights in files for the target.
    """
    if not processor_saturates():
        return None
    cause = "this processor has no VNNI and adds up 8-bit products in 16 bits"
    if weights == "signed":
        return (
            f"{cause}: files for {target!r}, whose eight_bit_weights are 'signed', give wrong "
            "numbers here; set them to 'unsigned' in its target file, or give layers 7 bits"
        )
    return (
        f"{cause}: 8-bit latencies measured here for {target!r} do not hold where there is VNNI; "
        "its files give the same numbers here as elsewhere, since eight_bit_weights are 'unsigned'"
    )
