"""The bit-widths that an ONNX file really stores, found from its tensors and not from labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from nas.export.containers import HALVES, ExportError, IntegerArray
from nas.export.form import Held, HeldPrecision
from nas.targets.saturation import adds_pairs, pair_fits
from search_spaces.formats import MAXIMUM_BITS, MINIMUM_BITS

SIGNED_ZERO = 128
HALF_BITS = 16
_FLOAT8 = "FLOAT8"
_VIEWS = {"Flatten", "Reshape", "Transpose"}
_ON_CODES = {"Cast", *_VIEWS}
_WEIGHTED = {"Conv": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}  # which input may be a weight


def load(path: str | Path) -> onnx.ModelProto:
    """The ONNX model at `path`; raises `ExportError` if it cannot be read."""
    try:
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError as error:
        raise ExportError(f"there is no file {path}; export the network first") from error
    except (DecodeError, OSError) as error:
        raise ExportError(f"{path} is no readable ONNX file ({error}); export it again") from error
    if not model.graph.node:
        raise ExportError(f"{path} holds no network; it is truncated or no ONNX file")
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise ExportError(f"{path} holds names that are not UTF-8 text; export it again")
    outside = [tensor.name for tensor in _tensors(model) if uses_external_data(tensor)]
    if outside:
        raise ExportError(
            f"{path} names another file for {len(outside)} tensors, the first {outside[0]!r}; no "
            "other file is opened: export it again, as one file"
        )
    return model


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """All names and metadata of a model, which protobuf returns as bytes if they are no text."""
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    for node in model.graph.node:
        yield from (node.op_type, node.name, *node.input, *node.output)
    for held in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        yield held.name


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors of a model, including those of attributes and of inner graphs."""
    yield from _tensors_of(model.graph)
    yield from (tensor for function in model.functions for tensor in _in_nodes(function.node))


def _tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors_of(graph)


def read_policy(path: str | Path) -> dict[str, HeldPrecision]:
    """The precisions in the file at `path` by address, found from its tensors.

    The result has every operator whose node name is an address. The precision of a weight follows
    from type, codes and zero points; that of an activation from the integer bounds between its
    QuantizeLinear and its DequantizeLinear.
    """
    return policy_of(load(path))


def policy_of(model: onnx.ModelProto) -> dict[str, HeldPrecision]:
    """The precisions of a loaded model; raises `ExportError` if this engine did not write it."""
    file = _File(model)
    named = [node for node in model.graph.node if node.name]
    found: dict[str, HeldPrecision] = {}
    for node in named:
        try:
            found[node.name] = file.precision(node)
        except (LookupError, ValueError, TypeError) as error:
            raise ExportError(
                f"what node {node.name!r} of the file reads is not as this engine writes it "
                f"({type(error).__name__}: {error}); export the network again"
            ) from error
    return found


def saturable_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """The addresses of operators with pairs of products that may not fit in 16 bits."""
    file = _File(model)
    return tuple(node.name for node in model.graph.node if file.saturates(node))


def quantizers_in(model: onnx.ModelProto) -> int:
    """The number of times that a tensor is quantized."""
    file = _File(model)
    named = [node for node in model.graph.node if node.name]
    halves = {held.output[0] for node in named for held in map(file.half, node.input) if held}
    return len(halves) + sum(node.op_type == "QuantizeLinear" for node in model.graph.node)


def weighted_in(model: onnx.ModelProto) -> int:
    """The number of nodes with a weight."""
    file = _File(model)
    return sum(file.weight_of(node) is not None for node in model.graph.node)


