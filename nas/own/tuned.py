"""A user's network after a few epochs, and networks made from these weights or those before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from nas.evaluation.evaluation import ERROR
from nas.own.evaluator import Judged, Judging, PolicyEvaluator
from nas.own.lessons import Lesson
from nas.own.network import OwnNetwork
from nas.own.remembering import journal_in
from nas.own.structure import kept_channels, ranks_in
from nas.own.uniform import FLOAT
from nas.terminal.display import Display
from search_spaces.compensation import without_branches
from search_spaces.space import Genotype, SearchSpace
from supernets.deploy import Deployment
from supernets.deployed import Deployed
from supernets.post_training import PostTraining
from supernets.training.fine_tune import Imitated, Imitation, fine_tune

WEIGHTS, TUNED, OWN = "weights", "tuned", "as given"
"""A key of the metadata of networks, and its values: which weights a network was made from."""
REWRITES, NONE = "rewrites", "none"
"""A key of the metadata of networks: which rewrites made it from the user's weights, or `NONE`."""
_STATE = "tuning.safetensors"


def tuned(
    network: OwnNetwork, space: SearchSpace, lesson: Lesson, folder: Path, display: Display
) -> OwnNetwork:
    """The network with what became of it in a few epochs, beside its own weights.

    All widths and precisions of the space learn together. Branches of low rank are left out, since
    rewrites fill them. A tuning that was stopped continues from its checkpoint in the folder.

    Args:
        network: The network, its norms folded.
        space: The space of the networks that are to be made.
        lesson: What it learns from.
        folder: The folder that keeps the checkpoint, one for each space.
        display: Shows the progress.

    Raises:
        TrainingDiverged: The training diverges a second time.
        CheckpointError: The checkpoint is damaged, or is of another training or of other weights.
    """
    data = lesson.data
    if isinstance(lesson.criterion, Imitation):
        data = Imitated(data, network.held.module())
    state = journal_in(folder, space, tuned=True).with_name(_STATE)
    state.parent.mkdir(exist_ok=True)
    with display.stage("tune") as advance:

        def told(step: int, total: int, losses: Mapping[str, float]) -> None:
            advance(step, total, f"loss {losses['largest']:.3g}")

        found = fine_tune(
            SearchSpace(without_branches(space.graph), name=space.name),
            network.held.tensors,
            data,
            lesson.settings,
            criterion=lesson.criterion,
            state_path=state,
            progress=told,
        )
    return replace(network, tuned=found.supernet)


@dataclass(frozen=True, eq=False)
class BetterOf:
    """A maker of networks from tuned or from the user's own weights, so that no tuning does harm.

    Each network is made from both and gets the weights with which its error is smaller. Tuned ones
    are deployed with the steps of their quantizers, which learnt too; they have no branches of low
    rank. The policy in full precision is the user's network itself, beside which an allowed drop is
    counted.

    Attributes:
        tuned: Makes networks from the tuned weights.
        own: Makes networks from the user's weights.
        names: The names of the uniform policies.
        judge: Judges networks.
    """

    tuned: Deployment
    own: PostTraining
    names: Mapping[Genotype, str]
    judge: Judging

    def __call__(self, genotype: Genotype) -> Deployed:
        """The network that a device runs; its metadata tell which weights it has."""
        return self.weighed(genotype)[0]

    def weighed(self, genotype: Genotype) -> tuple[Deployed, Judged]:
        """The better network, and what is found of it."""
        made = [self._marked(self.own(genotype), OWN)]
        if self.names.get(genotype) != FLOAT and not ranks_in(self.own.space, genotype):
            column, tuned = self.own.space.column, self.tuned.supernet.space
            picks = [genotype[column[name]] for name in tuned.column]
            made.append(self._marked(self.tuned(tuned.canonical(picks)), TUNED))
        found = [(one, self.judge(one.module())) for one in made]
        return min(found, key=lambda each: each[1].metrics[ERROR])

    @property
    def given(self) -> Iterable[Tensor]:
        """The tensors of the user's network and of the samples, to which nobody writes."""
        return self.own.given

    def _marked(self, deployed: Deployed, kind: str) -> Deployed:
        return replace(deployed, metadata={**deployed.metadata, WEIGHTS: kind})


@dataclass(frozen=True, eq=False)
class WeighingEvaluator(PolicyEvaluator):
    """An evaluator of policies that are made from two kinds of weights, each judged once."""

    deployment: BetterOf

    def found(self, genotype: Genotype) -> Judged:
        """What is found of the better network."""
        return self.deployment.weighed(genotype)[1]


def made_from(
    deployed: Deployed, genotype: Genotype, *, space: SearchSpace, rewrites: Sequence[str]
) -> dict[str, str]:
    """Which weights a network was made from, and by which rewrites, as metadata of files.

    Args:
        deployed: The network.
        genotype: Its genotype.
        space: The space of the networks.
        rewrites: The names of the rewrites that make networks from the user's weights.
    """
    kind = deployed.metadata.get(WEIGHTS, OWN)
    ops = [node.op for node in space.decode(genotype).nodes.values()]
    same = (
        all(op.weight is None and op.activation is None for op in ops)
        and (kept_channels(space, genotype) or 1) == 1
        and not ranks_in(space, genotype)
    )
    return {WEIGHTS: kind, REWRITES: NONE if same or kind == TUNED else ", ".join(rewrites)}


def making(made: Mapping[str, str]) -> str:
    """A sentence on what `made_from` found."""
    if made[WEIGHTS] == TUNED:
        return (
            "Its weights are tuned: they learnt in a few epochs, together with the steps by which "
            "they are rounded."
        )
    if made[REWRITES] == NONE:
        return "Its weights are those of your network, unchanged."
    return f"Its weights are those of your network, not tuned but rewritten: {made[REWRITES]}."


def evaluator_for(
    network: OwnNetwork,
    made: PostTraining,
    names: Mapping[Genotype, str],
    *,
    judge: Judging,
    seed: int,
) -> PolicyEvaluator:
    """The evaluator of the policies of a network, which also holds the maker of what ships.

    Args:
        network: The user's network.
        made: The maker of networks from the user's weights, see `OwnNetwork.deployment`.
        names: The names of the uniform policies.
        judge: Judges networks.
        seed: The seed of the search.
    """
    if network.tuned is None:
        return PolicyEvaluator(made, judge, seed)
    better = BetterOf(Deployment(network.tuned, network.batches()), made, names, judge)
    return WeighingEvaluator(better, judge, seed)
