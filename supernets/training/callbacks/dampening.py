"""A penalty that draws weights of few bits away from the thresholds of their rounding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from search_spaces.space import Genotype
from supernets.quantizers.grid import Grid
from supernets.supernet import subnet_of
from supernets.training.callbacks.callback import Callback
from supernets.training.callbacks.oscillation import annealed, is_coarse
from supernets.training.context import Moment

_FIRST, _LAST = 0.0, 0.1  # the factor of the penalty, in the code of Nagel et al. for 3 and 4 bits


class Dampening(Callback):
    """Dampening of oscillations (Nagel et al. 2022, section 4.2, equation 6).

    The penalty is the squared distance between a weight, clipped to its grid, and its rounded
    value, for every weight that the subnet has at 3 bits or fewer. As in the authors' code, it is
    summed over output channels and averaged over the rest, and its factor rises from 0 to 0.1 over
    the last three quarters of the quantized phase. Steps have no gradient by the penalty.
    """

    def penalty(self, moment: Moment, place: int, genotype: Genotype) -> Tensor | None:
        factor = annealed(moment.phase_share, _FIRST, _LAST) if moment.quantized else None
        if not factor:
            return None
        distances = [distance(weight, grid) for weight, grid in self._coarse(genotype)]
        return factor * torch.stack(distances).sum() if distances else None

    def _coarse(self, genotype: Genotype) -> Iterator[tuple[Tensor, Grid]]:
        """The weights that a subnet has at few bits, with their grids."""
        supernet = self.context.supernet
        for step in subnet_of(supernet.space, genotype).steps:
            node, quant = supernet.node(step.address), step.op.weight
            if node.weight is not None and quant is not None and is_coarse(quant):
                weight = step.sliced(node.parameters_by_name())["weight"]
                yield weight, node.weight.grid(weight.detach(), quant)


def distance(weight: Tensor, grid: Grid) -> Tensor:
    """The squared distances of a weight from its rounded values; 0 for elements off the grid."""
    rounded = grid.values(grid.numbers(weight.detach()))
    clipped = weight.clamp(grid.values(grid.low), grid.values(grid.high))
    return (rounded - clipped).square().sum(0).mean()
