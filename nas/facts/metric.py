"""The words and the direction of a measured figure, for progress, tables, reports and errors."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_DIGITS = 15


@dataclass(frozen=True)
class MetricWords:
    """The name, unit, digits and direction of one figure of a network.

    The engine minimises losses only. Where larger figures are better, such as accuracy, the loss is
    `best` less the figure: an accuracy of 97 % is an error of 3 %.

    Attributes:
        name: The name of the figure, in lower case unless the name is an abbreviation.
        unit: The unit, such as `%` or `dB`; empty without a unit.
        digits: The number of digits behind the point.
        best: The figure whose loss is 0, where larger figures are better; None where smaller ones
            are, so that the figure itself is the loss.
    """

    name: str
    unit: str = ""
    digits: int = 2
    best: float | None = None

    def __post_init__(self) -> None:
        if not self.name or not 0 <= self.digits <= _MOST_DIGITS:
            raise ValueError(
                f"a figure has a name and 0 to {_MOST_DIGITS} digits behind the point, given "
                f"{self.name!r} and {self.digits}"
            )

    @property
    def larger_is_better(self) -> bool:
        """Whether a larger figure is better."""
        return self.best is not None

    @property
    def heading(self) -> str:
        """The name with the unit, such as `accuracy (%)`."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def figure(self, loss: float) -> float:
        """The figure of a network with this loss."""
        return loss if self.best is None else self.best - loss

    def loss(self, figure: float) -> float:
        """The loss of a network with this figure."""
        return self.figure(figure)

    def text(self, loss: float) -> str:
        """The figure of a network with this loss, with its unit, such as `97.25 %`."""
        return f"{self.figure(loss):.{self.digits}f} {self.unit}".rstrip()

    def span(self, first: float, last: float) -> str:
        """The figures of two losses as a range without unit, the lower one first: `94.3 to 98.1`.

        One digit less than in `text` is told, since a range is no exact figure.
        """
        low, high = sorted((self.figure(first), self.figure(last)))
        digits = max(0, self.digits - 1)
        return f"{low:.{digits}f} to {high:.{digits}f}"

    def difference(self, value: float) -> str:
        """A difference of two figures with its unit; that of percentages is told in points."""
        points = "point" if value == 1 else "points"
        return f"{value:g} {self.unit.replace('%', points)}".rstrip()
