"""Networks with random weights in a subnet's shapes: what a device can time before training."""

from __future__ import annotations

import numpy as np

from search_spaces.graph import Graph
from search_spaces.ops import Activation, Op, Shape
from search_spaces.quant import PerChannel, Quant
from supernets.deploy import Deployed, Layer, without_norms
from supernets.integers import ActivationScale, IntegerTensor

_ACTIVATION_RANGE = 6.0
_NEVER_NEGATIVE = ("relu", "relu6", "hardsigmoid")


def stand_in(graph: Graph, *, seed: int = 0) -> Deployed:
    """A resolved graph as it would be deployed, with random weights: it takes as long as trained.

    Everything that reads one tensor at one precision shares a scale, as in `extract`; a tensor
    that is never negative has its zero point at the lowest code.
    """
    rng = np.random.default_rng(seed)
    bare, _ = without_norms(graph)
    shapes = bare.shapes()
    layers: dict[str, Layer] = {}
    inputs: dict[tuple[str, int], ActivationScale] = {}
    for address, node in bare.nodes.items():
        read = tuple(shapes[source] for source in node.inputs)
        if (shape := node.op.weight_shape(*read)) is not None:
            layers[address] = _layer(node.op, shape, rng)
        if node.op.activation is not None:
            for slot, source in enumerate(node.inputs):
                read_op = bare.nodes[source].op
                inputs[address, slot] = _scale(node.op.activation, read_op)
    return Deployed(bare, layers, inputs)


def _layer(op: Op, shape: Shape, rng: np.random.Generator) -> Layer:
    """Random weights of a size that keeps what the layer gives near one."""
    fan_in = int(np.prod(shape[1:]))
    step = float(np.sqrt(2.0 / fan_in))
    bias = np.zeros(shape[0], np.float32)
    quant = op.weight
    if quant is None:
        return Layer(rng.normal(0.0, step, shape).astype(np.float32), bias)
    low, high = quant.code_range
    codes = rng.integers(low, high + 1, shape, dtype=np.int32)
    channels = shape[0] if isinstance(quant.granularity, PerChannel) else 1
    scale = np.full(channels, step / high, np.float32)
    zero = np.full(channels, 0 if quant.symmetric else (low + high + 1) // 2, np.int32)
    return Layer(IntegerTensor(codes, scale, zero, quant), bias)


def _scale(quant: Quant, source: Op) -> ActivationScale:
    low, high = quant.code_range
    positive = isinstance(source, Activation) and source.function in _NEVER_NEGATIVE
    zero = 0 if quant.symmetric else low if positive else (low + high + 1) // 2
    # relu6 clamps at 6: a grid that ends there needs no clamp of its own, a trained one may.
    return ActivationScale(_ACTIVATION_RANGE / (high - low), zero, quant)


__all__ = ["stand_in"]
