"""The search step: the searcher, the evaluator, and the archive of a run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from nas.archive.archive import Archive
from nas.evaluation.answers import STEPS
from nas.evaluation.cluster import RayEvaluator
from nas.evaluation.evaluation import Evaluation, StoppingEvaluator
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.run.measuring import BATCH, deployment_of
from nas.run.plan import Plan
from nas.run.probing import Probe, probed
from nas.run.run_archive import run_archive
from nas.run.steps.training import device_of
from nas.search.differentiable import Differentiable, Exchange
from nas.search.early_stop import EarlyStopping, unsettled
from nas.search.guided import Guided, Settings, default_columns
from nas.search.loop import Wait, search, search_asynchronously
from nas.search.named import SEARCHERS
from nas.search.searcher import Searcher
from nas.terminal.display import Display
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess
from predictors.predictor import Predictor
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from supernets.deploy import on_device
from supernets.exchange import exchanged
from supernets.supernet import Supernet

_DRAWN = 128


def archive_of(plan: Plan) -> Archive:
    """The run's archive, made if missing."""
    return run_archive(plan.files, plan.space, plan.recipe.model_dump(mode="json"))


def searched(plan: Plan, supernet: Supernet, display: Display) -> Archive:
    """The archive with as many evaluations as the recipe's budget allows."""
    archive, settings = archive_of(plan), plan.recipe.search
    probe = probed(plan, supernet, display) if settings.proxies else None
    if plan.experience is not None:
        plan.experience.keep(plan.files.transfer)
    searcher = searcher_of(plan, supernet, probe)
    if not settings.budget:
        return archive
    budget = within_space(plan.space, settings.budget, known=settings.known, display=display)
    if budget:
        _search(plan, supernet, searcher, archive, budget=budget, display=display)
    _settle(plan, supernet, archive, display)
    return archive


def within_space(space: SearchSpace, budget: int, *, known: int = 0, display: Display) -> int:
    """The budget, or the number of networks of a smaller space without those `known`.

    A reduced budget is shown on the display.
    """
    left = space.size - known
    if left < budget:
        display.say(
            f"Every network of the space is evaluated, {left} beside {known} that are known: "
            f"a budget of {budget} is more than it needs."
        )
    return min(budget, left)


def _search(
    plan: Plan,
    supernet: Supernet,
    searcher: Searcher,
    archive: Archive,
    *,
    budget: int,
    display: Display,
) -> None:
    settings = plan.recipe.search
    with evaluator_of(plan, supernet) as evaluate, display.stage("search") as advance:
        best = float(archive.measurements().losses.min(initial=np.inf))

        def progress(done: int, budget: int, latest: Sequence[Evaluation]) -> None:
            nonlocal best
            best = min([best, *(evaluation.error for evaluation in latest)])
            advance(done, budget, f"lowest validation error {best:.2f} %")

        proposing, measuring = searcher, evaluate
        if settings.early_stop:
            proposing = measuring = EarlyStopping(plan.problem, searcher, evaluate)
        if plan.recipe.asynchronous:
            how = functools.partial(search_asynchronously, known=settings.known)
        else:
            proposing.tell(archive.told()[: settings.known])
            how = functools.partial(search, batch=settings.batch)
        how(proposing, measuring, archive, budget=budget, progress=progress)


def _settle(plan: Plan, supernet: Supernet, archive: Archive, display: Display) -> None:
    """Evaluate the members of the front on all images, including those held back from the search.

    The best of many noisy errors are partly luck. When these errors rise, other subnets come onto
    the front, so the step repeats until all members have been shown all images.
    """
    images = _whole(plan) + plan.recipe.search.confirm_samples
    if not unsettled(plan.problem, archive.measurements(), images):
        return
    with (
        archive.reserving(),
        evaluator_of(plan, supernet, more=plan.recipe.search.confirm_samples) as evaluate,
        display.stage("confirm") as advance,
    ):
        done, wait = 0, Wait()
        while left := unsettled(plan.problem, archive.measurements(), images):
            mine, total = archive.reserve(left, images=images), done + len(left)
            for arrived in evaluate(mine):
                archive.append(*arrived)
                done += len(arrived)
                advance(done, total, f"front members on {images} images")
            if not mine:
                wait(archive)


