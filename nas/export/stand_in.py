"""Stand-ins: networks with random weights in a subnet's shapes, for sizes and times."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nas.export.containers import ExportError
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Parameter, Shape
from search_spaces.quant import Quant
from supernets.biases import round_biases
from supernets.deployed import Deployed, Stored
from supernets.encoded import ActivationScale, EncodedTensor
from supernets.fold import without_norms

_ACTIVATION_RANGE = 6.0
_DEVIATION = 0.1


def stand_in(graph: Graph, *, seed: int = 0) -> Deployed:
    """A deployed network of a resolved graph with random weights, as fast as with trained weights.

    All readers of a tensor at the same precision share a scale, as in `extract`. The zero point of
    a tensor that is never negative is the lowest code.

    Raises:
        ExportError: If a norm cannot be folded.
    """
    rng = np.random.default_rng(seed)
    try:
        bare, _ = without_norms(graph)
    except ValueError as error:
        raise ExportError(f"a network of this space cannot leave: {error}") from error
    shapes, positive = bare.shapes(), never_negative(bare)
    parameters: dict[str, Mapping[str, Stored]] = {}
    inputs: dict[tuple[str, int], ActivationScale] = {}
    for address, node in bare.nodes.items():
        held = node.op.deployed(*(shapes[source] for source in node.inputs))
        if held:
            parameters[address] = {
                name: _random(part, node.op.weight if name == "weight" else None, rng)
                for name, part in held.items()
            }
        if node.op.activation is not None:
            for slot, source in enumerate(node.inputs):
                inputs[address, slot] = scale_of(node.op.activation, positive=positive[source])
    return round_biases(Deployed(bare, parameters, inputs))


def never_negative(graph: Graph) -> dict[str, bool]:
    """Whether the tensor at each address of a resolved graph is never below zero."""
    found: dict[str, bool] = {}
    for address, node in graph.nodes.items():
        found[address] = node.op.never_negative(*(found[read] for read in node.inputs))
    return found


def _random(part: Parameter, quant: Quant | None, rng: np.random.Generator) -> Stored:
    """Random numbers for a parameter, of a size that keeps the operator's output near one."""
    if part.start in ("zeros", "ones"):
        # Neither all zeros nor all ones, since a runtime would leave out the computation.
        start = float(part.start == "ones")
        return rng.normal(start, _DEVIATION, part.shape).astype(np.float32)
    fan_in = np.prod(part.along("in", "window"), initial=1)
    step = float(np.sqrt(2.0 / fan_in)) if part.start == "fan_in" else _DEVIATION
    if quant is None:
        return rng.normal(0.0, step, part.shape).astype(np.float32)
    low, high = map(int, quant.format.bounds)
    counts = quant.granularity.counts(part.shape)
    scale = quant.scales.snap(step / high * rng.uniform(0.5, 1.0, counts))
    if quant.format.scaled:
        codes = _random_codes(quant, part.shape, rng)
    else:
        codes = quant.format.encode(rng.normal(0.0, step, part.shape)).astype(np.int32)
    # A runtime may need equal zero points.
    between = (0, 0) if quant.format.symmetric else (low, high)
    zero = rng.integers(*between, counts, dtype=np.int32, endpoint=True)
    return EncodedTensor(codes, scale, zero, quant)


def _random_codes(quant: Quant, shape: Shape, rng: np.random.Generator) -> NDArray[np.int32]:
    """Codes of numbers over the whole range of the format."""
    low, high = map(int, quant.format.bounds)
    if isinstance(quant.format, Int):
        return rng.integers(low, high + 1, shape, dtype=np.int32)
    return quant.format.encode(rng.uniform(low, high, shape)).astype(np.int32)


def scale_of(quant: Quant, *, positive: bool) -> ActivationScale:
    """The quantization of a tensor of usual size; `positive` means never below zero."""
    if not quant.format.scaled:
        return ActivationScale(1.0, 0, quant)
    low, high = map(int, quant.format.bounds)
    zero = 0 if quant.format.symmetric else low if positive else (low + high + 1) // 2
    # A range that ends at 6 would make the clamp of relu6 needless, unlike a trained range.
    return ActivationScale(_ACTIVATION_RANGE / (high - low), zero, quant)
