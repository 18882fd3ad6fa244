"""The form `openvino`: the ONNX file as OpenVINO's intermediate representation, in a folder."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import onnx
from onnx import numpy_helper

from nas.export.containers import BASE_OPSET, ExportError
from nas.export.form import (
    Held,
    HeldPrecision,
    Opened,
    Output,
    Requirement,
    integer_container,
    joined,
    require_integers,
)
from nas.export.onnx_model import export_onnx
from nas.export.rehearsal import rehearsed_bytes
from nas.export.statement import METADATA_PREFIX
from nas.export.stored_bits import bits_for, grid_between
from nas.files.durable import require_parent, write_folder_atomic
from nas.targets.saturation import EightBitWeights, adds_pairs, pair_fits
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.deployed import Deployed
from supernets.inputs import Inputs

MODEL, WEIGHTS = "model.xml", "model.bin"
_WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")
_LOOKUP = "Gather"  # one without an address looks up the scales of entries
_NARROW: dict[int, type[np.integer]] = {
    **dict.fromkeys((onnx.TensorProto.INT2, onnx.TensorProto.INT4), np.int8),
    **dict.fromkeys((onnx.TensorProto.UINT2, onnx.TensorProto.UINT4), np.uint8),
}
_MOVED = ("Convert", "Reshape", "Transpose")
_ON_CODES = (*_MOVED, "Clamp", "Maximum", "Minimum")
_BEHIND_CODES = ("Reshape", "Multiply", "Subtract", "Convert")
_CONTAINERS = {"i8": "INT8", "u8": "UINT8"}
_SECTION = "elastic_nas"
_DYNAMIC_QUANTIZATION = ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]
_CLAMPS, _SCALING, _LOWEST = ("Relu", "Clip"), "Sub", "lowest"


class OpenVinoForm:
    """The form `openvino`: `model.xml` and `model.bin` for `openvino.Core().read_model`."""

    name = "openvino"
    suffix = ".openvino"
    shares_quantizers = True

    def require(self) -> None:
        """Raise `ExportError` unless the package openvino is installed."""
        Requirement("openvino", "openvino").check(self.name)

    def suited(self, eight_bit_weights: EightBitWeights) -> OpenVinoForm:
        """The form itself, since the file has one form of 8-bit weights."""
        return self

    def write(self, deployed: Deployed, path: Path) -> None:
        """Write a folder of two files."""
        require_integers(deployed, self.name)
        self.require()
        require_parent(path)
        openvino = _openvino()
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "subnet.onnx"
            export_onnx(deployed, file, eight_bit_weights="signed")
            onnx.save(_kept_apart(_in_8_bits(onnx.load(file))), file)
            model = openvino.convert_model(file)
            _keep_roundings(model)
            # Else OpenVINO rounds what a Linear of at least 32 features reads to 8 bits of its own.
            model.set_rt_info(0, _DYNAMIC_QUANTIZATION)
            for entry in onnx.load(file).metadata_props:
                key = entry.key.removeprefix(METADATA_PREFIX)
                model.set_rt_info(entry.value, [_SECTION, key])
            openvino.save_model(model, Path(place) / MODEL, compress_to_fp16=False)
            contents = {name: (Path(place) / name).read_bytes() for name in (MODEL, WEIGHTS)}
        write_folder_atomic(path, contents)

    def open(self, path: Path, graph: Graph, *, threads: int = 1) -> Opened:
        """The network at `path` in OpenVINO, on the CPU, with integer and float32 kernels."""
        self.require()
        openvino = _openvino()
        core = openvino.Core()
        options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        try:
            model = core.read_model(path / MODEL, path / WEIGHTS)
            compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise ExportError(f"OpenVINO cannot read {path}: {error}; export it again") from error

        def run(inputs: Inputs) -> Output:
            found = compiled({name: held.numpy() for name, held in inputs.items()})
            return joined([*found.values()])

        operators = model.get_ordered_ops()
        nodes = Counter(op.get_type_name() for op in operators)
        named = {op.get_friendly_name(): op for op in operators}
        # The last operator is called after the output if no addition of a bias follows.
        for name, address in graph.results.items():
            named.setdefault(address, named.get(name))
        # A convolution and the addition of its bias have one address, which the addition bears.
        found = {a: named.get(f"{a}/WithoutBiases", named.get(a)) for a in graph.nodes}
        policy = {address: _precision(op) for address, op in found.items() if op is not None}
        stated = model.get_rt_info([_SECTION]).astype(dict) if model.has_rt_info([_SECTION]) else {}
        return Opened(
            run,
            policy,
            {key: value.astype(str) for key, value in stated.items()},
            dict(nodes),
            sum(map(_has_weight, operators))
            + sum(op is not None and op.get_type_name() == _LOOKUP for op in found.values()),
            nodes["FakeQuantize"],
            tuple(address for address, op in found.items() if op is not None and _saturates(op)),
        )

    def container(self, quant: Quant) -> str:
        """The 8-bit type, in which the form stores weights of all precisions."""
        return integer_container(quant)

    def foretold_bytes(self, stand_in: Deployed) -> float:
        """The size in bytes of an export of `stand_in`."""
        return rehearsed_bytes(self, stand_in)


OPENVINO = OpenVinoForm()


def _openvino() -> ModuleType:
    """The package openvino, imported without openvino_telemetry, which would send usage data."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", cast("Any", None))  # cannot be imported
    return importlib.import_module("openvino")


