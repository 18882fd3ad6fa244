"""How many bytes an export will have, before there are weights: the same export of made-up ones."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from nas.export.containers import ExportError
from nas.export.form import Exporter, bytes_of
from search_spaces.graph import Graph
from search_spaces.ops import Activation, GlobalPool, Op, Shape
from search_spaces.quant import PerChannel, Quant
from supernets.deploy import Deployed, Layer, Weight, without_norms
from supernets.integers import ActivationScale, IntegerTensor

_PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "executorch")


def rehearsed_bytes(
    form: Exporter,
    graph: Graph,
    *,
    metadata: Mapping[str, str],
    source_size: int | None = None,
) -> float:
    """The size of `graph` in `form` with random numbers, which its real numbers hardly change.

    Takes as long as an export, so it serves a chosen subnet and not a search.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"subnet{form.suffix}"
        form.write(stand_in(graph), path, metadata=metadata, source_size=source_size)
        return float(bytes_of(path))


def rehearse(form: Exporter, graphs: Iterable[Graph], *, image: Shape) -> None:
    """Write `graphs` in `form` with random numbers and run the files, before there is a network.

    Args:
        form: The form that a recipe asks for.
        graphs: Resolved networks of the space.
        image: `(channels, height, width)` of the images that will be fed.

    Raises:
        ExportError: The installed packages cannot write or run one of them.
    """
    images = torch.zeros(2, *image)
    with tempfile.TemporaryDirectory() as folder:
        for number, graph in enumerate(graphs):
            path = Path(folder) / f"{number}{form.suffix}"
            try:
                form.write(stand_in(graph), path, metadata={}, source_size=image[1])
                form.open(path, graph).logits(images)
            except Exception as error:  # of many kinds, since each runtime has its own
                raise ExportError(
                    f"the packages installed here cannot write and run networks of this space as "
                    f"{form.name!r} ({_installed()}): {type(error).__name__}: {error}; upgrade "
                    f"them, or leave {form.name!r} out of export.formats"
                ) from error


def _installed() -> str:
    """The packages that write and run exported files, with their versions."""
    found = [name for name in _PACKAGES if importlib.util.find_spec(name) is not None]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in found)


def stand_in(graph: Graph) -> Deployed:
    """A network of a resolved `graph` with random weights and scales at its policy's precision."""
    rng = np.random.default_rng(0)
    bare, _ = without_norms(graph)
    shapes = bare.shapes()
    layers: dict[str, Layer] = {}
    inputs: dict[tuple[str, int], ActivationScale] = {}
    for address, node in bare.nodes.items():
        shape = node.op.weight_shape(*(shapes[read] for read in node.inputs))
        if shape is not None:
            bias = rng.standard_normal(shape[0]).astype(np.float32)
            layers[address] = Layer(_weight(node.op, shape, rng), bias)
        if node.op.activation is not None:
            for slot in range(node.op.arity):
                signed = not _non_negative(bare, node.inputs[slot])
                inputs[address, slot] = _scale(node.op.activation, rng, signed=signed)
    return Deployed(bare, layers, inputs)


def _weight(op: Op, shape: Shape, rng: np.random.Generator) -> Weight:
    if op.weight is None:
        return rng.standard_normal(shape).astype(np.float32)
    low, high = op.weight.code_range
    groups = shape[0] if isinstance(op.weight.granularity, PerChannel) else 1
    between = (0, 0) if op.weight.symmetric else (low, high)  # a runtime may want all zeros alike
    return IntegerTensor(
        rng.integers(low, high, shape, dtype=np.int32, endpoint=True),
        rng.uniform(0.01, 0.02, groups).astype(np.float32),
        rng.integers(*between, groups, dtype=np.int32, endpoint=True),
        op.weight,
    )


def _non_negative(graph: Graph, address: str) -> bool:
    """Whether a tensor has no value below zero, so that its zero point is 0."""
    op = graph.nodes[address].op
    if isinstance(op, GlobalPool):
        return _non_negative(graph, graph.nodes[address].inputs[0])
    return isinstance(op, Activation) and op.function != "hardswish"


def _scale(quant: Quant, rng: np.random.Generator, *, signed: bool) -> ActivationScale:
    zero = sum(quant.code_range) // 2 if signed and not quant.symmetric else 0
    return ActivationScale(float(np.float32(rng.uniform(0.01, 0.02))), zero, quant)