class _File:
    """The nodes and initializers of a model, indexed by the names of their results."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._made_by = {output: node for node in model.graph.node for output in node.output}
        self._read_by: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._read_by.setdefault(name, []).append(node)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._fed = {given.name for given in model.graph.input}  # and all that depends on them
        self._require_order(model.graph)

    def _require_order(self, graph: onnx.GraphProto) -> None:
        """Raise unless every name is defined once, before it is read, which rules out cycles."""
        known = {*self._tensors, *(given.name for given in graph.input)}
        for node in graph.node:
            wrong = sorted(set(node.input) - known - {""}) + sorted(known & set(node.output))
            if wrong:
                raise ExportError(
                    f"{wrong[0]!r} at a {node.op_type} of the file is read before it is given, or "
                    "given twice; export the network again"
                )
            known.update(node.output)
            if not self._fed.isdisjoint(node.input):
                self._fed.update(node.output)

    def weight_of(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """The tensor in which the weight of a node is stored; None without a weight."""
        place = _WEIGHTED.get(node.op_type, len(node.input))
        # Scales of entries are looked up too, by nodes without a name.
        return self._stored(node.input[place]) if node.input[place:] and node.name else None

    def _stored(self, name: str) -> onnx.TensorProto | None:
        """The stored tensor from which `name` is computed; None if inputs of the model matter."""
        while name in self._made_by and name not in self._fed:
            name = next(iter(self._made_by[name].input), "")
        return self._tensors.get(name)

    def precision(self, node: onnx.NodeProto) -> HeldPrecision:
        if (table := self.weight_of(node)) is not None and node.op_type == "Gather":
            steps = None if _type(table) in HALVES else self._steps_of(node)
            return HeldPrecision(self._held(table, steps), (None,))
        if table is not None:
            return HeldPrecision(self._weight(node.input[1]), (self._activation(node.input[0]),))
        return HeldPrecision(None, tuple(self._activation(name) for name in node.input))

    def saturates(self, node: onnx.NodeProto) -> bool:
        """Whether sums of two products in the integer kernel of a node may not fit in 16 bits."""
        stored = self.weight_of(node)
        groups = next((given.i for given in node.attribute if given.name == "group"), 1)
        if stored is None or not adds_pairs(math.prod(stored.dims[1:2]), groups=groups):
            return False
        dequantize, held = self._made_by.get(node.input[1]), self.precision(node)
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            return False
        if any(given.name == "block_size" for given in dequantize.attribute):
            return False  # no sum of products with several scales is one of integers
        sides = (held.weight, held.activations[0])
        if any(side is not None and side.container.startswith(_FLOAT8) for side in sides):
            return False
        if held.weight is None or held.activations[0] is None or not held.weight.symmetric:
            return False
        return not self._is_moved(dequantize.input[0]) and not pair_fits(
            2 ** (held.weight.bits - 1) - 1
        )

    def _is_moved(self, code: str) -> bool:
        """Whether `code` is stored signed codes that nodes convert to unsigned codes."""
        made = self._made_by.get(code)
        return made is not None and (made.op_type == "Add" or self._is_moved(made.input[0]))

    def _weight(self, name: str) -> Held | None:
        dequantize = self._made_by.get(name)  # or the Mul of `(codes - zero) * scale`
        while dequantize is not None and dequantize.op_type in ("Reshape", "Transpose"):
            dequantize = self._made_by.get(dequantize.input[0])
        tensor = self._stored(name)
        if dequantize is None or tensor is None:
            return None
        scales = None if _type(tensor) in HALVES else self._array(dequantize.input[1])
        return self._held(tensor, scales)

    def _held(self, tensor: onnx.TensorProto, scales: NDArray[np.generic] | None) -> Held | None:
        container = _type(tensor)
        if container in HALVES:
            return Held(HALF_BITS, symmetric=True, container=container, scales=1)
        if scales is None:
            return None
        if container.startswith(_FLOAT8):
            return Held(MAXIMUM_BITS, symmetric=True, container=container, scales=scales.size)
        codes = numpy_helper.to_array(tensor).astype(np.int64)
        symmetric = not container.startswith("U")
        return Held(bits_for(codes, symmetric=symmetric), symmetric, container, scales.size)

    def _steps_of(self, lookup: onnx.NodeProto) -> NDArray[np.generic] | None:
        """The scales of the codes that `lookup` gathers; None for a table of floats."""
        (reader, *_) = self._read_by.get(lookup.output[0], [None])
        if reader is not None and reader.op_type == "DequantizeLinear":
            return self._array(reader.input[1])
        while reader is not None and reader.op_type in ("Cast", "Sub"):
            (reader, *_) = self._read_by.get(reader.output[0], [None])
        if reader is None or reader.op_type != "Mul":
            return None
        stored = self._stored_table(reader.input[1])
        return None if stored is None else numpy_helper.to_array(stored)

    def _stored_table(self, name: str) -> onnx.TensorProto | None:
        """The stored table from which a Gather without a name looks `name` up; else None."""
        made = self._made_by.get(name)
        if made is None or made.op_type != "Gather" or made.name:
            return None
        return self._stored(made.input[0])

    def half(self, name: str) -> onnx.NodeProto | None:
        """The node that makes floats of 16 bits of a tensor whose numbers `name` has; else None."""
        node = self._made_by.get(name)
        if node is None or node.op_type != "Cast" or _cast_to(node) != "FLOAT":
            return None
        while (node := self._made_by.get(node.input[0])) is not None and node.op_type in _VIEWS:
            pass
        return node if node is not None and _cast_to(node) in HALVES else None

    def _activation(self, name: str) -> Held | None:
        if (half := self.half(name)) is not None:
            return Held(HALF_BITS, symmetric=True, container=_cast_to(half), scales=1)
        node = self._made_by.get(name)
        if node is not None and node.op_type == "Max" and node.input[0] in self._made_by:
            node = self._made_by[node.input[0]]
        if node is None or node.op_type != "DequantizeLinear":
            return None
        zero, scales = self._array(node.input[2]), self._array(node.input[1]).size
        container = _type(self._tensors[node.input[2]])
        if container.startswith(_FLOAT8):
            return Held(MAXIMUM_BITS, symmetric=True, container=container, scales=scales)
        step = self._made_by[node.input[0]]
        while step.op_type in _ON_CODES:
            step = self._made_by[step.input[0]]
        bounds = (0, 255)
        if step.op_type == "Clip":
            bounds = (int(self._array(step.input[1])), int(self._array(step.input[2])))
        bits, symmetric = grid_between(bounds, int(zero))
        return Held(bits, symmetric, container, scales)

    def _array(self, name: str) -> NDArray[np.generic]:
        return numpy_helper.to_array(self._tensors[name])


def _type(tensor: onnx.TensorProto) -> str:
    """The name of the type of a tensor, such as `INT4`."""
    return onnx.TensorProto.DataType.Name(tensor.data_type)


def _cast_to(node: onnx.NodeProto) -> str:
    """The name of the type to which a Cast converts; empty for another node."""
    types = [given.i for given in node.attribute if given.name == "to"]
    return onnx.TensorProto.DataType.Name(types[0]) if node.op_type == "Cast" else ""


def bits_for(codes: IntegerArray, *, symmetric: bool) -> int:
    """The fewest bits whose code range holds `codes`."""
    largest = int(np.abs(codes).max(initial=0))
    for bits in range(MINIMUM_BITS, MAXIMUM_BITS + 1):
        if largest <= (2 ** (bits - 1) - 1 if symmetric else 2**bits - 1):
            return bits
    raise ExportError(f"a code of {largest} is beyond {MAXIMUM_BITS} bits; export the file again")


def grid_between(bounds: tuple[int, int], zero_point: int) -> tuple[int, bool]:
    """Bits and symmetry of the activation codes between inclusive `bounds`."""
    low, high = bounds
    for bits in range(MINIMUM_BITS, MAXIMUM_BITS + 1):
        half = 2 ** (bits - 1) - 1
        if bounds == (0, 2**bits - 1):
            return bits, False
        if zero_point == SIGNED_ZERO and bounds == (zero_point - half, zero_point + half):
            return bits, True
    raise ExportError(
        f"codes {low}..{high} around {zero_point} are no grid of {MINIMUM_BITS} to {MAXIMUM_BITS} "
        "bits; export the file again"
    )


def grid_of(low: int, high: int) -> tuple[int, bool]:
    """Bits and symmetry of a grid from `low` to `high` steps around zero."""
    bits = (high - low + 1).bit_length()
    if low == -high and high == 2 ** (bits - 1) - 1:
        return bits, True
    if low <= 0 <= high and high - low == 2 ** (bits - 1) - 1:
        return bits - 1, False
    raise ExportError(f"{low}..{high} steps are no grid of whole bits; export the file again")
