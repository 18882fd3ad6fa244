"""The ONNX model of a tensor with all kernels around it, written by the exporter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import onnx

from nas.export.onnx_model import declared, model_of, tensor
from nas.export.onnx_network import write_network
from nas.export.stand_in import stand_in
from nas.export.writer import Value, Writer
from nas.profiling.kernel_models import (
    channels_last,
    cut,
    element_type,
    end_of,
    given_code,
    grids_of,
    has_channels_last,
    is_cut,
    read_code,
)
from nas.profiling.kernel_networks import declare_inputs, running
from nas.targets.saturation import EightBitWeights
from nas.targets.seams.seam import reading
from nas.targets.seams.space_seams import Reader, Tensor
from nas.targets.table.rows import folds
from search_spaces.graph import Graph, Node
from search_spaces.kernels import Kernel
from search_spaces.ops import Flatten, Op, Reshape
from supernets.deployed import Deployed

_INPUT = "input"


@dataclass(frozen=True)
class _End:
    """A result that leaves the model: its address, whether in codes, and its kernel."""

    address: str
    on_codes: bool
    kernel: Kernel
    last: bool = False  # whether it is an image of codes that lies with channels last


@dataclass
class _Placed:
    """The kernels around a tensor as one graph without norms, which are folded in any case."""

    graph: Graph = field(default_factory=Graph)
    # The inputs that kernels on integers read, and whether these have channels last.
    codes: dict[str, bool] = field(default_factory=dict[str, bool])
    ends: list[_End] = field(default_factory=list[_End])


def seam_model(
    around: Tensor, *, copies: int = 1, eight_bit_weights: EightBitWeights = "unsigned"
) -> bytes:
    """A serialized ONNX model that runs the kernels around a tensor, `copies` times side by side.

    Each kernel reads and writes what `kernel_model` makes it read and write alone, except for the
    tensor itself, which passes from its writer to its readers as in an exported network. A tensor
    without readers leaves the model in floats, as the output of a network does.

    Args:
        around: The tensor, with the kernel that writes it and the kernels that read it.
        copies: The number of copies in the model.
        eight_bit_weights: The form of 8-bit weights, as in `export_onnx`.
    """
    writer = Writer(eight_bit_weights)
    reads: dict[str, onnx.ValueInfoProto] = {}
    gives: list[onnx.ValueInfoProto] = []
    for copy in range(copies):
        placed = _placed(around, copy)
        writer.forget_readings()
        network = stand_in(placed.graph, seed=copy)
        grids = {name: s for name, s in grids_of(network).items() if name in placed.codes}
        inputs = network.graph.inputs
        for name, op in inputs.items():
            last = placed.codes.get(name, False)
            reads[name] = read_code(op, last=last) if name in grids else declared(op)
        given = {
            name: given_code(writer, op, grids[name], last=placed.codes[name])
            if name in grids
            else Value(name)
            for name, op in inputs.items()
        }
        gives += _written(network, writer, given, placed.ends)
    return model_of(writer, reads.values(), gives, texts={}).SerializeToString()


def leaving(around: Tensor) -> tuple[Kernel, ...]:
    """The kernels whose results leave the model of a tensor."""
    return tuple(reader.kernel for reader in around.readers) or (around.writer,)


def _written(
    network: Deployed, writer: Writer, given: Mapping[str, Value], ends: list[_End]
) -> Iterator[onnx.ValueInfoProto]:
    """Write a copy of the kernels; returns its outputs."""
    scales = {end.address: end_of(network.graph, end.address) for end in ends if end.on_codes}
    values = write_network(network, writer, given, ends=scales)
    for end in ends:
        value, shape = values[end.address], end.kernel.output
        name = writer.code(value, scales[end.address]) if end.on_codes else writer.plain(value)
        if is_cut(end.kernel):
            name, shape = cut(writer, name, shape)
        elif end.last:
            name, shape = channels_last(writer, name, shape)
        yield tensor(name, shape, element_type(quantized=end.on_codes))


def _placed(around: Tensor, copy: int) -> _Placed:
    placed, writer = _Placed(), around.writer
    if around.numerics is None:
        ops, reads = [replace(writer.op, name=_INPUT), *writer.fused], [_INPUT]
    else:
        ops = [running(op, writer, around.numerics) for op in writer.ops]
        reads = declare_inputs(placed.graph, _INPUT, writer)
        codes = reads if around.numerics.on_integers else ()
        placed.codes |= dict.fromkeys(codes, has_channels_last(writer))
    shared = _added(placed.graph, f"copy{copy}.writer", writer, ops, reads)
    for number, reader in enumerate(around.readers):
        kernel, numerics = reader.kernel, reader.numerics
        reads = declare_inputs(placed.graph, f"reader{number}_", kernel, but=reader.slot)
        codes = reads if numerics.on_integers else ()
        placed.codes |= dict.fromkeys(codes, has_channels_last(kernel))
        name = f"copy{copy}.reader{number}"
        reads.insert(reader.slot, _viewed(placed.graph, shared, name, reader))
        end = _added(placed.graph, name, kernel, _asking(reader), reads)
        placed.ends.append(_End(end, numerics.on_integers, kernel, _ends_last(around, reader)))
    if not around.readers:
        placed.ends.append(_End(shared, on_codes=False, kernel=writer))
    return placed


def _ends_last(around: Tensor, reader: Reader) -> bool:
    """Whether what a reader on integers gives is an image with channels last.

    So is what follows a convolution on integers, or a kernel whose own images lie so.
    """
    behind = around.numerics is not None and around.numerics.on_integers and is_cut(around.writer)
    image = len(reader.kernel.output) == 3
    return reader.numerics.on_integers and (has_channels_last(reader.kernel) or (behind and image))


def _viewed(graph: Graph, shared: str, name: str, reader: Reader) -> str:
    """The address of the tensor as `reader` sees it, perhaps in another shape."""
    shape = reader.kernel.inputs[reader.slot]
    if graph.shapes()[shared] == shape:
        return shared
    view = Flatten() if len(shape) == 1 else Reshape(shape)
    graph.append(f"{name}.view", Node(view, (shared,)))
    return f"{name}.view"


def _asking(reader: Reader) -> list[Op]:
    """The operators of a reader as they run, those that read the tensor in their own precision."""
    own = [*reading(reader.kernel, reader.slot)]
    return [
        _with_precision(made, op) if op in own else made
        for op in reader.kernel.ops
        for made in (running(op, reader.kernel, reader.numerics),)
    ]


def _with_precision(made: Op, op: Op) -> Op:
    """The operator `made` with the precision in which `op` asks for its inputs, if it asks."""
    held = {field.name for field in fields(op)}
    return replace(made, activation=op.activation) if "activation" in held else made


def _added(
    graph: Graph, prefix: str, kernel: Kernel, ops: Sequence[Op], reads: Sequence[str]
) -> str:
    """Append the operators of a kernel, all but norms that fold; returns the address of its result.

    An input of the network, which all copies share, is added once.
    """
    values = list(reads) if kernel.inputs else []
    for place, (op, slots) in enumerate(zip(ops, kernel.slots, strict=True)):
        if op.folds and folds(ops[slots[0] - len(kernel.inputs)], op):
            values.append(values[slots[0]])
            continue
        values.append(f"{prefix}.op{place}" if op.arity else reads[0])
        if values[-1] not in graph.nodes:
            graph.append(values[-1], Node(op, tuple(values[slot] for slot in slots)))
    return values[-1]
