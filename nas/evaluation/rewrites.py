"""Post-training quantization with rewrites that are looked up in the table of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from nas.parts import Parts
from search_spaces.space import SearchSpace
from supernets.inputs import Inputs

if TYPE_CHECKING:  # it loads networkx, and a recipe needs no more than names
    from supernets.post_training import Maker, PostTraining

DEFAULT = ("ranges", "adaquant", "round-biases")
"""The names of the rewrites that are applied where none are named, in order."""
_REPAIR, _FILL = "least-squares", "eora"


def default_rewrites(*, channels: bool = False, ranks: bool = False) -> tuple[str, ...]:
    """The rewrites where none are named, for networks that may be narrower or have branches.

    Args:
        channels: Whether channels may be left out, so that layers behind them are fitted.
        ranks: Whether layers may have branches of low rank, which are filled.
    """
    *first, last = DEFAULT
    return (*([_REPAIR] if channels else []), *first, *([_FILL] if ranks else []), last)


def post_training(
    space: SearchSpace,
    tensors: Mapping[str, Tensor],
    calibration: Sequence[Inputs | Tensor],
    *,
    rewrites: Sequence[str] = DEFAULT,
) -> PostTraining:
    """The maker of networks of any precision from trained float weights.

    Args:
        space: The space.
        tensors: The largest parameters and the statistics of norms, by `ADDRESS.NAME`.
        calibration: Batches of inputs; at least one.
        rewrites: The names of parts of the kind `rewrite`, in order.

    Raises:
        PartError: If there is no rewrite of a name, or it cannot be loaded.
        ValueError: As `PostTraining` does.
    """
    from supernets.post_training import PostTraining

    return PostTraining(space, tensors, calibration, rewrites=makers(rewrites))


def makers(names: Sequence[str]) -> tuple[Maker, ...]:
    """The makers of the rewrites of these names.

    Raises:
        PartError: If there is no rewrite of a name, or it cannot be loaded.
    """
    known = Parts("rewrite")
    for name in names:
        known.entry(name)
    return tuple(known[name] for name in names)
