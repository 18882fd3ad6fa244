"""The predicted size of a subnet's ONNX file: bytes kernel by kernel, without any weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nas.export.containers import Container, IntegerArray
from nas.export.onnx_model import declared, model_of, tensor
from nas.export.onnx_operators import Site, prepare, write
from nas.export.statement import METADATA_PREFIX, inputs_json, policy_json
from nas.export.stored_weights import on_integers
from nas.export.writer import Value, Writer
from nas.targets.saturation import EightBitWeights
from search_spaces.costs import total
from search_spaces.graph import OUTPUT, Graph, Node
from search_spaces.kernels import Fusion, Kernel
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Input,
    Op,
    Shape,
)
from supernets.deployed import Stored
from supernets.encoded import ActivationScale, EncodedTensor, IntegerBias

# The kernels of `onnx_bytes`, in which norms are folded into the convolution before.
ONNX_FUSION = Fusion(
    (
        (Conv2d, BatchNorm2d, Activation),
        (Conv2d, BatchNorm2d),
        (Conv2d, Activation),
        (DepthwiseConv2d, BatchNorm2d, Activation),
        (DepthwiseConv2d, BatchNorm2d),
        (DepthwiseConv2d, Activation),
        (Add, Activation),
    )
)

# The size of a file also depends on the lengths of names; these have a common length.
_ADDRESS = "stage0.block0.conv1"
_METADATA = {"genotype": "0," * 20, "space": "0" * 16, "run": "digits", "target": "this-cpu"}
_NAMES_TAKEN = 50
_COMMON_SCALARS = (0, 1, 3, 15, 64, 100, 127, 128, 255)


def onnx_bytes(kernel: Kernel, *, eight_bit_weights: EightBitWeights = "unsigned") -> float:
    """The number of bytes that `kernel` adds to an exported file, for kernels of `ONNX_FUSION`.

    The bytes are counted by writing the kernel without the numbers of its tensors. The kernel of an
    input also counts the bytes that every file has once (`file_bytes`).
    """
    counter = _Counter(eight_bit_weights, named=_NAMES_TAKEN)
    value: Value | None = None
    frame = 0
    for place, (op, shapes) in enumerate(kernel.members()):
        if isinstance(op, Input):
            value, frame = counter.placeholder(), _frame_bytes((op,))
            continue
        if op.folds and value is not None:
            continue
        inputs = (value,) if value is not None else tuple(counter.placeholder() for _ in shapes)
        scales = _scales(op, first=1.0 + place)
        value = write(op, Site(counter, _ADDRESS, inputs, shapes, scales, _zeros(op, shapes)))
    if value is not None:
        counter.plain(value)  # the reader of a view writes the view
    return float(frame + counter.size + sum(map(_stated_bytes, kernel.ops)))


def file_bytes(graph: Graph, *, eight_bit_weights: EightBitWeights = "unsigned") -> float:
    """The number of bytes of the file of a resolved graph: a sum over kernels, and one frame."""
    shapes = graph.shapes()
    nodes = graph.nodes.values()
    prepare((node.op, tuple(shapes[read] for read in node.inputs)) for node in nodes)
    cost = partial(onnx_bytes, eight_bit_weights=eight_bit_weights)
    return total(cost, graph, ONNX_FUSION) - (len(graph.inputs) - 1) * _frame_bytes(())


def told_bytes(metadata: Mapping[str, str]) -> float:
    """The number of bytes of metadata that `file_bytes` does not count: what a task tells."""
    told = {key: text for key, text in metadata.items() if key not in _METADATA}
    return float(sum(len(f"{METADATA_PREFIX}{key}{text}".encode()) for key, text in told.items()))


@dataclass
class _Counter(Writer):
    """A writer that counts the bytes of tensors in place of keeping their numbers."""

    content: int = 0

    def placeholder(self) -> Value:
        """A tensor that stands for the result of an earlier node."""
        return Value(self.fresh("t"))

    def codes(self, values: IntegerArray, container: Container) -> str:
        return self._counted(values.shape, container.onnx_type, container.bytes_for(values.size))

    def _array(self, values: NDArray[Any], kind: int) -> str:
        return self._counted(values.shape, kind, values.nbytes)

    def _counted(self, shape: Shape, kind: int, content: int) -> str:
        name = self.fresh("w")
        held = onnx.TensorProto(name=name, data_type=kind, dims=shape)
        self.initializers.append(held)
        field = 1 + _varint_bytes(content) + content  # protobuf: a tag, a length, the bytes
        whole = held.ByteSize() + field
        self.content += field + _varint_bytes(whole) - _varint_bytes(held.ByteSize())
        return name

    @property
    def size(self) -> int:
        """The bytes of nodes and tensors, without the scalars that all nodes share."""
        body = onnx.GraphProto(node=self.nodes, initializer=self.initializers)
        return body.ByteSize() + self.content


def _varint_bytes(number: int) -> int:
    """The number of bytes of a protobuf varint, which has 7 bits of the number per byte."""
    return max(1, -(-number.bit_length() // 7))


def _zeros(op: Op, shapes: tuple[Shape, ...]) -> Mapping[str, Stored]:
    """The deployed parameters of an operator, filled with zeros that take no memory."""
    parts = {name: part.shape for name, part in op.deployed(*shapes).items()}
    held: dict[str, Stored] = {name: _broadcast(np.float32(0), parts[name]) for name in parts}
    if op.weight is None or "weight" not in parts:
        return held
    counts = op.weight.granularity.counts(parts["weight"])
    one, zero = np.ones(counts, np.float32), np.zeros(counts, np.int32)
    held["weight"] = EncodedTensor(_broadcast(np.int32(0), parts["weight"]), one, zero, op.weight)
    scale = None if op.activation is None else ActivationScale(1.0, 0, op.activation)
    if "bias" in parts and on_integers(held["weight"], scale):
        bias = _broadcast(np.int32(0), parts["bias"])
        held["bias"] = IntegerBias(bias, _broadcast(np.float32(1), parts["bias"]))
    return held


def _broadcast(value: np.generic, shape: Shape) -> NDArray[Any]:
    """An array that repeats a number, which is in memory only once."""
    return np.ndarray(shape, value.dtype, value.tobytes(), strides=(0,) * len(shape))


@lru_cache(maxsize=4096)
def _stated_bytes(op: Op) -> int:
    """The number of bytes of an operator's entry in the policy."""
    return len(policy_json(Graph.from_nodes({_ADDRESS: Node(op)}))) - len("{}")


def _scales(op: Op, *, first: float) -> tuple[ActivationScale | None, ...]:
    """A scale for every input: distinct numbers, beginning with `first`."""
    if op.activation is None:
        return (None,) * op.arity
    return tuple(ActivationScale(first + slot, 0, op.activation) for slot in range(op.arity))


def _frame_bytes(inputs: tuple[Input, ...]) -> int:
    """The bytes of a file's header, inputs, output, metadata and shared scalars."""
    writer = Writer()
    for value in _COMMON_SCALARS:
        writer.uint8(value)
    reads, gives = [declared(op) for op in inputs], [tensor(OUTPUT, (1,))]
    texts = {**_METADATA, "inputs": inputs_json(inputs), "policy": policy_json(Graph())}
    return model_of(writer, reads, gives, texts=texts).ByteSize()
