"""The formats that a user's network chooses from where the user names none: those that can help."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nas.export import Exporter
from nas.export.form import has_type
from nas.targets import HardwareTarget
from nas.targets.capability import Capability
from nas.targets.numerics import Numerics
from search_spaces.formats import FORMATS, MAXIMUM_BITS, MINIMUM_BITS, Format
from search_spaces.graph import Graph
from search_spaces.opening import Opening
from search_spaces.ops import Op
from search_spaces.quant import Quant

_OF_SIZE = ("bytes", "bits", "bitops", "energy")
_EVERY = (2, 3, 4, 5, 6, 8)


def opening_for(
    graph: Graph,
    targets: Sequence[HardwareTarget],
    *,
    costs: Collection[str],
    alone: Sequence[str],
    forms: Collection[Exporter] = (),
) -> Opening:
    """The precisions in which some of the targets compute layers of a network, and full precision.

    Where a cost counts bits, such as `model_bytes`, or there is no target, weights may have any
    usual number of bits: a weight of few bits is small also where it is computed with in 8 bits.
    Floats of 16 bits are offered for weights that a target can hold, and for activations where a
    target multiplies in this format, unless some form of export has no type for them.

    Args:
        graph: The network.
        targets: The devices.
        costs: The names of the costs that are minimised or limited.
        alone: The layers that stay in full precision.
        forms: The forms in which the network is exported.
    """
    layers = [(one.capability, node.op) for one in targets for node in graph.nodes.values()]
    native = [
        numerics
        for device, op in layers
        for numerics in device.native(op)
        if numerics.weight is not None
    ]
    kept, computed = _halves(layers, native, forms)
    weights = {one.weight for one in native}
    counted = not native or any(kind in cost for cost in costs for kind in _OF_SIZE)
    return Opening(
        weights=(*(_EVERY if counted else _integers(weights)), *kept, None),
        activations=(
            *(_integers({one.activation for one in native}) or (MAXIMUM_BITS,)),
            *(*computed, None),
        ),
        others=(MAXIMUM_BITS, *computed, None),
        alone=tuple(alone),
    )


def _halves(
    layers: Sequence[tuple[Capability, Op]],
    native: Sequence[Numerics],
    forms: Collection[Exporter],
) -> tuple[list[Format], list[Format]]:
    """The floats of 16 bits that weights may have, and those that activations may have."""
    whole = {device.full_precision for device, _ in layers}
    decoded = {name for device, op in layers for name in device.decoded(op)}
    held = whole | decoded | {one.weight for one in native}
    read = whole | {one.activation for one in native if one.weight == one.activation}
    halves = [
        one
        for one in FORMATS.values()
        if not one.scaled and all(has_type(form, Quant(one)) for form in forms)
    ]
    kept, computed = ([one for one in halves if one.name in names] for names in (held, read))
    return kept, computed


def _integers(names: Collection[str | None]) -> tuple[int, ...]:
    """The bits of the integers among the names of formats, as far as tensors can have them."""
    every = range(MINIMUM_BITS, MAXIMUM_BITS + 1)
    return tuple(bits for bits in every if {f"int{bits}", f"uint{bits}"} & {*names})
