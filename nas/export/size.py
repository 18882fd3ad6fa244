"""How many bytes a subnet's ONNX file will have, kernel by kernel, before there are any weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import onnx

from nas.export.containers import container_for
from nas.export.onnx_model import INPUT, OUTPUT, model_of, tensor
from nas.export.onnx_operators import Site, write
from nas.export.statement import policy_json
from nas.export.writer import Value, Writer
from nas.saturation import EightBitWeights, adds_pairs, moved
from search_spaces.graph import Graph, Node
from search_spaces.kernels import Fusion, Kernel
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Op,
    Shape,
)
from supernets.deployed import Stored
from supernets.integers import ActivationScale, IntegerBias, IntegerTensor

# The kernels of `onnx_bytes`: norms vanish into the convolution before them.
ONNX_FUSION = Fusion(
    (
        (Conv2d, BatchNorm2d, Activation),
        (Conv2d, BatchNorm2d),
        (Conv2d, Activation),
        (DepthwiseConv2d, BatchNorm2d, Activation),
        (DepthwiseConv2d, BatchNorm2d),
        (Add, Activation),
    )
)

_FLOAT_BYTES = 4
# What a file has beside its shapes has names; these are of common length.
_ADDRESS = "stage0.block0.conv1"
_METADATA = {
    "genotype": "0," * 20,
    "space": "0" * 16,
    "run": "digits",
    "target": "this-cpu",
    "policy": "{}",
}
_NAMES_TAKEN = 50
_COMMON_SCALARS = (0, 1, 3, 15, 64, 100, 127, 128, 255)


def onnx_bytes(kernel: Kernel, *, eight_bit_weights: EightBitWeights = "unsigned") -> float:
    """Bytes that `kernel` adds to the exported file; compile it over `ONNX_FUSION`.

    Weights in their container, biases, scales and zero points, and what surrounds them: the nodes
    and names that the writer makes for such a kernel, counted by making them for one channel. The
    kernel of the image carries what every file has once.
    """
    if not kernel.inputs:
        return float(_frame_bytes(kernel.op))
    ranks = tuple(len(shape) for shape in kernel.inputs)
    parts = {name: part.shape for name, part in kernel.op.deployed(*kernel.inputs).items()}
    held = tuple((name, len(shape)) for name, shape in parts.items())
    around = _surrounding_bytes(kernel.op, kernel.fused, ranks, held, eight_bit_weights)
    return float(_content_bytes(kernel.op, parts, eight_bit_weights) + around)


def _content_bytes(op: Op, parts: Mapping[str, Shape], weights: EightBitWeights) -> int:
    """The initializers of an operator with parameters of these shapes, without their headers."""
    floats = {name: math.prod(shape) for name, shape in parts.items()}
    if op.weight is None:
        return sum(floats.values()) * _FLOAT_BYTES
    elements, shape = floats.pop("weight"), parts["weight"]
    channels = shape[0]
    container, on_integers = container_for(op.weight), op.activation is not None
    content = container.bytes_for(elements) + sum(floats.values()) * _FLOAT_BYTES
    if op.weight.per_channel:
        content += channels * _FLOAT_BYTES * (2 if on_integers else 1)
        unsigned = adds_pairs(op) and moved(op.weight, weights)
        matrix = len(shape) == len(("out", "in"))
        if not op.weight.symmetric or (on_integers and (unsigned or matrix)):
            content += (container.computed if on_integers else container).bytes_for(channels)
    return content


@lru_cache(maxsize=4096)
def _surrounding_bytes(
    op: Op,
    fused: tuple[Op, ...],
    ranks: tuple[int, ...],
    parts: tuple[tuple[str, int], ...],
    eight_bit_weights: EightBitWeights,
) -> int:
    """Nodes, names, headers and the line in the policy, counted on a stand-in of one channel."""
    writer = Writer(eight_bit_weights, named=_NAMES_TAKEN)
    inputs = tuple(Value(writer.fresh("t")) for _ in ranks)
    shapes = tuple((1,) * length for length in ranks)
    alone = {name: (1,) * rank for name, rank in parts}
    held = {name: _stand_in(op, name, shape) for name, shape in alone.items()}
    value = write(op, Site(writer, _ADDRESS, inputs, shapes, _scales(op), held))
    for follower in fused:
        if not follower.folds:
            scales = _scales(follower, first=1.0 + op.arity)
            value = write(follower, Site(writer, _ADDRESS, (value,), shapes, scales))
    writer.plain(value)  # a view is written by who reads it
    body = onnx.GraphProto(node=writer.nodes, initializer=writer.initializers)
    content = _content_bytes(op, alone, eight_bit_weights)
    return body.ByteSize() - content + sum(map(_stated_bytes, (op, *fused)))


def _stated_bytes(op: Op) -> int:
    """The operator's line in the policy."""
    return len(policy_json(Graph.from_nodes({_ADDRESS: Node(op)}))) - len("{}")


def _scales(op: Op, *, first: float = 1.0) -> tuple[ActivationScale | None, ...]:
    """A scale for every input, each another one from `first` on."""
    if op.activation is None:
        return (None,) * op.arity
    return tuple(ActivationScale(first + slot, 0, op.activation) for slot in range(op.arity))


def _stand_in(op: Op, name: str, shape: Shape) -> Stored:
    one, zero = np.ones(1, np.float32), np.zeros(1, np.int32)
    if op.weight is not None and name == "weight":
        return IntegerTensor(np.zeros(shape, np.int32), one, zero, op.weight)
    if op.weight is not None and op.activation is not None and name == "bias":
        return IntegerBias(zero, one)
    return np.zeros(shape, np.float32)


def _frame_bytes(image: Op) -> int:
    """Header, input, output and metadata of any file, and the scalars that its nodes share."""
    writer = Writer()
    for value in _COMMON_SCALARS:
        writer.uint8(value)
    shape = image.infer()
    reads, gives = [tensor(INPUT, shape)], [tensor(OUTPUT, shape)]
    return model_of(writer, reads, gives, texts=_METADATA).ByteSize()