def searcher_of(plan: Plan, supernet: Supernet, probe: Probe | None) -> Searcher:
    """The searcher that the recipe names."""
    name, seed = plan.recipe.search.searcher, plan.recipe.search.seed_or(plan.recipe.seed)
    if name == "differentiable":
        return Differentiable(plan.problem, seed=seed, exchange=exchange_of(plan, supernet))
    if name != "guided":
        return SEARCHERS[name](plan.problem, seed)
    initial = None if probe is None else probe.first(plan, Settings().initial)
    if plan.experience is not None:
        rng = np.random.default_rng([plan.recipe.seed, 2])
        initial = as_genotypes(plan.experience.first(plan.problem, Settings().initial, rng=rng))
    if plan.recipe.search.known:  # what is known already tells more than any first batch
        initial = ()
    predictor = predictor_of(plan, probe)
    return Guided(plan.problem, seed=seed, predictor=predictor, initial=initial)


def predictor_of(plan: Plan, probe: Probe | None) -> Predictor:
    """The predictor of errors for `guided`, from picks, costs, the probe and other runs."""
    columns = default_columns(plan.problem)
    if probe is not None:
        columns = [*columns, *probe.columns(plan)]
    if plan.experience is not None:
        columns = [*columns, plan.experience.column(plan.space)]
    return GaussianProcess(OneHot(plan.space, extra=columns))


def exchange_of(plan: Plan, supernet: Supernet) -> Exchange:
    """The change in the supernet's loss from other picks, on random validation images."""
    device = device_of(plan)
    here = on_device(supernet, device)
    whole = _whole(plan)
    images, labels = plan.task.validation.images[:whole], plan.task.validation.labels[:whole]

    def exchange(
        genotype: Genotype, others: Sequence[Genotype], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        drawn = torch.from_numpy(rng.permutation(whole)[:_DRAWN])
        loss = functools.partial(F.cross_entropy, target=labels[drawn].to(device))
        batch = images[drawn].to(device)
        return exchanged(here, batch, loss, genotype=genotype, others=others)[1]

    return exchange


def _whole(plan: Plan) -> int:
    """The number of validation images that the search shows a subnet."""
    images = len(plan.task.validation)
    return min(plan.recipe.search.validation_samples or images, images)


@contextlib.contextmanager
def evaluator_of(plan: Plan, supernet: Supernet, *, more: int = 0) -> Iterator[StoppingEvaluator]:
    """A context with the evaluator of a run, in this process or on the recipe's Ray workers.

    The evaluator uses the validation images of the search, and `more` images that were held back.
    """
    compute, settings, whole = plan.recipe.compute, plan.recipe.search, _whole(plan)
    # The first images stand for all, also where a task's are in the order of their classes.
    order = np.concatenate([np.random.default_rng(0).permutation(whole), whole + np.arange(more)])
    images, labels = plan.task.validation.images[order], plan.task.validation.labels[order]
    size = min(BATCH, -(-whole // STEPS)) if settings.early_stop else BATCH
    batches = list(zip(images.split(size), labels.split(size), strict=True))
    local = SupernetEvaluator(
        deployment_of(plan, supernet),
        batches,
        seed=plan.recipe.seed,
        threads=compute.threads,
        whole=whole,
    )
    if not compute.workers:
        yield local
        return
    with RayEvaluator(
        local.factory(),
        workers=compute.workers,
        cpus_per_worker=compute.cpus_per_worker,
        gpus_per_worker=compute.gpus_per_worker,
        address=compute.ray_address,
        deadline_s=compute.deadline_seconds,
    ) as remote:
        yield remote