def _saturates(op: Any) -> bool:
    """Whether pairs of products that OpenVINO adds up for `op` may not fit in 16 bits."""
    held = _precision(op)
    if held.weight is None or held.activations[0] is None or not held.weight.symmetric:
        return False
    groups, channels = 1, 2
    if op.get_type_name() == "GroupConvolution":  # weight (groups, out, in, height, width)
        groups, _, channels, *_ = op.input_value(1).get_shape()
    return adds_pairs(channels, groups=groups) and not pair_fits(2 ** (held.weight.bits - 1) - 1)


def _in_8_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store all weights of a file in 8 bits: OpenVINO (2026.4) reads no 2, widens some of 4."""
    for tensor in model.graph.initializer:
        narrow = _NARROW.get(tensor.data_type)
        if narrow is not None:
            values = numpy_helper.to_array(tensor).astype(narrow)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    model.opset_import[0].version = BASE_OPSET
    return model


def _kept_apart(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put a maximum that changes no number between operators that would become one.

    OpenVINO (2026.4) merges a clamp into the rounding behind the clamp, and a scaling of answers
    into the operator before the scaling. No operator of the file then has the precision of the
    clamp, or the address of the operator before.
    """
    nodes, lowest = model.graph.node, np.array(np.finfo(np.float32).min, np.float32)
    named = [node for node in nodes if node.name and node.op_type in (*_CLAMPS, _SCALING)]
    for node in named:
        place = list(nodes).index(node)
        if node.op_type == _SCALING:
            given, kept = node.input[0], f"{node.input[0]}_kept"
            node.input[0] = kept
        else:
            given, kept, place = f"{node.output[0]}_cut", node.output[0], place + 1
            node.output[0] = given
        nodes.insert(place, onnx.helper.make_node("Max", [given, _LOWEST], [kept]))
    if named:
        model.graph.initializer.append(numpy_helper.from_array(lowest, _LOWEST))
    return model


def _keep_roundings(model: Any) -> None:
    """Put a maximum that changes no number between some operators and their rounded inputs.

    OpenVINO (2026.4) fuses an addition with the convolution before, and then rounds only after the
    addition, also where codes are clamped and scaled back in between. An average pooling would
    average codes, although its padding is not the code of zero.
    """
    opset13 = _openvino().opset13
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        for slot in op.inputs() if kind in ("Add", "AvgPool") else ():
            read = slot.get_source_output()
            rounded = _activation(read.get_node()) is not None and not _by_constant(op, "Add")
            if kind == "AvgPool" or rounded:
                lowest = opset13.constant(np.finfo(np.float32).min, np.float32)
                slot.replace_source_output(opset13.maximum(read, lowest).output(0))


