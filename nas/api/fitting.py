"""`nas.fit`: a user's trained network, made smaller and faster for each of several devices."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from nas.api.fitted import Fitted, Means
from nas.api.judging import Evaluate, Judge, words_of
from nas.api.problem import Asked, Target, asked_for, several
from nas.api.searching import Callback, Progress, Stopped, in_words, require_numbers
from nas.evaluation.workers import Workers
from nas.facts.metric import MetricWords
from nas.own.calling import Calling
from nas.own.choosing import Wanted
from nas.own.distance import Distance
from nas.own.formats import opening_for
from nas.own.lessons import Lesson, lesson_of
from nas.own.model import require_layers, require_model
from nas.own.network import OwnNetwork, traced
from nas.own.options import Channels, Ranks, Tuning
from nas.own.remembering import Memory
from nas.own.samples import samples_of
from nas.own.searching import Effort, Policies
from nas.own.structure import Structure
from nas.own.tuned import evaluator_for, tuned
from nas.own.uniform import uniform_names
from nas.own.usage import usage_of
from nas.own.whole import WholeNetworks
from nas.parts import Parts
from nas.problem.goals import Goal
from nas.run.plan import THIS_CPU
from nas.run.steps.this_machine import table_of_this_machine
from nas.targets import HardwareTarget, legal, load_target
from nas.terminal.display import Display, Silent
from search_spaces.opening import Opening
from search_spaces.space import SearchSpace

_LEAST, _MOST = 8, 1024
_NETWORKS = 10  # whole networks that correct sums of kernels of this machine, as in a recipe
_SHARES = (0.5, 0.25)  # of the samples: to calibrate, to search by; the others judge in the end


def fit(
    model: nn.Module,
    *,
    calibration: object,
    evaluate: Evaluate | None = None,
    confirm: Evaluate | None = None,
    targets: Target | Sequence[Target] = THIS_CPU,
    limits: Mapping[str, float] | None = None,
    allowed_drop: float | None = None,
    objectives: str | Sequence[str] = "latency_ms",
    metric: str | MetricWords | None = None,
    keep: str | Sequence[str] = (),
    opening: Opening | None = None,
    channels: Channels | Sequence[float] | None = None,
    ranks: Ranks | Sequence[int] | None = None,
    epochs: Tuning | int = 0,
    rewrites: Sequence[str] | None = None,
    samples: int | None = None,
    budget: int = 60,
    batch: int = 10,
    searcher: str = Parts("searcher").default,
    seed: int = 0,
    storage: str | Path | None = None,
    name: str = "fit",
    workers: int = 0,
    timeout: float | None = None,
    callbacks: Sequence[Callback] = (),
    display: Display | None = None,
) -> Fitted:
    """Search the policies of a trained network for the best trade of quality and cost.

    The network is traced, its weights and activations choose their formats, and where that is asked
    for, its layers choose their widths and branches of low rank. Each policy is made without
    training, or after a few epochs for all: ranges are set and errors corrected on calibration
    samples. Every uniform policy is evaluated first. The same call with the same `storage`
    measures nothing again.

    Args:
        model: The network, on the CPU and in evaluation mode; it is not changed.
        calibration: A loader of batches as the network takes them, labels behind them or not.
        evaluate: A function of a network, called like `model`, that returns a figure; without it,
            the distance to the outputs of `model` on samples of the loader is minimised.
        confirm: The same figure on samples that the search does not see; the returned network is
            chosen by it.
        targets: Devices by name, by file or as objects.
        limits: Name of a cost -> its upper limit.
        allowed_drop: How much worse than `model` the returned network may be, in the unit of the
            figure.
        objectives: The costs to minimise.
        metric: The name of the figure, which is then better when larger, or its words.
        keep: The names of layers that are left alone, in full precision, such as `layer4.1`.
        opening: Which formats weights and activations may have.
        channels: The shares of its channels that a layer may keep, such as `(0.5, 0.75)`, or
            `Channels` with further options; all channels are always an option.
        ranks: The ranks of branches beside layers, such as `(0, 4)`, or `Ranks`.
        epochs: The number of epochs in which the weights learn all that is searched, or `Tuning`
            with a loss of your own. 0 trains nothing.
        rewrites: The names of the rewrites that make a network, in this order; those that fit what
            is asked for if left out.
        samples: The most samples that are read; by default 1,024, and fewer of a network with many
            multiply-accumulates. Half of them calibrate, a quarter guides the search, and a
            quarter judges in the end.
        budget: The number of policies to evaluate, with those in `storage`.
        batch: The number of policies that are proposed together.
        searcher: The name of the searcher.
        seed: The seed of all proposals.
        storage: A folder for evaluations and for measurements of this machine.
        name: The name of the search in `storage` and in its report.
        workers: The number of processes that evaluate, by Ray; 0 evaluates in this process.
        timeout: The seconds after which no further evaluation begins.
        callbacks: Functions of the result so far and of the policies just evaluated.
        display: Where to show progress; nowhere by default.

    Raises:
        OwnModelError: The network, its data or its metric cannot be used.
        EvaluationError: `evaluate` failed, or returned something that is no figure.
        ValueError: Something else that was given makes no sense.
        TargetError, ConstraintError, ArchiveError, PartError, ClusterError: As their classes say.
    """
    require_numbers(budget=budget, batch=batch, seed=seed, workers=workers, timeout=timeout)
    wanted, loaded = Wanted(limits or {}, allowed_drop), loaded_targets(targets)
    shown, model = display or Silent(), require_model(model)
    alone, change = require_layers(model, several(keep)), Structure.of(channels, ranks, rewrites)
    tuning, how = Tuning.of(epochs), change.rewrites
    network = _read(model, calibration, samples, rewrites=how, folded=tuning is not None)
    lesson = lesson_of(tuning, model, network.calibration)
    judging = words_of(metric, evaluate, model), evaluate, confirm
    effort = Effort(searcher, budget, batch, seed, Workers(workers))
    wish = _Wish(change, lesson, judging, several(objectives), wanted, effort)
    space = wish.space(network, loaded, opening=opening, alone=alone, name=name)
    with _folder(storage) as folder:
        fitted, policies = _begun(network, space, loaded, folder=folder, wish=wish, display=shown)
        _search(policies, effort, Progress(fitted, callbacks, timeout), shown)
    return fitted


@dataclass(frozen=True, eq=False)
class _Wish:
    """What may change, how it is judged, what is asked for, and how much may be tried."""

    structure: Structure
    lesson: Callable[[Calling], Lesson] | None
    judging: tuple[MetricWords, Evaluate | None, Evaluate | None]
    objectives: tuple[str, ...]
    wanted: Wanted
    effort: Effort

    @property
    def costs(self) -> tuple[str, ...]:
        """The names of all costs that are minimised or limited."""
        return (*self.objectives, *self.wanted.limits)

    def space(
        self,
        network: OwnNetwork,
        targets: Sequence[HardwareTarget | Goal],
        *,
        opening: Opening | None,
        alone: Sequence[str],
        name: str,
    ) -> SearchSpace:
        """What may change in a network, after a look at whether the workers can be had."""
        self.effort.workers.check()
        graph, devices = network.graph, _devices(targets)
        made = opening or opening_for(graph, devices, costs=self.costs, alone=alone)
        return self.structure.space(graph, made, devices, name=name)

    def asked(self, space: SearchSpace, devices: Sequence[HardwareTarget | Goal]) -> Asked:
        """The problem on some devices; errors as `asked_for` says."""
        limits, seed = self.wanted.limits, self.effort.seed
        asked = asked_for(space, devices, objectives=self.objectives, limits=limits, seed=seed)
        if asked.measured and self.judging[1] is None:
            raise ValueError(
                f"no target tells {', '.join(asked.measured)}, given in objectives or limits; name "
                f"{', '.join(sorted(asked.problem.goals[0].computed.costs))}, or give `evaluate` a "
                "function that returns such a figure"
            )
        return asked

    def judge(self, network: OwnNetwork) -> Judge:
        """The judge of the networks made from the user's."""
        seen, unseen = (Distance(network.model, part) for part in network.judging)
        words, evaluate, confirm = self.judging
        return Judge(network.calling, words, seen, unseen, evaluate, confirm)


