"""8-bit products that x86-64 processors without VNNI cut off, and how files keep clear of them.

There onnxruntime multiplies unsigned activations by signed weights with `vpmaddubsw`, which adds up
two products in 16 bits: 255 x 127 + 255 x 127 = 64,770 becomes 32,767. Weights moved up to unsigned
codes run through a kernel that widens both operands first, and so do weights of 7 bits through the
first one, since 2 x 255 x 63 = 32,130 fits. Depthwise convolutions never add up pairs.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Literal, get_args

from search_spaces.quant import Quant

EightBitWeights = Literal["unsigned", "signed"]
ARRANGEMENTS: tuple[EightBitWeights, ...] = get_args(EightBitWeights)
WEIGHTS_NOTE = "weights"  # of a latency table: how those of 8 bits met their inputs
MOVED_BY = 128  # from signed to unsigned codes
_LARGEST_SUM = 2**15 - 1
_LARGEST_ACTIVATION = 2**8 - 1
_CPU_INFO = Path("/proc/cpuinfo")
_X86_64 = ("x86_64", "AMD64")
_EXACT = {"avx512_vnni", "avx_vnni"}


class SaturationWarning(UserWarning):
    """A file whose sums of 8-bit products this processor may cut off."""


def pair_fits(largest_code: int) -> bool:
    """Whether two products of 8-bit activations and weights up to `largest_code` fit in 16 bits."""
    return 2 * _LARGEST_ACTIVATION * largest_code <= _LARGEST_SUM


def moved(weight: Quant, weights: EightBitWeights) -> bool:
    """Whether codes of this precision reach a kernel that adds up pairs as unsigned ones."""
    return weight.symmetric and not pair_fits(weight.code_range[1]) and weights == "unsigned"


def adds_pairs(channels: int, *, groups: int) -> bool:
    """Whether an integer kernel adds up products in pairs; depthwise convolutions do not.

    Args:
        channels: How many each output reads: the second axis of the weight.
        groups: Groups of a convolution; 1 for other operators.
    """
    return channels > 1 or groups == 1


def processor_saturates() -> bool:
    """Whether this machine's processor is an x86-64 one that is not known to have VNNI."""
    if platform.machine() not in _X86_64:
        return False
    return not _EXACT & set(_flags())


def _flags() -> list[str]:
    """The processor's features as Linux lists them; none where it does not."""
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.exists() else []
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])


def caution(target: str, weights: EightBitWeights) -> str | None:
    """What a user must know who measures for `target` on this processor, or None where nothing."""
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
