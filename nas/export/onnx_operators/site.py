"""The place where a node is written, and the dispatched function that writes its operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

from nas.export.containers import ExportError
from nas.export.writer import Value, Writer
from search_spaces.ops import Op, Shape
from supernets.deployed import Stored, values
from supernets.encoded import ActivationScale


@dataclass(frozen=True)
class Site:
    """The surroundings of a node that is being written: its inputs, parameters and readers.

    Attributes:
        writer: The writer of the file.
        address: The address of the node.
        inputs: The tensors that the node reads.
        shapes: The shapes of the inputs, without the batch.
        scales: The quantization of each input; None for an input in floats.
        parameters: The parameters of the node by name.
        one_grid: Whether all readers quantize the result with the same scale. If so, a clamp needs
            no node of its own, because the quantization can clamp the codes. Example: a ReLU whose
            only reader is a convolution with a quantized input.
        rounded: Whether all readers quantize the result with the same scale, directly or behind a
            clamp. If so, a convolution with quantized input and weight is written as an integer
            kernel, whose result is integer codes. If not, some reader needs floats, and the
            convolution is written with its weight in floats.
        computed: The parameters that other nodes of the file compute, by name: tensors in floats.
    """

    writer: Writer
    address: str
    inputs: tuple[Value, ...]
    shapes: tuple[Shape, ...]
    scales: tuple[ActivationScale | None, ...]
    parameters: Mapping[str, Stored] = field(default_factory=dict)
    one_grid: bool = False
    rounded: bool = True
    computed: Mapping[str, str] = field(default_factory=dict)

    def read(self, slot: int = 0) -> str:
        """The input at `slot`, quantized if its precision says so."""
        scale, value = self.scales[slot], self.inputs[slot]
        if scale is not None:
            return self.writer.quantized(value, scale)
        return self.writer.plain(value)

    def operands(self) -> tuple[str, ...]:
        """All inputs, for a node that repeats a tensor of a single sample for the batch itself."""
        several = any(value.samples is None for value in self.inputs)
        pairs = zip(self.inputs, self.scales, strict=True)
        values = [replace(v, samples=None) if several and s is None else v for v, s in pairs]
        site = replace(self, inputs=tuple(values))
        return tuple(map(site.read, range(len(values))))

    @property
    def on_grid(self) -> bool:
        """Whether the numbers of the first input come from a DequantizeLinear node."""
        scale = self.scales[0]
        return self.inputs[0].on_grid if scale is None else scale.quant.format.scaled

    def floats(self, name: str) -> str:
        """A parameter as a float32 initializer."""
        return self.writer.floats(values(self.parameters[name]))

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> Value:
        """Write an ONNX node whose name is the address; returns its output."""
        return Value(self.writer.node(op_type, *inputs, name=self.address, **attributes))


@singledispatch
def write(op: Op, site: Site) -> Value:
    """Append the nodes of `op` to the file; returns the result.

    Raises:
        ExportError: If the operator has no case.
    """
    raise ExportError(
        f"{type(op).__name__} at {site.address!r} has no case of nas.export.onnx_operators.write; "
        "register one"
    )


def is_writable(op: Op) -> bool:
    """Whether `write` has a case for an operator."""
    return write.dispatch(type(op)) is not write.dispatch(object)
