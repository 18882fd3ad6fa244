"""Export to an ONNX file that stores every tensor at the true bit-width of its policy."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from nas.export.containers import BASE_OPSET, ExportError
from nas.export.onnx_network import write_network
from nas.export.statement import METADATA_PREFIX, stated
from nas.export.writer import Value, Writer
from nas.files.durable import write_atomic
from nas.targets.saturation import EightBitWeights
from search_spaces.graph import Graph
from search_spaces.ops import Input, Shape
from supernets.deployed import Deployed


@dataclass(frozen=True)
class OnnxReport:
    """A report on a written ONNX file.

    `nodes` is the number of nodes by type; `containers` is the ONNX type of every quantized weight,
    by address.
    """

    path: Path
    file_bytes: int
    sha256: str
    opset: int
    nodes: Mapping[str, int]
    containers: Mapping[str, str]


def export_onnx(
    deployed: Deployed, path: str | Path, *, eight_bit_weights: EightBitWeights = "unsigned"
) -> OnnxReport:
    """Write `deployed` to an ONNX file and return a report; equal networks give equal bytes.

    The inputs of the file have the names, shapes and types of the network's `Input` operators, with
    a batch of any length. The output is called `output`; several have the names that the network
    gives them. Operators with a precision bear their address as node name.

    Args:
        deployed: The network, norms folded, weights as integer codes. Its metadata are stored under
            `elastic_nas.` and the key; the policy is added as `elastic_nas.policy`.
        path: Where to; its folder must exist. The file appears whole or not at all.
        eight_bit_weights: How 8-bit weights meet quantized inputs: `unsigned` computes the same on
            every processor, `signed` is up to 2.6 times faster and right only where sums of 8-bit
            products are not cut off, as by x86-64 processors without VNNI.

    Raises:
        ExportError: For an operator or a tensor that has no form in ONNX, or an output that has the
            name of an input.
        WriteError: If the file cannot be written; what stood there before still stands.
    """
    inputs = deployed.graph.inputs
    writer = Writer(eight_bit_weights, reserved=port_names(deployed.graph))
    given = {address: Value(op.name) for address, op in inputs.items()}
    gives = given_outputs(writer, write_network(deployed, writer, given), deployed.graph)
    reads = [declared(op) for op in inputs.values()]
    model = model_of(writer, reads, gives, texts=stated(deployed))
    content = model.SerializeToString(deterministic=True)
    write_atomic(path, content)
    return OnnxReport(
        Path(path),
        len(content),
        hashlib.sha256(content).hexdigest(),
        model.opset_import[0].version,
        dict(Counter(node.op_type for node in writer.nodes)),
        {address: container.name for address, container in writer.containers.items()},
    )


def port_names(graph: Graph) -> frozenset[str]:
    """The names of all inputs and outputs; raises `ExportError` if some are equal."""
    names = [*(op.name for op in graph.inputs.values()), *graph.results]
    if len({*names}) < len(names):
        raise ExportError(
            f"the inputs and outputs of the network are called {', '.join(names)}, and a file "
            "knows each tensor by its own name; rename inputs or outputs"
        )
    return frozenset(names)


def given_outputs(
    writer: Writer, values: Mapping[str, Value], graph: Graph
) -> list[onnx.ValueInfoProto]:
    """The outputs of a file, whose tensors get their names; `values` are the tensors by address.

    A tensor that cannot have the name, such as an input or a tensor of another output, is copied.
    """
    results, shapes = graph.results, graph.shapes()
    written = {name: writer.plain(values[address]) for name, address in results.items()}
    computed = {name for node in writer.nodes for name in node.output}
    named: dict[str, str] = {}
    for name, found in written.items():
        if found in named or found not in computed:
            writer.rename(writer.node("Identity", named.get(found, found)), name)
        else:
            writer.rename(found, name)
            named[found] = name
    return [tensor(name, shapes[address]) for name, address in results.items()]


def declared(op: Input, kind: int | None = None) -> onnx.ValueInfoProto:
    """The declaration of an input of the network; `kind` is another type than that of the input."""
    own = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(op.dtype))
    return tensor(op.name, op.shape, own if kind is None else kind)


def tensor(name: str, shape: Shape, kind: int = onnx.TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """The declaration of an input or output of a model; its first axis is a batch of any length."""
    return onnx.helper.make_tensor_value_info(name, kind, ["batch", *shape])


def model_of(
    writer: Writer,
    reads: Iterable[onnx.ValueInfoProto],
    gives: Iterable[onnx.ValueInfoProto],
    *,
    texts: Mapping[str, str],
) -> onnx.ModelProto:
    """The model with the nodes and initializers of `writer`, at the lowest sufficient opset.

    Args:
        writer: The nodes and initializers.
        reads: The inputs of the model.
        gives: The outputs of the model.
        texts: The metadata, by keys without the engine's prefix.
    """
    held = [*writer.initializers, *writer.shared.values()]
    body = onnx.helper.make_graph(writer.nodes, "elastic_nas", [*reads], [*gives], held)
    opset = max([BASE_OPSET, *(c.opset for c in writer.containers.values())])
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(body, opset_imports=imports, producer_name="elastic-nas")
    model.ir_version = onnx.helper.find_min_ir_version_for(imports)
    for key, text in texts.items():
        model.metadata_props.add(key=METADATA_PREFIX + key, value=text)
    return model
