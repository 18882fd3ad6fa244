"""A deployed network as a torch module that stores integer codes, as a device does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, fx, nn

from search_spaces.formats import Int
from search_spaces.ops import Op, Shape
from supernets.assemble import Step, assemble, steps_of
from supernets.deployed import Deployed, Stored
from supernets.elastic import compute
from supernets.encoded import EncodedTensor, IntegerBias
from supernets.rounding import TYPES


def integer_module(deployed: Deployed) -> fx.GraphModule:
    """A module that computes the same as `deployed.module()`, bit for bit, from integer codes.

    A network with several outputs gives a tuple of them.

    Operators with quantized parameters are layers of the class `OfCodes`. All other layers, and all
    names, are those of `deployed.module()`. The module is for inference.
    """

    def layer(step: Step) -> nn.Module | None:
        held = deployed.parameters.get(step.address, {})
        if any(isinstance(stored, EncodedTensor) for stored in held.values()):
            return OfCodes(step.op, held)
        return deployed.stock_layer(step)

    return assemble(steps_of(deployed.graph), layer, deployed.inputs, apart=True).eval()


class OfCodes(nn.Module):
    """A layer that computes an operator from its parameters as a device stores them.

    A parameter `NAME` is the buffer `NAME`. The buffer of a quantized parameter holds codes: `int8`
    for symmetric integers, `uint8` for asymmetric integers and for small floats, `int32` for
    biases. Beside the codes are the buffers `NAME_scale` and, for asymmetric integers,
    `NAME_zero_point`, both float32 and in a shape that broadcasts over the codes, whose axes are
    cut into groups where scales are per group. Small floats have a further buffer `NAME_numbers`,
    the number of each code. Floats of 16 bits are held as they are, in the type of torch.

    Args:
        op: The resolved operator.
        parameters: The parameters of the operator, by name.
    """

    def __init__(self, op: Op, parameters: Mapping[str, Stored]) -> None:
        super().__init__()
        self.op = op
        self.names = tuple(parameters)
        self._cut: dict[str, Shape] = {}
        for name, stored in parameters.items():
            self._hold(name, stored)

    def _hold(self, name: str, stored: Stored) -> None:
        match stored:
            case EncodedTensor() if stored.quant.format in TYPES:
                values = torch.from_numpy(stored.values())
                self.register_buffer(name, values.to(TYPES[stored.quant.format]))
            case EncodedTensor():
                cut, over = stored.quant.granularity.split(stored.codes.shape)
                if cut != stored.codes.shape:
                    self._cut[name] = cut
                self._buffer(name, stored.stored)
                self._buffer(f"{name}_scale", stored.scale.reshape(over))
                if not stored.quant.format.symmetric:
                    zero = stored.zero_point.reshape(over).astype(np.float32)
                    self._buffer(f"{name}_zero_point", zero)
                if not isinstance(stored.quant.format, Int):
                    every = np.arange(2**stored.quant.bits)
                    self._buffer(f"{name}_numbers", stored.quant.format.decode(every))
            case IntegerBias():
                self._buffer(name, stored.codes)
                self._buffer(f"{name}_scale", stored.scale)
            case _:
                self._buffer(name, stored)

    def _buffer(self, name: str, values: np.ndarray) -> None:
        self.register_buffer(name, torch.tensor(values))

    def _value(self, name: str) -> Tensor:
        """The values of a parameter in float32: `scale * (codes - zero point)`."""
        held = dict(self.named_buffers())
        steps = held[name]
        if steps.is_floating_point():
            return steps.float()
        if f"{name}_numbers" in held:
            steps = held[f"{name}_numbers"][steps.int()]
        shape, cut = steps.shape, self._cut.get(name)
        steps = steps if cut is None else steps.reshape(cut)
        if f"{name}_zero_point" in held:
            steps = steps - held[f"{name}_zero_point"]
        steps = steps * held[f"{name}_scale"] if f"{name}_scale" in held else steps
        return steps if cut is None else steps.reshape(shape)

    def forward(self, *x: Tensor) -> Tensor:
        """The output of the operator for inputs `x`, whose first axis is the batch."""
        return compute(self.op, {name: self._value(name) for name in self.names}, *x)
