"""A deployed network as an ONNX file that holds every tensor at its policy's true bit-width."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from nas.durable import write_atomic
from nas.export.containers import ExportError
from nas.export.onnx_operators import Site, is_clamp, write
from nas.export.writer import Value, Writer
from nas.saturation import EightBitWeights
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.deployed import Deployed

INPUT, OUTPUT = "image", "logits"
METADATA_PREFIX = "elastic_nas."
BASE_OPSET = 21


@dataclass(frozen=True)
class OnnxReport:
    """What was written.

    `nodes` counts the nodes by type, `containers` names the ONNX type of every quantized weight by
    address.
    """

    path: Path
    file_bytes: int
    sha256: str
    opset: int
    nodes: Mapping[str, int]
    containers: Mapping[str, str]


def export_onnx(
    deployed: Deployed,
    path: str | Path,
    *,
    metadata: Mapping[str, str],
    source_size: int | None = None,
    eight_bit_weights: EightBitWeights = "unsigned",
) -> OnnxReport:
    """Write `deployed` to `path` and say what was written; equal input gives equal bytes.

    The file reads `image` `(batch, channels, height, width)`, float32 and normalised, and gives
    `logits` `(batch, classes)`. Operators with a precision bear their address as node name.

    Args:
        deployed: The network, norms folded, weights as integer codes.
        path: Where to; its folder must exist. The file appears whole or not at all.
        metadata: Stored under `elastic_nas.` and the key: `genotype`, `space`, `version` and the
            like. The policy is added as `elastic_nas.policy`.
        source_size: Height and width of the images that will be fed, where they differ from what
            the network reads; the file then resizes them itself.
        eight_bit_weights: How 8-bit weights meet quantized inputs: `unsigned` computes the same on
            every processor, `signed` is up to 2.6 times faster and right only where sums of 8-bit
            products are not cut off, as by x86-64 processors without VNNI.

    Raises:
        ExportError: For an operator or a tensor that has no form in ONNX.
        WriteError: If the file cannot be written; what stood there before still stands.
    """
    writer = Writer(eight_bit_weights)
    output = _write_nodes(deployed, writer, source_size)
    model = model_of(writer, deployed.graph, output, metadata=metadata, source_size=source_size)
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


def _write_nodes(deployed: Deployed, writer: Writer, source_size: int | None) -> str:
    graph = deployed.graph
    shapes = graph.shapes()
    on_one_grid = _on_one_grid(deployed)
    rounded = on_one_grid | _clamped_onto(deployed.graph, on_one_grid)
    values = {"input": Value(_resized(graph, writer, source_size))}
    for address, node in graph.nodes.items():
        if not node.inputs:
            continue
        site = Site(
            writer,
            address,
            tuple(values[read] for read in node.inputs),
            tuple(shapes[read] for read in node.inputs),
            tuple(deployed.inputs.get((address, slot)) for slot in range(node.op.arity)),
            deployed.parameters.get(address, {}),
            one_grid=address in on_one_grid,
            rounded=address in rounded,
        )
        values[address] = write(node.op, site)
    return writer.plain(values[graph.output])


def _resized(graph: Graph, writer: Writer, source_size: int | None) -> str:
    size = graph.shapes()["input"][1]
    if source_size is None or source_size == size:
        return INPUT
    # Half-pixel bilinear: torch's interpolate with align_corners=False.
    target = writer.int64(size, size)
    return writer.node("Resize", INPUT, "", "", target, axes=[2, 3], mode="linear")


def _on_one_grid(deployed: Deployed) -> set[str]:
    """The addresses that are read, and everywhere on one and the same grid, also past views."""
    grids: dict[str, set[object]] = {}
    for address, node in reversed(deployed.graph.nodes.items()):
        passed = grids.get(address, {None}) if node.op.is_view else set[object]()
        for slot, read in enumerate(node.inputs):
            here = passed or {deployed.inputs.get((address, slot))}
            grids.setdefault(read, set()).update(here)
    return {read for read, found in grids.items() if len(found) == 1 and None not in found}


def _clamped_onto(graph: Graph, on_one_grid: set[str]) -> set[str]:
    """The addresses that only a clamp reads, whose own readers put it on one grid."""
    readers = graph.consumers()
    clamps = ((a, node.inputs) for a, node in graph.nodes.items() if is_clamp(node.op))
    return {read for a, (read,) in clamps if a in on_one_grid and len(readers[read]) == 1}


def model_of(
    writer: Writer,
    graph: Graph,
    output: str,
    *,
    metadata: Mapping[str, str],
    source_size: int | None = None,
) -> onnx.ModelProto:
    """The model around what `writer` holds, at the lowest opset that can say it."""
    for node in writer.nodes:
        for index, name in enumerate(node.output):
            node.output[index] = OUTPUT if name == output else name
    shapes = graph.shapes()
    channels, size, _ = shapes["input"]
    fed = size if source_size is None else source_size
    body = onnx.helper.make_graph(
        writer.nodes,
        "elastic_nas",
        [_info(INPUT, (channels, fed, fed))],
        [_info(OUTPUT, shapes[graph.output])],
        [*writer.initializers, *writer.shared.values()],
    )
    opset = max([BASE_OPSET, *(c.opset for c in writer.containers.values())])
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(body, opset_imports=imports, producer_name="elastic-nas")
    model.ir_version = onnx.helper.find_min_ir_version_for(imports)
    _add_metadata(model, {**metadata, "policy": policy_json(graph)})
    return model


def _info(name: str, shape: Iterable[int]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])


def _add_metadata(model: onnx.ModelProto, entries: Mapping[str, str]) -> None:
    for key in sorted(entries):
        if not isinstance(entries[key], str):
            raise ExportError(f"metadata {key!r} must be a string, given {entries[key]!r}")
        model.metadata_props.add(key=METADATA_PREFIX + key, value=entries[key])


def policy_json(graph: Graph) -> str:
    """The precision of every operator that has one, as JSON.

    Address -> `weight` and `activation` -> bits, what shares a scale, whether symmetric; full
    precision is left out.
    """
    entries: dict[str, dict[str, list[object]]] = {}
    for address, node in graph.nodes.items():
        precisions = {"weight": node.op.weight, "activation": node.op.activation}
        stated = {name: _stated(quant) for name, quant in precisions.items() if quant is not None}
        if stated:
            entries[address] = stated
    return json.dumps(entries, separators=(",", ":"))


def _stated(quant: Quant) -> list[object]:
    shared = "channel" if quant.per_channel else "tensor"
    return [quant.bits, shared, quant.symmetric]
