"""The formats that a user's network chooses from where the user names none: those that can help."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nas.targets import HardwareTarget
from search_spaces.formats import MAXIMUM_BITS, MINIMUM_BITS
from search_spaces.opening import Opening

_OF_SIZE = ("bytes", "bits", "bitops", "energy")
_EVERY = (2, 3, 4, 5, 6, 8)


def opening_for(
    targets: Sequence[HardwareTarget], *, costs: Collection[str], alone: Sequence[str]
) -> Opening:
    """The precisions that some of the targets compute in, and full precision.

    Where a cost counts bits, such as `model_bytes`, or there is no target, weights may have any
    usual number of bits: a weight of few bits is small also where it is computed with in 8 bits.

    Args:
        targets: The devices.
        costs: The names of the costs that are minimised or limited.
        alone: The layers that stay in full precision.
    """
    native = [
        numerics
        for target in targets
        for support in target.capability.supports.values()
        for numerics in support.numerics
        if numerics.weight is not None
    ]
    weights = {one.weight for one in native}
    counted = not native or any(kind in cost for cost in costs for kind in _OF_SIZE)
    return Opening(
        weights=_options(_EVERY if counted else _integers(weights)),
        activations=_options(_integers({one.activation for one in native}) or (MAXIMUM_BITS,)),
        others=(MAXIMUM_BITS, None),
        alone=tuple(alone),
    )


def _integers(names: Collection[str | None]) -> tuple[int, ...]:
    """The bits of the integers among the names of formats, as far as tensors can have them."""
    every = range(MINIMUM_BITS, MAXIMUM_BITS + 1)
    return tuple(bits for bits in every if {f"int{bits}", f"uint{bits}"} & {*names})


def _options(bits: Sequence[int]) -> tuple[int | None, ...]:
    return (*bits, None)
