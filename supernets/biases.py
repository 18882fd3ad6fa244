"""Biases of a deployed network: corrected for what rounding did, and put on the integers' grid.

Rounding a weight shifts the mean of every channel, which a bias can undo: Banner et al. 2019 and
Nagel et al. 2019, section 4.2, measured on images instead of derived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from supernets.assemble import module_name
from supernets.deployed import Deployed, values
from supernets.extract import Extracted
from supernets.fold import rounded_anew, without_norms
from supernets.integers import IntegerBias, IntegerTensor

_IMAGE_AXES = (0, 2, 3)
_INT32 = np.iinfo(np.int32)


def corrected(extracted: Extracted, deployed: Deployed) -> Deployed:
    """`deployed` with the means of `extracted` wherever folding put a weight on another grid.

    Args:
        extracted: The calibrated subnet that `deployed` was made from.
        deployed: The same with its norms folded.
    """
    _, norms = without_norms(extracted.graph)
    rounded = {a: n for a, n in norms.items() if rounded_anew(deployed.parameters[a]["weight"])}
    if not rounded or extracted.images is None:
        return deployed
    after = round_biases(deployed).module()
    shifts = bias_shifts(extracted.module, after, rounded, extracted.images)
    for address, shift in shifts.items():
        bias = values(deployed.parameters[address]["bias"]) + shift.numpy()
        deployed = deployed.changed(address, bias=bias)
    return deployed


def round_biases(deployed: Deployed) -> Deployed:
    """`deployed` with biases on the grid `input scale x weight scale`, where both are quantized."""
    for address in deployed.parameters:
        exact = _integer_bias(deployed, address)
        if exact is not None:
            deployed = deployed.changed(address, bias=exact)
    return deployed


def _integer_bias(deployed: Deployed, address: str) -> IntegerBias | None:
    held, read = deployed.parameters[address], deployed.inputs.get((address, 0))
    weight, bias = held.get("weight"), held.get("bias")
    if read is None or not isinstance(weight, IntegerTensor) or not isinstance(bias, np.ndarray):
        return None
    scale = np.broadcast_to(np.float32(read.scale) * weight.scale, bias.shape)
    codes = np.rint(bias.astype(np.float64) / scale).clip(_INT32.min, _INT32.max)
    return IntegerBias(codes.astype(np.int32), scale.astype(np.float32))


def bias_shifts(
    before: nn.Module, after: fx.GraphModule, pairs: Mapping[str, str], images: Tensor
) -> dict[str, Tensor]:
    """What to add to biases in `after` for channels to have the means that they have in `before`.

    Layers are corrected in the order in which they run, each on what the corrected ones before it
    hand on.

    Args:
        before: The network as it should be.
        after: The network to correct; not changed.
        pairs: Address of a convolution in `after` -> address of the same output in `before`.
        images: `(batch, channels, height, width)`.
    """
    with torch.no_grad():
        means = _channel_means(before, pairs.values(), images)
        wanted = {module_name(here): means[there].cpu() for here, there in pairs.items()}
        correction = _Correction(after, wanted)
        correction.run(images.cpu())
    return {address: correction.shifts[module_name(address)] for address in pairs}


def _channel_means(
    module: nn.Module, addresses: Iterable[str], images: Tensor
) -> dict[str, Tensor]:
    """The mean of every channel of the layers at `addresses`."""
    means: dict[str, Tensor] = {}

    def keep(address: str, output: Any) -> None:
        means[address] = output.mean(_IMAGE_AXES)

    handles = [
        module.get_submodule(module_name(address)).register_forward_hook(
            lambda _layer, _read, output, address=address: keep(address, output)
        )
        for address in addresses
    ]
    module(images)
    for handle in handles:
        handle.remove()
    return means


class _Correction(fx.Interpreter):
    """Runs a module, shifting the output of every layer in `wanted` to the means given there."""

    def __init__(self, module: fx.GraphModule, wanted: Mapping[str, Tensor]) -> None:
        super().__init__(module)
        self._wanted = wanted
        self.shifts: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        output, name = super().run_node(n), str(n.target)
        if name not in self._wanted or not isinstance(output, Tensor):
            return output
        self.shifts[name] = self._wanted[name] - output.mean(_IMAGE_AXES)
        return output + self.shifts[name].reshape(-1, 1, 1)
