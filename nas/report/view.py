"""The part of a plane of two figures that is shown: what matters fills the plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_MARGIN = 0.06  # of the span, on both sides
_FEW = 8.0  # a logarithmic axis of a smaller ratio has a tick at every digit


@dataclass(frozen=True)
class View:
    """The range of one axis.

    Attributes:
        kind: The type of the axis, "log" or "linear".
        low: The lowest value that is shown.
        high: The highest value that is shown.
    """

    kind: str
    low: float
    high: float

    @classmethod
    def on(cls, values: Sequence[float], *, log_from: float = 10.0) -> View:
        """The range that all values fill; from 0 to 1 for no values.

        Args:
            values: The values that must be seen.
            log_from: The ratio of the largest to the smallest value from which the axis is
                logarithmic, if all are positive.
        """
        if not values:
            return cls("linear", 0.0, 1.0)
        low, high = min(values), max(values)
        if low > 0 and high / low > log_from:
            margin = (high / low) ** _MARGIN
            return cls("log", low / margin, high * margin)
        margin = _MARGIN * (high - low) or 0.5 * abs(high) or 0.5
        return cls("linear", low - margin, high + margin)

    def holds(self, value: float) -> bool:
        """Whether a value is inside the range."""
        return self.low <= value <= self.high

    @property
    def axis(self) -> dict[str, Any]:
        """The settings of plotly for the range, whose ends are exponents on a logarithmic axis."""
        ends = [self.low, self.high]
        if self.kind == "linear":
            return {"type": "linear", "range": ends}
        digits = "D1" if self.high / self.low < _FEW else "D2"  # ticks at 1, 2, 3 ... or 1, 2, 5
        return {"type": "log", "range": [*map(math.log10, ends)], "dtick": digits}


def outside(points: Iterable[tuple[float, float]], across: View, up: View) -> int:
    """The number of points outside of a view of both axes."""
    return sum(not (across.holds(x) and up.holds(y)) for x, y in points)