def _precision(op: Any) -> HeldPrecision:
    op = _norm(op) or op
    sources = [value.get_node() for value in op.input_values()]
    if _has_weight(op):
        return HeldPrecision(_weight(sources[1]), (_activation(sources[0]),))
    if op.get_type_name() == _LOOKUP:
        return HeldPrecision(_table(op, sources[0]), (None,))
    return HeldPrecision(None, tuple(_activation(source) for source in sources))


def _table(lookup: Any, constant: Any) -> Held | None:
    """The precision of a table of codes, whose scales multiply what was looked up."""
    if constant.get_element_type().to_string() not in _CONTAINERS:
        return None
    op = lookup
    while op.get_type_name() in (_LOOKUP, "Convert", "Subtract"):
        (op, *_) = (reader.get_node() for reader in op.output(0).get_target_inputs())
    return _held(constant, _below(op.input_value(1).get_node(), _LOOKUP))


def _has_weight(op: Any) -> bool:
    """Whether an operator reads a weight, not two activations."""
    if op.get_type_name() not in _WEIGHTED:
        return False
    stored = _below(op.input_value(1).get_node(), *_BEHIND_CODES)
    return stored.get_type_name() == "Constant"


def _norm(op: Any) -> Any:
    """The normalization whose factor and shift `op` ends, or None where it ends no such."""
    while op.get_type_name() in ("Add", "Multiply"):
        if op.input_value(1).get_node().get_type_name() != "Constant":
            return None
        op = op.input_value(0).get_node()
    return op if op.get_type_name() == "MVN" else None


def _below(op: Any, *kinds: str) -> Any:
    """The operator whose result `op` reads, before operators of the given kinds."""
    while op.get_type_name() in kinds:
        op = op.input_value(0).get_node()
    return op


def _weight(op: Any) -> Held | None:
    constant = _below(op, *_BEHIND_CODES)
    if constant.get_element_type().to_string() not in _CONTAINERS:
        return None
    return _held(constant, _below(op, "Reshape").input_value(1).get_node())


def _held(constant: Any, scale: Any) -> Held:
    container = _CONTAINERS[constant.get_element_type().to_string()]
    symmetric = not container.startswith("U")
    codes = constant.data.astype(np.int64)
    return Held(bits_for(codes, symmetric=symmetric), symmetric, container, scale.data.size)


def _by_constant(op: Any, kind: str) -> bool:
    """Whether `op` is of a kind, such as an addition, and its second input is constant."""
    others = [value.get_node().get_type_name() for value in op.input_values()[1:]]
    return (op.get_type_name(), others) == (kind, ["Constant"])


def _activation(op: Any) -> Held | None:
    """The quantization of a tensor by a FakeQuantize, or by codes clamped and scaled back."""
    op = _below(op, "Reshape", "Transpose", "Maximum")
    whole = Held(8, symmetric=False, container="UINT8", scales=1)
    if op.get_type_name() == "FakeQuantize":
        return whole
    scaled = op.input_value(0).get_node() if _by_constant(op, "Add") else op
    if not _by_constant(scaled, "Multiply"):
        return None
    steps, scale = (value.get_node() for value in scaled.input_values())
    cut = _below(steps, "Subtract", *_MOVED)
    if cut.get_type_name() != "Clamp":
        return whole if cut.get_type_name() == "FakeQuantize" else None
    if _below(cut, *_ON_CODES).get_type_name() != "FakeQuantize":
        return None  # a clamp of the network itself, scaled by the next operator
    zero = 0
    if steps.get_type_name() == "Subtract":
        zero = int(_below(steps.input_value(1).get_node(), "Convert").data)
    elif scaled is not op:  # of codes that are moved, the zero point comes off at the end
        zero = -round((op.input_value(1).get_node().data / scale.data).item())
    bounds = cut.get_attributes()
    bits, symmetric = grid_between((int(bounds["min"]), int(bounds["max"])), zero)
    return Held(bits, symmetric, "UINT8", 1)
