"""Biases of a deployed network: correction of the error of rounded weights, then quantization.

Rounding a weight shifts the mean of every output channel, and a bias can undo this shift (Banner
et al. 2019; Nagel et al. 2019, section 4.2). Here the shift is measured on a batch, not derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from search_spaces.formats import Int
from supernets.assemble import module_name
from supernets.deployed import Deployed, values
from supernets.encoded import EncodedTensor, IntegerBias
from supernets.extract import Extracted
from supernets.fold import rounded_anew, without_norms
from supernets.inputs import Inputs, arguments, to_device

_INT32 = np.iinfo(np.int32)


def corrected(extracted: Extracted, deployed: Deployed) -> Deployed:
    """`deployed` with biases that restore the channel means of `extracted`.

    Only operators whose weight was put on another grid when a norm was folded are corrected.

    Args:
        extracted: The calibrated subnet from which `deployed` was made.
        deployed: The same network with its norms folded.
    """
    _, norms = without_norms(extracted.graph)
    rounded = {a: n for a, n in norms.items() if rounded_anew(deployed.parameters[a]["weight"])}
    if not rounded or extracted.batch is None:
        return deployed
    after = round_biases(deployed).module()
    axes = {address: deployed.graph.nodes[address].op.channel_axis for address in rounded}
    shifts = bias_shifts(extracted.module, after, rounded, extracted.batch, axes=axes)
    for address, shift in shifts.items():
        bias = values(deployed.parameters[address]["bias"]) + shift.numpy()
        deployed = deployed.changed(address, bias=bias)
    return deployed


def round_biases(deployed: Deployed) -> Deployed:
    """`deployed` with biases as integers times `input scale * weight scale`.

    A bias stays in float32 unless its operator multiplies integers by integers and has one scale
    per output channel, or a single one: sums over groups or over floats are float32 already.
    """
    for address in deployed.parameters:
        exact = _integer_bias(deployed, address)
        if exact is not None:
            deployed = deployed.changed(address, bias=exact)
    return deployed


def _integer_bias(deployed: Deployed, address: str) -> IntegerBias | None:
    held, read = deployed.parameters[address], deployed.inputs.get((address, 0))
    weight, bias = held.get("weight"), held.get("bias")
    if read is None or not isinstance(weight, EncodedTensor) or not isinstance(bias, np.ndarray):
        return None
    integers = all(isinstance(quant.format, Int) for quant in (read.quant, weight.quant))
    if not integers or weight.scale.size not in (1, len(bias)):
        return None
    scale = np.broadcast_to(np.float32(read.scale) * weight.scale.reshape(-1), bias.shape)
    codes = np.rint(bias.astype(np.float64) / scale).clip(_INT32.min, _INT32.max)
    return IntegerBias(codes.astype(np.int32), scale.astype(np.float32))


def bias_shifts(
    before: nn.Module,
    after: fx.GraphModule,
    pairs: Mapping[str, str],
    inputs: Inputs,
    *,
    axes: Mapping[str, int],
) -> dict[str, Tensor]:
    """The numbers to add to biases of `after`, so that channels have the same means as in `before`.

    Layers are corrected in execution order; each layer reads the outputs of the layers that are
    already corrected.

    Args:
        before: The network as it should be.
        after: The network to correct; not changed.
        pairs: Address of a convolution in `after` -> address of the same output in `before`.
        inputs: A batch, on the device of `before`.
        axes: Address of a convolution in `after` -> the axis of its channels, without the batch.

    Returns:
        The numbers, `(channels,)`, by address in `after`.
    """
    with torch.no_grad():
        means = _means(before, {there: axes[here] for here, there in pairs.items()}, inputs)
        wanted = {
            module_name(here): _Mean(axes[here], means[there].cpu())
            for here, there in pairs.items()
        }
        correction = _Correction(after, wanted)
        correction.run(*arguments(after, to_device(inputs, "cpu")))
    return {address: correction.shifts[module_name(address)] for address in pairs}


@dataclass(frozen=True, eq=False)
class _Mean:
    """The means that channels should have; `axis` is the axis of the channels without the batch."""

    axis: int
    means: Tensor


def _channel_means(output: Tensor, axis: int) -> Tensor:
    """The mean of every channel of a batch; `axis` is the axis of channels without the batch."""
    channels = 1 + axis % (output.dim() - 1)
    return output.mean(tuple(other for other in range(output.dim()) if other != channels))


def _means(module: nn.Module, axes: Mapping[str, int], inputs: Inputs) -> dict[str, Tensor]:
    """The mean of every channel of the layers at the addresses of `axes`."""
    found: dict[str, Tensor] = {}

    def keep(address: str, output: Any) -> None:
        found[address] = _channel_means(output, axes[address])

    handles = [
        module.get_submodule(module_name(address)).register_forward_hook(
            lambda _layer, _read, output, address=address: keep(address, output)
        )
        for address in axes
    ]
    module(**inputs)
    for handle in handles:
        handle.remove()
    return found


class _Correction(fx.Interpreter):
    """An interpreter that shifts the outputs of layers to wanted channel means as the module runs.

    Attributes:
        shifts: The shift of each layer, `(channels,)`, by the name of the layer.
    """

    def __init__(self, module: fx.GraphModule, wanted: Mapping[str, _Mean]) -> None:
        super().__init__(module)
        self._wanted = wanted
        self.shifts: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        output, name = super().run_node(n), str(n.target)
        if name not in self._wanted or not isinstance(output, Tensor):
            return output
        wanted = self._wanted[name]
        self.shifts[name] = wanted.means - _channel_means(output, wanted.axis)
        behind = output.dim() - 2 - wanted.axis % (output.dim() - 1)
        return output + self.shifts[name].reshape(-1, *(1,) * behind)
