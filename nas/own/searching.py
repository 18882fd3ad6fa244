"""The search of policies: all uniform ones, then a searcher that knows what each layer loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.archive.archive import Archive
from nas.evaluation.evaluation import Evaluation
from nas.evaluation.workers import Workers
from nas.own.evaluator import PolicyEvaluator
from nas.own.remembering import Remembering
from nas.own.sensing import Sensed, SensedContext, sensed, study_of
from nas.problem.goals import Problem
from nas.search.context import Context
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
        workers: Who evaluates.
    """

    searcher: str
    budget: int
    batch: int
    seed: int
    workers: Workers = field(default_factory=Workers)


@dataclass(frozen=True, eq=False)
class Policies:
    """The policies of a network that are searched.

    Attributes:
        problem: The space and the devices.
        names: The names of the uniform policies.
        made: Makes networks from the user's weights; what these lose is measured.
        measure: Measures networks, those of tuned weights among them, and holds their maker.
        known: Evaluations in other spaces, see `Memory.known`.
        archive: Keeps what was measured.
        folder: The folder that keeps sensitivities.
    """

    problem: Problem
    names: Mapping[Genotype, str]
    made: PostTraining
    measure: PolicyEvaluator
    known: Mapping[str, Evaluation]
    archive: Archive
    folder: Path

    def search(self, effort: Effort, progress: Progress, display: Display) -> None:
        """Search within the effort; a stopped search goes on, and a finished one does nothing."""
        space, uniform = self.problem.space, [*self.names]
        budget = min(max(effort.budget, len(uniform)), space.size)
        context = self._sensed(display) if budget > len(uniform) else Context()
        proposing = searcher_named(effort.searcher, self.problem, seed=effort.seed, context=context)
        workers = effort.workers if len(self.archive) < budget else Workers()
        with (
            display.stage("search") as advance,
            workers.measuring(self.measure) as measure,
        ):

            def told(done: int, total: int, latest: Sequence[Evaluation]) -> None:
                advance(done, total, "policies")
                progress(done, total, latest)

            search(
                Offered(proposing, uniform),
                Remembering(measure, space, self.known),
                self.archive,
                budget=budget,
                batch=effort.batch,
                progress=told,
            )

    def _sensed(self, display: Display) -> Context:
        """What sensitivities tell; they are kept in the folder, for every device and budget."""
        with display.stage("measure") as advance:
            found = sensed(
                study_of(self.made),
                folder=self.folder,
                told=lambda done, total: advance(done, total, "what each layer loses"),
            )
        return SensedContext(Sensed.of(self.problem, found))
