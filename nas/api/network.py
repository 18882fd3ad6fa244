"""One evaluated network as a search in Python tells it, and one that could not be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.notebook import html_table
from search_spaces.picks import Picks
from search_spaces.space import Genotype

_SHOWN = 6


@dataclass(frozen=True, repr=False)
class Network:
    """One evaluated network.

    Attributes:
        genotype: The option index of every choice.
        picks: The picks of open choices as plain values.
        metrics: The figures that the objective returned, the searched one first.
        costs: The costs on each target, by the target's name.
        seconds: The seconds that its evaluation took.
    """

    genotype: Genotype
    picks: Picks
    metrics: Mapping[str, float]
    costs: Mapping[str, Mapping[str, float]]
    seconds: float

    def _figures(self, costs: int | None) -> dict[str, str]:
        """The metrics and the first `costs` costs of each target, all of them for None, as text."""
        several = len(self.costs) > 1
        figures = dict(self.metrics)
        for target, known in self.costs.items():
            for name, value in [*known.items()][:costs]:
                figures[f"{target} {name}" if several else name] = value
        return {name: f"{value:.4g}" for name, value in figures.items()}

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value}" for name, value in self._figures(1).items())
        picks = [f"{name}={value}" for name, value in self.picks.items()]
        left = [f"and {len(picks) - _SHOWN} more"] if len(picks) > _SHOWN else []
        return f"<Network {figures}: {', '.join([*picks[:_SHOWN], *left])}>"

    def _repr_html_(self) -> str:
        rows = [*self._figures(None).items(), *self.picks.items()]
        return html_table("An evaluated network", ("", ""), rows)


@dataclass(frozen=True)
class Failure:
    """A network that could not be evaluated, and the reason in words."""

    picks: Picks
    reason: str
