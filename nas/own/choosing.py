"""The policy that a device gets: as good as asked for, and never one that a uniform dominates.

Networks are compared by figures of samples that the search did not see. Where a cheaper or equally
cheap uniform policy is as good, it is returned: a mixed policy has to earn its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import Genotype

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Networks to choose from, with their figures on one device; `n` of them.

    Attributes:
        genotypes: The networks.
        losses: Figures by which they are judged, each smaller for a better network, `(n, losses)`,
            the one by which they are asked for first.
        costs: The costs that are minimised, `(n, objectives)`, the first one first.
        uniform: Whether each has a uniform policy, `(n,)`.
        within: Whether each is within the limits of the device, `(n,)`.
    """

    genotypes: Sequence[Genotype]
    losses: FloatArray
    costs: FloatArray
    uniform: NDArray[np.bool_]
    within: NDArray[np.bool_]

    @property
    def dominated(self) -> NDArray[np.bool_]:
        """Whether a uniform policy takes the place of each network, `(n,)`.

        A mixed policy keeps its place only if it is better by every figure than each uniform policy
        that costs no more. A uniform policy loses its place to one that costs less and is as good.
        """
        rivals = np.flatnonzero(self.uniform & self.within)
        found = np.zeros(len(self.genotypes), np.bool_)
        for place in range(len(found)):
            for rival in rivals[rivals != place]:
                cheap = self.costs[rival] <= self.costs[place]
                good = self.losses[rival] <= self.losses[place]
                if self.uniform[place]:
                    less = (self.costs[rival] < self.costs[place]).any()
                    better = (self.losses[rival] < self.losses[place]).any()
                    found[place] |= bool(cheap.all() and good.all() and (less or better))
                else:
                    found[place] |= bool(cheap.all() and good.any())
        return found


def chosen(candidates: Candidates, *, most_loss: float | None, prefer_cheap: bool) -> int | None:
    """The position of the network to return; None if none is allowed.

    Args:
        candidates: The networks.
        most_loss: The largest first loss that is allowed; None allows any.
        prefer_cheap: Whether the cheapest of the allowed networks is returned, else the best.
    """
    allowed = candidates.within & ~candidates.dominated
    if most_loss is not None:
        allowed &= candidates.losses[:, 0] <= most_loss
    losses, costs = candidates.losses, candidates.costs

    def rank(place: int) -> tuple[float, ...]:
        both = (*costs[place], *losses[place]), (*losses[place], *costs[place])
        return both[0] if prefer_cheap else both[1]

    return min(np.flatnonzero(allowed).tolist(), key=rank, default=None)


def verdict(candidates: Candidates, place: int, names: Mapping[Genotype, str], *, cost: str) -> str:
    """A sentence on the returned network beside the uniform policies.

    Args:
        candidates: The networks.
        place: The position of the returned one.
        names: The names of uniform policies.
        cost: The name of the first cost, such as `latency_ms`.
    """
    mine = float(candidates.costs[place, 0])
    rivals = {
        names[candidates.genotypes[one]]: float(candidates.costs[one, 0])
        for one in np.flatnonzero(candidates.uniform & candidates.within)
    }
    name = names.get(candidates.genotypes[place])
    if name is not None:
        cheaper = [other for other, spent in rivals.items() if spent < mine]
        told = f"nothing is cheaper in {cost} at the quality asked for"
        if cheaper:
            told += f"; cheaper but worse: {', '.join(cheaper)}"
        return f"The uniform policy {name} is returned: {told}."
    as_good = [
        one
        for one in np.flatnonzero(candidates.uniform & candidates.within)
        if candidates.losses[one, 0] <= candidates.losses[place, 0]
    ]
    if not as_good:
        return (
            "A mixed policy is returned: it is better than every uniform policy within the limits."
        )
    nearest = min(as_good, key=lambda one: candidates.costs[one, 0])
    name_of = names[candidates.genotypes[nearest]]
    saved = 1 - mine / float(candidates.costs[nearest, 0])
    return (
        f"A mixed policy is returned: {saved:.0%} less {cost} than {name_of}, the cheapest "
        "uniform policy that is as good."
    )
