"""The error for limits that no picks keep."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class Unreachable(ValueError):
    """The error for limits that no picks keep, with the least costs that can be reached.

    Attributes:
        least: Name of a cost -> the least value that some picks reach; only costs whose limits are
            too low.
    """

    def __init__(self, limits: Mapping[str, float], least: Mapping[str, float]) -> None:
        self.least = MappingProxyType(dict(least))
        asked = ", ".join(f"{name} <= {limit:.10g}" for name, limit in limits.items())
        reached = ", ".join(f"{name} = {value:.10g}" for name, value in least.items())
        super().__init__(
            f"no picks are within {asked}; the least that can be reached is {reached}, so raise "
            "the limit, offer cheaper options, or begin with a smaller network"
        )
