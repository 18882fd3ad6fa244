"""Importance by what the layers that read a unit would miss, in closed form and without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from search_spaces.channel_groups import Coupling
from supernets.channels import rows_of_units
from supernets.deployed import Deployed
from supernets.post_training.reference import Reference
from supernets.slimming.readings import Reading, readings, weight_of
from supernets.slimming.sums import covariances

_RIDGE = 1e-3  # of the mean of the diagonal


def fidelity(reference: Reference, found: Coupling) -> Mapping[str, Tensor]:
    """The energy that a unit hands to the layers that read it, as a share of all that they get.

    This is the error of the layer's output where the unit is removed alone and nothing is repaired
    ("local reconstruction fidelity", ModHiFi).
    """
    cases = _cases(reference, found)
    return {
        name: torch.stack([case.energy() for case in here]).sum(0) for name, here in cases.items()
    }


def reconstruction(reference: Reference, found: Coupling) -> Mapping[str, Tensor]:
    """The error of the reading layers once a unit is removed, if they are repaired after each cut.

    Units are removed one after the other, always the one whose removal costs the least once the
    layers that read the group are fitted to the units that are left (backward elimination, in the
    closed form of Hassibi and Stork 1993, equation 5, for blocks of weights). The error is a share
    of the variance of the outputs, summed over the layers.
    """
    return {name: _eliminated(here) for name, here in _cases(reference, found).items()}


@dataclass(eq=False)
class _Case:
    """A layer that reads a group: a matrix product with columns that belong to units.

    Attributes:
        weight: `(out, columns)`, the weight, fitted to the units that are left.
        covariance: `(columns, columns)`, that of the columns.
        inverse: The inverse of the covariance of the columns that are left.
        columns: `(count, n)`, the columns of each unit.
        scale: The variance of the outputs, summed.
    """

    weight: Tensor
    covariance: Tensor
    inverse: Tensor
    columns: Tensor
    scale: Tensor

    @classmethod
    def of(cls, network: Deployed, reading: Reading, group: str, covariance: Tensor) -> _Case:
        weight = weight_of(network, reading.address)
        columns = torch.arange(weight[0].numel()).view(weight.shape[1:])
        units = rows_of_units(replace(reading.along, axes=(0,)), columns, group)
        flat = weight.flatten(1).double()
        scale = ((flat @ covariance) * flat).sum().clamp(min=torch.finfo(torch.float32).tiny)
        ridge = _RIDGE * covariance.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
        inverse = torch.linalg.inv(covariance + ridge * torch.eye(len(covariance)))
        return cls(flat, covariance, inverse, units, scale)

    def energy(self) -> Tensor:
        """The error of the outputs without each unit, if nothing is repaired, `(count,)`."""
        parts = self.weight[:, self.columns].movedim(1, 0)  # (count, out, n)
        return ((parts @ self._blocks(self.covariance)) * parts).sum((1, 2)) / self.scale

    def costs(self) -> Tensor:
        """The error of the outputs without each unit, if the others are fitted, `(count,)`."""
        parts = self.weight[:, self.columns].movedim(1, 0)
        solved = torch.linalg.solve(self._blocks(self.inverse), parts.mT)
        return (parts.mT * solved).sum((1, 2)) / self.scale

    def remove(self, unit: int) -> None:
        """Remove a unit, and fit the weights of all others."""
        gone = self.columns[unit]
        rows, block = self.inverse[gone], self.inverse[gone][:, gone]
        solved = torch.linalg.solve(block, rows)
        self.weight = self.weight - self.weight[:, gone] @ solved
        self.inverse = self.inverse - rows.mT @ solved
        self.inverse[gone, gone] = 1.0  # so that the blocks of removed units can still be solved

    def _blocks(self, matrix: Tensor) -> Tensor:
        """The part of a matrix that belongs to each unit, `(count, n, n)`."""
        return matrix[self.columns[:, :, None], self.columns[:, None, :]]


def _cases(reference: Reference, found: Coupling) -> dict[str, list[_Case]]:
    network = reference.network
    places = readings(network, found)
    held = covariances(reference, {one.address for here in places.values() for one in here})
    cases = {
        name: [
            _Case.of(network, one, name, held[one.address]) for one in here if one.address in held
        ]
        for name, here in places.items()
    }
    return {name: here for name, here in cases.items() if here}


def _eliminated(cases: list[_Case]) -> Tensor:
    """The error, summed up, at which each unit is removed, `(count,)`."""
    count = len(cases[0].columns)
    scores, left, total = torch.zeros(count, dtype=torch.float64), [*range(count)], 0.0
    while left:
        costs = torch.stack([case.costs() for case in cases]).sum(0)[left]
        place = int(costs.argmin())
        total += float(costs[place])
        unit = left.pop(place)
        scores[unit] = total
        for case in cases:
            case.remove(unit)
    return scores
