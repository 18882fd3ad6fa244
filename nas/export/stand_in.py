"""Networks with random numbers in a subnet's shapes: to be timed or weighed before training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nas.export.containers import ExportError
from search_spaces.graph import Graph
from search_spaces.ops import Parameter
from search_spaces.quant import Quant
from supernets.biases import round_biases
from supernets.deployed import Deployed, Stored
from supernets.fold import without_norms
from supernets.integers import ActivationScale, IntegerTensor

_ACTIVATION_RANGE = 6.0
_DEVIATION = 0.1


def stand_in(graph: Graph, *, seed: int = 0) -> Deployed:
    """A resolved graph as it would be deployed, with random weights: it takes as long as trained.

    Everything that reads one tensor at one precision shares a scale, as in `extract`; a tensor
    that is never negative has its zero point at the lowest code.

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
    """Numbers of a size that keeps what an operator gives near one."""
    if part.start != "fan_in":
        # Trained ones are neither zero nor one throughout, which a runtime would leave out.
        start = float(part.start == "ones")
        return rng.normal(start, _DEVIATION, part.shape).astype(np.float32)
    step = float(np.sqrt(2.0 / np.prod(part.shape[1:])))
    if quant is None:
        return rng.normal(0.0, step, part.shape).astype(np.float32)
    low, high = quant.code_range
    codes = rng.integers(low, high + 1, part.shape, dtype=np.int32)
    channels = part.shape[0] if quant.per_channel else 1
    scale = (step / high * rng.uniform(0.5, 1.0, channels)).astype(np.float32)
    between = (0, 0) if quant.symmetric else (low, high)  # a runtime may want all zeros alike
    zero = rng.integers(*between, channels, dtype=np.int32, endpoint=True)
    return IntegerTensor(codes, scale, zero, quant)


def scale_of(quant: Quant, *, positive: bool) -> ActivationScale:
    """How a tensor of common size is quantized; `positive` says that it is never below zero."""
    low, high = quant.code_range
    zero = 0 if quant.symmetric else low if positive else (low + high + 1) // 2
    # relu6 clamps at 6: a grid that ends there needs no clamp of its own, a trained one may.
    return ActivationScale(_ACTIVATION_RANGE / (high - low), zero, quant)
