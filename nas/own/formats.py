"""The formats that a user's network chooses from where the user names none: those that can help."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nas.targets import HardwareTarget
from nas.targets.capability import Capability
from nas.targets.numerics import Numerics
from search_spaces.formats import FORMATS, MAXIMUM_BITS, MINIMUM_BITS
from search_spaces.graph import Graph
from search_spaces.opening import Opening

_OF_SIZE = ("bytes", "bits", "bitops", "energy")
_EVERY = (2, 3, 4, 5, 6, 8)


def opening_for(
    graph: Graph,
    targets: Sequence[HardwareTarget],
    *,
    costs: Collection[str],
    alone: Sequence[str],
) -> Opening:
    """The precisions in which some of the targets compute layers of a network, and full precision.

    Where a cost counts bits, such as `model_bytes`, or there is no target, weights may have any
    usual number of bits: a weight of few bits is small also where it is computed with in 8 bits.
    Floats of 16 bits are offered for weights that a target can hold, and for activations where a
    target multiplies in this format.

    Args:
        graph: The network.
        targets: The devices.
        costs: The names of the costs that are minimised or limited.
        alone: The layers that stay in full precision.
    """
    devices = [target.capability for target in targets]
    halves = [one for one in FORMATS.values() if not one.scaled]
    held = [one for one in halves if any(_holds(device, one.name) for device in devices)]
    read = [one for one in halves if any(_multiplies(device, one.name) for device in devices)]
    native = [
        numerics
        for device in devices
        for node in graph.nodes.values()
        for numerics in device.native(node.op)
        if numerics.weight is not None
    ]
    weights = {one.weight for one in native}
    counted = not native or any(kind in cost for cost in costs for kind in _OF_SIZE)
    return Opening(
        weights=(*(_EVERY if counted else _integers(weights)), *held, None),
        activations=(*(_integers({n.activation for n in native}) or (MAXIMUM_BITS,)), *read, None),
        others=(MAXIMUM_BITS, *read, None),
        alone=tuple(alone),
    )


def _integers(names: Collection[str | None]) -> tuple[int, ...]:
    """The bits of the integers among the names of formats, as far as tensors can have them."""
    every = range(MINIMUM_BITS, MAXIMUM_BITS + 1)
    return tuple(bits for bits in every if {f"int{bits}", f"uint{bits}"} & {*names})


def _holds(device: Capability, name: str) -> bool:
    """Whether weights may have the format of a name."""
    return device.full_precision == name or any(
        name in support.decodes or name in {numerics.weight for numerics in support.numerics}
        for support in device.supports.values()
    )


def _multiplies(device: Capability, name: str) -> bool:
    """Whether there is a kernel whose weight and inputs both have the format of a name."""
    return device.full_precision == name or any(
        Numerics(name, name) in support.numerics for support in device.supports.values()
    )
