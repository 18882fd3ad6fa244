"""From a subnet to the network that a device runs: extraction followed by rewrites."""

from __future__ import annotations

from functools import partial, reduce

from supernets.biases import corrected, round_biases
from supernets.deployed import Deployed, Rewrite
from supernets.extract import Extracted
from supernets.fold import fold_norms


def deploy(extracted: Extracted) -> Deployed:
    """The network that leaves: norms folded, the bias of rounding taken back, biases as integers.

    Raises:
        ValueError: The subnet is not calibrated, or a norm of it cannot be folded.
    """
    if extracted.images is None:
        raise ValueError("the subnet is not calibrated, so its norms mean nothing; use `extract`")
    rewrites: tuple[Rewrite, ...] = (fold_norms, partial(corrected, extracted), round_biases)
    return reduce(lambda deployed, rewrite: rewrite(deployed), rewrites, extracted.deployed())