def _begun(
    network: OwnNetwork,
    space: SearchSpace,
    targets: Sequence[HardwareTarget | Goal],
    *,
    folder: Path,
    wish: _Wish,
    display: Display,
) -> tuple[Fitted, Policies]:
    """The result of a fit before its search, and what is searched."""
    devices = [measured_target(one, space, folder, display=display) for one in targets]
    asked = wish.asked(space, devices)
    network = wish.structure.applied(network, folder, display)
    if wish.lesson is not None:
        lesson = wish.lesson(network.calling)
        network = tuned(network, asked.problem.space, lesson, folder, display)
    judge = wish.judge(network)
    policies = _policies(network, asked, folder, judge=judge, seed=wish.effort.seed)
    fitted = _fitted(network, policies, asked, judge=judge, wanted=wish.wanted, effort=wish.effort)
    return fitted, policies


def _read(
    model: nn.Module, loader: object, samples: int | None, *, rewrites: Sequence[str], folded: bool
) -> OwnNetwork:
    """The network after tracing, with at most so many samples; None lets its size decide."""
    if samples is not None and samples < _LEAST:
        raise ValueError(
            f"samples is at least {_LEAST}: some calibrate, some guide the search, and some "
            f"judge, given {samples}"
        )
    read = samples_of(loader, model, most=_MOST if samples is None else samples, least=_LEAST)
    network = traced(model, *read.parted(_SHARES), rewrites=rewrites, folded=folded)
    return network.with_few_samples() if samples is None else network


