"""The costs of a run's search space on its targets, each target compiled once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from nas.problem.goals import ArrayCost
from nas.targets import HardwareTarget
from search_spaces import costs
from search_spaces.space import SearchSpace


class TargetCosts:
    """The costs of all networks of a space, compiled for each target at the first use.

    Args:
        space: The space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._known: dict[HardwareTarget, Mapping[str, ArrayCost]] = {}

    @cached_property
    def shared(self) -> Mapping[str, ArrayCost]:
        """The costs that every target shares: `macs`, `bitops`, `model_bytes`."""
        kernels = costs.SpaceKernels(self._space)
        shared = {"macs": costs.macs, "bitops": costs.bitops, "model_bytes": costs.model_bytes}
        return {name: kernels.compile(cost) for name, cost in shared.items()}

    def on(self, target: HardwareTarget) -> Mapping[str, ArrayCost]:
        """The costs on `target`, including the shared costs, by name with unit.

        Raises:
            TargetError: The target lacks figures for the space, see `HardwareTarget.lacking`.
        """
        if target not in self._known:
            self._known[target] = {**self.shared, **target.compile(self._space)}
        return self._known[target]
