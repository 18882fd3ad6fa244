"""How many bytes a subnet's ONNX file will have, kernel by kernel, before there are any weights."""

from __future__ import annotations

import math
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
    Linear,
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
    shape = kernel.op.weight_shape(*kernel.inputs)
    content = 0 if shape is None else _content_bytes(kernel.op, shape, eight_bit_weights)
    rank = 0 if shape is None else len(shape)
    around = _surrounding_bytes(kernel.op, kernel.fused, ranks, rank, eight_bit_weights)
    return float(content + around)


def _content_bytes(op: Op, shape: Shape, weights: EightBitWeights) -> int:
    """The initializers of an operator with a weight of this shape, without their headers."""
    elements, channels = math.prod(shape), shape[0]
    if op.weight is None:
        return (elements + channels) * _FLOAT_BYTES
    container, on_integers = container_for(op.weight), op.activation is not None
    content = container.bytes_for(elements) + channels * _FLOAT_BYTES
    if op.weight.per_channel:
        content += channels * _FLOAT_BYTES * (2 if on_integers else 1)
        unsigned = adds_pairs(op) and moved(op.weight, weights)
        if not op.weight.symmetric or (on_integers and (unsigned or isinstance(op, Linear))):
            content += (container.computed if on_integers else container).bytes_for(channels)
    return content


@lru_cache(maxsize=4096)
def _surrounding_bytes(
    op: Op,
    fused: tuple[Op, ...],
    ranks: tuple[int, ...],
    rank: int,
    eight_bit_weights: EightBitWeights,
) -> int:
    """Nodes, names, headers and the line in the policy, counted on a stand-in of one channel."""
    writer = Writer(eight_bit_weights, named=_NAMES_TAKEN)
    inputs = tuple(Value(writer.fresh("t")) for _ in ranks)
    shapes = tuple((1,) * length for length in ranks)
    held = _stand_in(op, rank) if rank else {}
    value = write(op, Site(writer, _ADDRESS, inputs, shapes, _scales(op), held))
    for follower in fused:
        if not follower.folds:
            scales = _scales(follower, first=1.0 + op.arity)
            value = write(follower, Site(writer, _ADDRESS, (value,), shapes, scales))
    body = onnx.GraphProto(node=writer.nodes, initializer=writer.initializers)
    content = _content_bytes(op, (1,) * rank, eight_bit_weights) if rank else 0
    return body.ByteSize() - content + sum(map(_stated_bytes, (op, *fused)))


def _stated_bytes(op: Op) -> int:
    """The operator's line in the policy."""
    return len(policy_json(Graph.from_nodes({_ADDRESS: Node(op)}))) - len("{}")


def _scales(op: Op, *, first: float = 1.0) -> tuple[ActivationScale | None, ...]:
    """A scale for every input, each another one from `first` on."""
    if op.activation is None:
        return (None,) * op.arity
    return tuple(ActivationScale(first + slot, 0, op.activation) for slot in range(op.arity))


def _stand_in(op: Op, rank: int) -> dict[str, Stored]:
    bias, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    if op.weight is None:
        return {"weight": np.zeros((1,) * rank, np.float32), "bias": bias}
    zero = np.zeros(1, np.int32)
    weight = IntegerTensor(np.zeros((1,) * rank, np.int32), one, zero, op.weight)
    return {"weight": weight, "bias": bias if op.activation is None else IntegerBias(zero, one)}


def _frame_bytes(image: Op) -> int:
    """Header, input, output and metadata of any file, and the scalars that its nodes share."""
    writer = Writer()
    for value in _COMMON_SCALARS:
        writer.uint8(value)
    shape = image.infer()
    reads, gives = [tensor(INPUT, shape)], [tensor(OUTPUT, shape)]
    return model_of(writer, reads, gives, texts=_METADATA).ByteSize()
