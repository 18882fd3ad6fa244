"""Deployment: the network that a device runs, made from a subnet by extraction and rewrites."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial, reduce

import torch
from torch import Tensor, fx

from search_spaces.space import Genotype
from supernets.biases import corrected, round_biases
from supernets.deployed import Deployed, Rewrite
from supernets.extract import Extracted, extract
from supernets.fold import fold_norms
from supernets.inputs import Inputs, inputs_of, to_device
from supernets.supernet import Supernet


def deploy(extracted: Extracted) -> Deployed:
    """The network that a device runs: norms folded, biases corrected for rounding and quantized.

    Raises:
        ValueError: If the subnet is not calibrated, or one of its norms cannot be folded.
    """
    if extracted.batch is None:
        raise ValueError("the subnet is not calibrated, so its norms mean nothing; use `extract`")
    rewrites: tuple[Rewrite, ...] = (fold_norms, partial(corrected, extracted), round_biases)
    return reduce(lambda deployed, rewrite: rewrite(deployed), rewrites, extracted.deployed())


class Deployment:
    """A maker of deployed networks: a trained supernet with the data that calibrates its subnets.

    A call with a genotype returns the network that ships. Evaluator, exporter and yardsticks share
    the same `Deployment`, so that the network that ships is the network that was measured:
    statistics of norms are averages over batches, so even the batch size matters.

    Attributes:
        supernet: The trained weights on `device`; a copy if they were on another device.
        calibration: Batches of inputs, on `device`.
        device: The device on which subnets are extracted.

    Args:
        supernet: The trained weights; neither moved nor changed.
        calibration: Batches of inputs as `Supernet.forward` takes them; at least one.
        device: The device on which to extract subnets.

    Raises:
        ValueError: If there is no calibration batch.
    """

    def __init__(
        self,
        supernet: Supernet,
        calibration: Sequence[Inputs | Tensor],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        if not calibration:
            raise ValueError("a deployment needs inputs for calibration, given no batch of them")
        self.device = torch.device(device)
        self.supernet = on_device(supernet, self.device)
        named = (inputs_of(supernet.space.graph, batch) for batch in calibration)
        self.calibration = [to_device(batch, self.device) for batch in named]

    def __call__(self, genotype: Genotype) -> Deployed:
        """The deployed network of `genotype`."""
        return deploy(extract(self.supernet, genotype, self.calibration))

    def full_precision(self, genotype: Genotype) -> fx.GraphModule:
        """The calibrated network of `genotype` without any quantization, on `device`."""
        extracted = extract(self.supernet, genotype, self.calibration, quantize=False)
        return extracted.module.eval()


def on_device(supernet: Supernet, device: torch.device) -> Supernet:
    """`supernet` itself if its weights are on `device`, else a copy on `device`."""
    here = next(supernet.parameters()).device
    return supernet if here == device else copy.deepcopy(supernet).to(device)
