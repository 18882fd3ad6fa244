"""The search of policies: all uniform ones, those of least summed sensitivity, then a searcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.archive.archive import Archive
from nas.evaluation.evaluation import Evaluation, Evaluator
from nas.own.seeding import first_policies
from nas.own.sensitivities import Sensitivities
from nas.problem.goals import Problem
from nas.search.loop import Progress, search
from nas.search.named import searcher_named
from nas.search.offered import Offered
from nas.terminal.display import Display
from search_spaces.space import Genotype
from supernets.post_training import PostTraining


@dataclass(frozen=True)
class Effort:
    """How a search of policies goes on.

    Attributes:
        searcher: The name of the searcher.
        budget: The number of policies to evaluate; all uniform ones in any case.
        batch: The number of policies that are proposed together.
        seed: The seed of all proposals.
    """

    searcher: str
    budget: int
    batch: int
    seed: int


@dataclass(frozen=True, eq=False)
class Policies:
    """The policies of a network that are searched.

    Attributes:
        problem: The space and the devices.
        names: The names of the uniform policies.
        made: Makes the networks.
        evaluator: Measures them.
        archive: Keeps what was measured.
        network: A digest of the network and its samples.
        folder: The folder that keeps sensitivities.
    """

    problem: Problem
    names: Mapping[Genotype, str]
    made: PostTraining
    evaluator: Evaluator
    archive: Archive
    network: str
    folder: Path

    def search(self, effort: Effort, progress: Progress, display: Display) -> None:
        """Search within the effort; a stopped search goes on, and a finished one does nothing."""
        space = self.problem.space
        proposing = searcher_named(effort.searcher, self.problem, seed=effort.seed)
        budget = min(max(effort.budget, len(self.names)), space.size)
        first = self._first(budget - len(self.names), display)
        with display.stage("search") as advance:

            def told(done: int, total: int, latest: Sequence[Evaluation]) -> None:
                advance(done, total, "policies")
                progress(done, total, latest)

            search(
                Offered(proposing, first),
                self.evaluator,
                self.archive,
                budget=budget,
                batch=effort.batch,
                progress=told,
            )

    def _first(self, left: int, display: Display) -> list[Genotype]:
        """The policies to begin with; half of those that are not uniform are allocated ones."""
        if left < 2:
            return [*self.names]
        kept = Sensitivities(self.folder / "sensitivities.json", self.network)
        with display.stage("measure") as advance:
            found = kept.of(
                self.problem.space,
                self.made,
                lambda done, total: advance(done, total, "what each layer loses"),
            )
        return first_policies(
            self.problem.space,
            self.problem.goals,
            uniform=[*self.names],
            sensitivities=found,
            most=left // 2,
        )
