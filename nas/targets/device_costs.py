"""The costs of a space on one device, which know the limits that the device itself sets."""

from __future__ import annotations

from collections.abc import Mapping

from nas.targets.network_costs import PopulationCost


class DeviceCosts(dict[str, PopulationCost]):
    """Name of a cost with unit -> the costs of genotypes, for one space on one device.

    Args:
        costs: The costs by name.
        limits: The hard upper limits that the device's memory sets, by name of the cost.
    """

    def __init__(self, costs: Mapping[str, PopulationCost], limits: Mapping[str, float]) -> None:
        super().__init__(costs)
        self.limits = dict(limits)
