"""The result of a search in Python: its networks, fronts, plots and report."""

from __future__ import annotations

from nas.api.network import Network
from nas.api.searched import Searched
from search_spaces.notebook import html_table


class Study(Searched):
    """The networks that a search has evaluated so far, and what follows from them.

    `nas.search` makes it. Callbacks get it while the search goes on.
    """

    @property
    def best(self) -> Network:
        """The network of the lowest error within the limits of the search's only target.

        Of several targets, `best_on` tells that of each.

        Raises:
            ValueError: No network is within the limits yet, or the search has several targets.
        """
        return self.best_on(None)

    def best_on(self, target: str | None) -> Network:
        """The network of the lowest error within the limits of a target; of equals the cheapest.

        Raises:
            ValueError: No network is within the limits yet; or the search has no such target, or
                several and None is given.
        """
        goal = self._goal(target)
        if (found := self.chosen(goal)) is None:
            raise ValueError(
                f"none of {len(self.measured)} evaluated networks is within the limits of "
                f"{goal.name!r}, {dict(goal.limits)}; raise the budget or the limits"
            )
        return found

    def __repr__(self) -> str:
        targets = ", ".join(goal.name for goal in self.goals)
        return f"<Study {self.name!r}: {len(self)} of {self.budget} networks; {targets}>"

    def _repr_html_(self) -> str:
        best = {goal.name: self.chosen(goal) for goal in self.goals}
        rows = [
            (name, "none within the limits" if one is None else one) for name, one in best.items()
        ]
        return html_table(repr(self)[1:-1], ("target", "best network"), rows)
