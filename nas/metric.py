"""The words and the direction of a measured figure, for progress, tables, reports and errors."""

from __future__ import annotations

from dataclasses import dataclass


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

    @property
    def larger_is_better(self) -> bool:
        """Whether a larger figure is better."""
        return self.best is not None

    def figure(self, loss: float) -> float:
        """The figure of a network with this loss."""
        return loss if self.best is None else self.best - loss

    def loss(self, figure: float) -> float:
        """The loss of a network with this figure."""
        return self.figure(figure)

    def text(self, loss: float) -> str:
        """The figure of a network with this loss, with its unit, such as `97.25 %`."""
        return f"{self.figure(loss):.{self.digits}f} {self.unit}".rstrip()


ERROR = MetricWords("error", "%")
ACCURACY = MetricWords("accuracy", "%", best=100.0)
