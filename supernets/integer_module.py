"""A deployed network as a torch module that stores integer codes, as a device does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, fx, nn

from search_spaces.ops import Op
from supernets.assemble import Step, assemble, steps_of
from supernets.deployed import Deployed, Stored
from supernets.elastic import compute
from supernets.encoded import EncodedTensor, IntegerBias


def integer_module(deployed: Deployed) -> fx.GraphModule:
    """A module that computes the same as `deployed.module()`, bit for bit, from integer codes.

    Operators with quantized parameters are layers of the class `OfCodes`. All other layers, and all
    names, are those of `deployed.module()`. The module is for inference.
    """

    def layer(step: Step) -> nn.Module | None:
        held = deployed.parameters.get(step.address, {})
        if any(isinstance(stored, EncodedTensor) for stored in held.values()):
            return OfCodes(step.op, held)
        return deployed.stock_layer(step)

    return assemble(steps_of(deployed.graph), layer, deployed.inputs).eval()


class OfCodes(nn.Module):
    """A layer that computes an operator from its parameters as a device stores them.

    A parameter `NAME` is the buffer `NAME`. The buffer of a quantized parameter holds integer
    codes: `int8` for symmetric weights, `uint8` for asymmetric weights, `int32` for biases. Beside
    the codes are the buffers `NAME_scale` and, for asymmetric codes, `NAME_zero_point`, both
    float32 and in a shape that broadcasts over the codes.

    Args:
        op: The resolved operator.
        parameters: The parameters of the operator, by name.
    """

    def __init__(self, op: Op, parameters: Mapping[str, Stored]) -> None:
        super().__init__()
        self.op = op
        self.names = tuple(parameters)
        for name, stored in parameters.items():
            self._hold(name, stored)

    def _hold(self, name: str, stored: Stored) -> None:
        match stored:
            case EncodedTensor():
                column = (-1, *(1,) * (stored.codes.ndim - 1))
                self._buffer(name, stored.stored)
                self._buffer(f"{name}_scale", stored.scale.reshape(column))
                if not stored.quant.symmetric:
                    zero = stored.zero_point.reshape(column).astype(np.float32)
                    self._buffer(f"{name}_zero_point", zero)
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
        if f"{name}_zero_point" in held:
            steps = steps - held[f"{name}_zero_point"]
        return steps * held[f"{name}_scale"] if f"{name}_scale" in held else steps

    def forward(self, *x: Tensor) -> Tensor:
        """The output of the operator for inputs `x`, whose first axis is the batch."""
        return compute(self.op, {name: self._value(name) for name in self.names}, *x)
