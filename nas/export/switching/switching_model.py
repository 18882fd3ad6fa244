"""Writing a switching network to one ONNX file, whose input `bits` asks for a mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from nas.export.containers import BASE_OPSET, Container, ExportError
from nas.export.onnx_model import declared, given_outputs, model_of, port_names
from nas.export.onnx_operators import Site, write
from nas.export.statement import stated
from nas.export.switching.functions import DOMAIN, functions
from nas.export.switching.shared import SharedBias, SharedWeight, Switching, Table
from nas.export.writer import Value, Writer
from nas.files.durable import write_atomic
from supernets.assemble import Slot

BITS = "bits"
"""The input that asks for a mode: an int64 scalar."""

_INT8 = Container(8, signed=True, opset=BASE_OPSET)


def export_switching(switching: Switching, path: str | Path) -> int:
    """Write a network with all its modes to an ONNX file; returns the size of the file in bytes.

    The file holds every weight once, as 8-bit integers of its highest bit-width, and for each mode
    only scales, biases and the grids of inputs. Besides the inputs of the network, it has the input
    `bits`, an int64 scalar: the number of the mode that runs. Any other number is an error of the
    runtime. All numbers are computed in float32, as `Switching.in_mode` computes them. The metadata
    are those of the first mode, and `bits`: all modes.

    Args:
        switching: The network.
        path: Where to; its folder must exist. The file appears whole or not at all.

    Raises:
        ExportError: For an operator that has no form in ONNX, or an input called `bits`.
        WriteError: If the file cannot be written; what stood there before still stands.
    """
    graph = switching.networks[0].graph
    names = port_names(graph)
    if BITS in names:
        raise ExportError(
            f"a network that switches gets an input {BITS!r}, and has an input or an output of "
            "this name already; rename it"
        )
    writer = Writer(reserved=names | {BITS})
    gives = given_outputs(writer, _Writing(switching, writer).network(), graph)
    model = model_of(
        writer,
        [*map(declared, graph.inputs.values()), _scalar(BITS)],
        gives,
        texts=stated(switching.networks[0]) | {BITS: ",".join(map(str, switching.modes))},
    )
    model.functions.extend(functions(model.opset_import[0].version))
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    content = model.SerializeToString(deterministic=True)
    write_atomic(path, content)
    return len(content)


def _scalar(name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, [])


@dataclass(eq=False)
class _Writing:
    """A file in the making; `place` is the tensor that holds the place of the running mode."""

    switching: Switching
    writer: Writer
    place: str = field(init=False)
    rounded: dict[tuple[Value, object], Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The place has no element if no mode is asked for, and then it is no scalar.
        asked = self.writer.node("Equal", self.writer.int64(*self.switching.modes), BITS)
        found = self.writer.node("NonZero", asked)
        self.place = self.writer.node("Reshape", found, self.writer.int64())

    def network(self) -> dict[str, Value]:
        """The tensors of all nodes by address, after all nodes are written."""
        first = self.switching.networks[0]
        shapes = first.graph.shapes()
        values = {address: Value(op.name) for address, op in first.graph.inputs.items()}
        for address, node in first.graph.nodes.items():
            if address in values:
                continue
            read = enumerate(values[read] for read in node.inputs)
            site = Site(
                self.writer,
                address,
                tuple(self.on_grid(value, (address, slot)) for slot, value in read),
                tuple(shapes[read] for read in node.inputs),
                (None,) * node.op.arity,
                first.parameters.get(address, {}),
                computed=self.computed(address),
            )
            values[address] = write(node.op, site)
        return values

    def on_grid(self, value: Value, slot: Slot) -> Value:
        """The input of an operator on the grid of the mode."""
        scales = self.switching.scales(slot)
        if not scales:
            return value
        key = (value, scales)
        if key not in self.rounded:
            grids = np.array([(scale.scale, *scale.bounds) for scale in scales], np.float32)
            read = (self.writer.plain(value), self.writer.once(grids), self.place)
            self.rounded[key] = Value(self._call("Rounded", *read))
        return self.rounded[key]

    def computed(self, address: str) -> Mapping[str, str]:
        """The weight and the bias of the mode, as tensors of the file."""
        weight = self.switching.weights.get(address)
        if weight is None:
            return {}
        bias = self.switching.biases[address]
        return {"weight": self._weight(weight), "bias": self._bias(bias)}

    def _weight(self, weight: SharedWeight) -> str:
        powers = np.array([2.0**-shift for shift in weight.shifts], np.float32)
        limits = np.array([quant.format.bounds[1] for quant in weight.quants], np.float32)
        column = self.writer.int64(-1, *(1,) * (weight.codes.ndim - 1))
        return self._call(
            "Weight",
            self.writer.codes(weight.codes, _INT8),
            self.writer.floats(weight.scale),
            *self._table(weight.ratios),
            *map(self.writer.once, (powers, limits)),
            column,
            self.place,
        )

    def _bias(self, bias: SharedBias) -> str:
        differences = self._table(bias.differences)
        return self._call("Bias", self.writer.floats(bias.first), *differences, self.place)

    def _table(self, table: Table) -> tuple[str, str]:
        """The codes of a table, and its step and least number."""
        ends = np.array([table.step, table.least], np.float32)
        return self.writer.uint16(table.codes), self.writer.floats(ends)

    def _call(self, function: str, *reads: str) -> str:
        return self.writer.node(function, *reads, domain=DOMAIN)