def _search(policies: Policies, effort: Effort, progress: Progress, display: Display) -> None:
    with contextlib.suppress(Stopped):
        policies.search(effort, progress, display)


def _devices(targets: Sequence[HardwareTarget | Goal]) -> list[HardwareTarget]:
    return [one for one in targets if isinstance(one, HardwareTarget)]


def _policies(
    network: OwnNetwork, asked: Asked, folder: Path, *, judge: Judge, seed: int
) -> Policies:
    """The policies to search, with the evaluations that the folder holds already."""
    space = asked.problem.space
    memory = Memory(
        folder, space.name, network.digest, in_words(judge.words), tuned=network.tuned is not None
    )
    made, names = network.deployment(space), uniform_names(space)
    measure = evaluator_for(network, made, names, judge=judge, seed=seed)
    return Policies(
        asked.problem,
        names,
        made,
        measure,
        memory.known(but=space),
        memory.archive(space),
        folder,
    )


def _fitted(
    network: OwnNetwork,
    policies: Policies,
    asked: Asked,
    *,
    judge: Judge,
    wanted: Wanted,
    effort: Effort,
) -> Fitted:
    """The result of a fit before its search."""
    space, made = policies.problem.space, policies.measure.deployment
    purposes = ("calibration", "search", "judging")
    weights = asked.weights.get(THIS_CPU, "unsigned")
    usage = usage_of(network.graph, network.calibration)
    whole = WholeNetworks(made, space, policies.folder / "whole.json", weights)
    return Fitted(
        asked,
        policies.archive,
        means=Means(judge, made, {THIS_CPU: whole}, usage, network.rewrites),
        names=policies.names,
        wanted=wanted,
        samples=dict(zip(purposes, map(len, (network.calibration, *network.judging)), strict=True)),
        name=space.name,
        budget=effort.budget,
        batch=effort.batch,
        seed=effort.seed,
    )


def loaded_targets(targets: Target | Sequence[Target]) -> list[HardwareTarget | Goal]:
    """The targets as objects; that of this machine may still lack its table."""
    given = [targets] if isinstance(targets, Target) else list(targets)
    if not given:
        raise ValueError("a fit needs at least one target; `nas.targets.available()` lists some")
    return [load_target(str(one)) if isinstance(one, str | Path) else one for one in given]


def measured_target(
    target: HardwareTarget | Goal, space: SearchSpace, folder: Path, *, display: Display
) -> HardwareTarget | Goal:
    """A target, and that of this machine with a table that is measured in the folder of the fit."""
    if not isinstance(target, HardwareTarget) or target.name != THIS_CPU:
        return target
    if target.lacking(space) is None:
        return target
    table = folder / f"{THIS_CPU}.csv"
    found = legal(space, [target])
    return table_of_this_machine(found, table, networks=_NETWORKS, display=display)


@contextlib.contextmanager
def _folder(storage: str | Path | None) -> Iterator[Path]:
    """A context with the folder of a fit; without a storage, one that is removed again."""
    if storage is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    path = Path(storage)
    if path.exists() and not path.is_dir():
        raise ValueError(f"storage is a folder, and {path} is a file; name another path")
    path.mkdir(parents=True, exist_ok=True)
    yield path
