"""The result of `nas.fit`: policies of a user's network on every target, and the ones to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from nas.api.evaluated import costs_of
from nas.api.judging import Judge
from nas.api.network import Network
from nas.api.problem import Asked, Target, on_targets, several
from nas.api.searched import Searched
from nas.archive.archive import Archive
from nas.evaluation.evaluation import ERROR, Evaluation
from nas.evaluation.measurements import Measurements
from nas.facts.usage import Usage
from nas.files.durable import require_parent
from nas.own.calling import FileModule
from nas.own.choosing import MIXED, Picked, Timed, Wanted, picked
from nas.own.evaluator import HELD_OUT, Deploying
from nas.own.structure import kept_channels, ranks_in
from nas.own.tuned import made_from, making
from nas.own.usage import usage_texts
from nas.problem.goals import Goal
from nas.report.subnets import Reference
from nas.run.policies import about_choice, objection, uniform_references
from nas.targets.saturation import EightBitWeights
from search_spaces.graph import Graph
from search_spaces.notebook import html_table
from search_spaces.space import Genotype
from supernets.deployed import Deployed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Exported:
    """A file that was exported and run.

    Attributes:
        path: The file.
        figures: The searched figure, of the answers that the file gives.
    """

    path: Path
    figures: Mapping[str, float]


@dataclass(frozen=True, repr=False)
class Policy(Network):
    """The policy that a target gets.

    Attributes:
        name: The name of a uniform policy, such as `int8`, or `mixed`.
        verdict: A sentence on the policy beside the uniform ones.
        making: A sentence on its weights: tuned or not, and which rewrites made them.
        measured_ms: The latency of the whole network in ms, measured beside the uniform ones in one
            run; None where the target is not this machine.
        judge: Judges networks and files.
        deployed: The network as a device runs it.
        module: The network as a plain torch module, called like the user's own.
        weights: The type of 8-bit weights in files for the target.
    """

    name: str = MIXED
    verdict: str = ""
    making: str = ""
    measured_ms: float | None = None
    judge: Judge = field(kw_only=True)
    deployed: Deployed = field(kw_only=True)
    module: nn.Module = field(kw_only=True)
    weights: EightBitWeights = field(kw_only=True)

    def export(self, path: str | Path, *, usage: Usage | None = None) -> Exported:
        """Write the network to a file, run the file, and judge its answers.

        Args:
            path: The file; the suffix of its name tells the form, such as `.onnx`.
            usage: How raw data become inputs and what the output means, which the file states.
                By default, it states shapes, types and the range of the calibration samples.

        Raises:
            ValueError: The usage contradicts the inputs or the output of the network.
            ExportError: No form has this suffix, or the form cannot hold the network.
        """
        from nas.export import form_of

        path, form = Path(path), form_of(path).suited(self.weights)
        form.require()
        require_parent(path)
        told = {} if usage is None else usage_texts(self.deployed.graph, usage)
        form.write(replace(self.deployed, metadata={**self.deployed.metadata, **told}), path)
        opened = form.open(path, self.deployed.graph)
        names = tuple(op.name for op in self.deployed.graph.inputs.values())
        found = self.judge(FileModule(opened.run, names))
        figure = self.judge.words.figure(found.metrics[ERROR])
        return Exported(path, {self.judge.words.name: figure})


@dataclass(frozen=True, eq=False)
class Means:
    """What makes, judges and times the networks of a fit.

    Attributes:
        judge: Judges networks.
        deployment: Makes networks from genotypes.
        timed: Name of a target that is this machine -> measures whole networks.
        usage: What is known of inputs and output.
        rewrites: The names of the rewrites that make networks from the user's weights.
    """

    judge: Judge
    deployment: Deploying
    timed: Mapping[str, Timed]
    usage: Usage
    rewrites: tuple[str, ...]


class Fitted(Searched):
    """The policies of a user's network that were evaluated, and the one that each target gets.

    Attributes:
        judge: How networks are judged.
        deployment: Makes networks from genotypes.
        names: The names of the uniform policies.
        timed: Name of a target that is this machine -> measures whole networks.
        wanted: What is asked of the returned networks.
        samples: The numbers of samples by purpose.
        weights: The type of 8-bit weights in files for each target, by its name.
    """

    source = "a trained network in Python"

    def __init__(
        self,
        asked: Asked,
        archive: Archive,
        *,
        means: Means,
        names: Mapping[Genotype, str],
        wanted: Wanted,
        samples: Mapping[str, int],
        **options: Any,
    ) -> None:
        super().__init__(asked, archive, metric=means.judge.words, **options)
        self.archive, self.means, self.wanted, self.samples = archive, means, wanted, samples
        self.names, self.weights = names, asked.weights

    def best(
        self,
        target: str | None = None,
        *,
        limits: Mapping[str, float] | None = None,
        allowed_drop: float | None = None,
    ) -> Policy:
        """The policy that a target gets, from what is evaluated already.

        With `allowed_drop`, it is the cheapest that loses no more. With limits alone, it is the
        best within them, or the cheapest that only chance sets apart from the best. Without either,
        it is the cheapest that is as good as uniform int8. It is never a mixed policy that a
        uniform one dominates.

        Args:
            target: The name of a target; by default the only one.
            limits: Other limits on costs than those of the fit.
            allowed_drop: Another allowed drop than that of the fit.

        Raises:
            ValueError: No evaluated policy is within the limits and good enough; or there is no
                such target, or there are several and none is named.
        """
        goal = self._goal(target)
        if limits is not None:
            goal = replace(goal, limits=limits)
        wanted = Wanted(
            self.wanted.limits if limits is None else limits,
            self.wanted.allowed_drop if allowed_drop is None else allowed_drop,
        )
        found = self._picked(goal, wanted)
        if found is None:
            raise ValueError(self._none(goal, wanted.allowed_drop))
        return self._policy(found, self.weights.get(goal.name, "unsigned"))

    def _picked(self, goal: Goal, wanted: Wanted) -> Picked | None:
        """The policy for a goal; measured whole where the target is this machine."""
        timed = self.means.timed.get(goal.name)
        return picked(
            goal,
            self.measured,
            names=self.names,
            by=self.means.judge.by,
            wanted=wanted,
            alike=self.means.judge.alike,
            timed=timed if goal.objectives[0] == "latency_ms" else None,
        )

    def chosen(self, goal: Goal) -> Network | None:
        """The network that a target gets; None if none is good enough within the limits."""
        found = self._picked(goal, self.wanted)
        return None if found is None else self.networks_of([found.evaluation])[0]

    def references(self, goal: Goal) -> tuple[Reference, ...]:
        """The uniform policies."""
        return uniform_references(goal, self.measured, self.names)

    def notes(self, goal: Goal) -> tuple[str, ...]:
        """Sentences on the returned policy, and on the samples that calibrate and judge."""
        found = self._picked(goal, self.wanted)
        if found is None:
            return ()
        genotype = found.evaluation.genotype
        made = self._made(self.means.deployment(genotype), genotype)
        return tuple(about_choice(found, self.space, self.names, made=made, samples=self.samples))

    def on(
        self,
        targets: Target | Sequence[Target],
        *,
        limits: Mapping[str, float] | None = None,
        allowed_drop: float | None = None,
        objectives: str | Sequence[str] = "latency_ms",
    ) -> Fitted:
        """The same evaluations on other targets; nothing is measured again.

        Args:
            targets: Devices by name, by file or as objects. Networks that a device refuses are
                not within its limits.
            limits: Name of a cost -> its upper limit.
            allowed_drop: How much worse than the float network the returned one may be.
            objectives: The costs to minimise.

        Raises:
            ValueError: The targets or what is asked of them make no sense.
            TargetError: A target cannot be read, or lacks figures of a kernel.
        """
        asked = on_targets(self.space, targets, objectives=several(objectives), limits=limits or {})
        return Fitted(
            asked,
            self.archive,
            means=self.means,
            names=self.names,
            wanted=Wanted(limits or {}, allowed_drop),
            samples=self.samples,
            name=self.name,
            budget=self.budget,
            batch=self.batch,
            seed=self.seed,
        )

    def _policy(self, found: Picked, weights: EightBitWeights) -> Policy:
        genotype = found.evaluation.genotype
        network = self.networks_of([found.evaluation])[0]
        deployed = self.means.deployment(genotype)
        made = self._made(deployed, genotype)
        told = {**made, **self._told(genotype, deployed.graph)}
        return Policy(
            **{name: getattr(network, name) for name in Network.__dataclass_fields__},
            name=found.name,
            verdict=found.verdict,
            measured_ms=found.latency_ms.get(genotype),
            judge=self.means.judge,
            making=making(made),
            deployed=replace(deployed, metadata={**deployed.metadata, **told}),
            module=self.means.judge.calling.module(deployed.module()),
            weights=weights,
        )

    def _made(self, deployed: Deployed, genotype: Genotype) -> dict[str, str]:
        """Which weights a network has, and which rewrites made them."""
        return made_from(deployed, genotype, space=self.space, rewrites=self.means.rewrites)

    def _told(self, genotype: Genotype, graph: Graph) -> dict[str, str]:
        """The metadata of exported files."""
        return {
            **usage_texts(graph, self.means.usage),
            "run": self.name,
            "space": self.space.fingerprint,
            "genotype": ",".join(map(str, genotype)),
        }

    def _none(self, goal: Goal, drop: float | None) -> str:
        asked = f" at a drop of at most {drop:g}" if drop is not None else ""
        return (
            f"none of {len(self.measured)} evaluated policies is within the limits of "
            f"{goal.name!r}, {dict(goal.limits)},{asked}; raise the budget, the limits or the drop"
        )

    def figures_of(self, evaluation: Evaluation) -> dict[str, float]:
        """The searched figure first, and that of samples which the search did not see."""
        found = super().figures_of(evaluation)
        if HELD_OUT in found:
            found[HELD_OUT] = self.metric.figure(found[HELD_OUT])
        return found

    def _frame(self, goal: Goal, evaluations: Sequence[Evaluation]) -> pd.DataFrame:
        frame = super()._frame(goal, evaluations)
        names = [self.names.get(one.genotype, MIXED) for one in evaluations]
        frame.insert(0, "policy", names)
        costs = costs_of(goal, Measurements.of(evaluations, self.space))
        each = (dict(zip(costs, row, strict=True)) for row in zip(*costs.values(), strict=True))
        frame.insert(1, "objection", [objection(goal, one) for one in each])
        kept = [kept_channels(self.space, one.genotype) for one in evaluations]
        ranks = [ranks_in(self.space, one.genotype) for one in evaluations]
        for name, values in (
            ("channels_kept", kept),
            ("summed_ranks", [None if one is None else sum(one.values()) for one in ranks]),
        ):
            if any(value is not None for value in values):
                frame.insert(len(frame.columns) - 1, name, values)
        return frame

    def __repr__(self) -> str:
        targets = ", ".join(goal.name for goal in self.goals)
        return f"<Fitted {self.name!r}: {len(self)} policies; {targets}>"

    def _repr_html_(self) -> str:
        rows = [(goal.name, self.front(goal.name).to_html(index=False)) for goal in self.goals]
        return html_table(repr(self)[1:-1], ("target", "front"), rows)
