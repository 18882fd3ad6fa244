"""Searching: who proposes, who evaluates, and the archive between them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import torch

from nas.archive import Archive
from nas.cluster import RayEvaluator
from nas.display import Display
from nas.evaluate import Evaluation, Evaluator
from nas.evaluators import SupernetEvaluator
from nas.plan import Plan
from nas.search.base import Searcher
from nas.search.guided import Guided, Settings, default_columns
from nas.search.loop import search, search_asynchronously
from nas.search.named import SEARCHERS
from nas.steps.probing import Probe, probed
from nas.steps.training import device_of
from predictors.base import Predictor
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess
from supernets.supernet import Supernet

_BATCH = 512


def archive_of(plan: Plan) -> Archive:
    """The run's archive, made if missing."""
    return Archive(plan.files.archive, plan.space, study=plan.recipe.name)


def searched(plan: Plan, supernet: Supernet, display: Display) -> Archive:
    """The archive with as many evaluations as the recipe's budget allows."""
    archive, settings = archive_of(plan), plan.recipe.search
    probe = probed(plan, supernet, display) if settings.proxies else None
    searcher = searcher_of(plan, probe)
    if not settings.budget:
        return archive
    with evaluator_of(plan, supernet) as evaluate, display.stage("search") as advance:
        best = min((e.metrics["error"] for e in archive.evaluations()), default=100.0)

        def progress(done: int, budget: int, latest: Sequence[Evaluation]) -> None:
            nonlocal best
            best = min([best, *(evaluation.metrics["error"] for evaluation in latest)])
            advance(done, budget, f"lowest validation error {best:.2f} %")

        if plan.recipe.asynchronous:
            how = functools.partial(search_asynchronously, known=settings.known)
        else:
            searcher.tell(archive.evaluations()[: settings.known])
            how = functools.partial(search, batch=settings.batch)
        how(searcher, evaluate, archive, budget=settings.budget, progress=progress)
    return archive


def searcher_of(plan: Plan, probe: Probe | None) -> Searcher:
    """The searcher that the recipe names."""
    name, seed = plan.recipe.search.searcher, plan.recipe.seed
    if name != "guided":
        return SEARCHERS[name](plan.problem, seed)
    initial = None if probe is None else probe.first(plan, Settings().initial)
    if plan.recipe.search.known:  # what is known already tells more than any first batch
        initial = ()
    predictor = predictor_of(plan, probe)
    return Guided(plan.problem, seed=seed, predictor=predictor, initial=initial)


def predictor_of(plan: Plan, probe: Probe | None) -> Predictor:
    """What `guided` predicts errors with: picks, costs and, where probed, zero-cost features."""
    columns = default_columns(plan.problem)
    if probe is not None:
        columns = [*columns, *probe.columns(plan)]
    return GaussianProcess(OneHot(plan.space, extra=columns))


@contextlib.contextmanager
def evaluator_of(plan: Plan, supernet: Supernet) -> Iterator[Evaluator]:
    """Evaluates on the validation split: in this process, or on as many Ray workers as asked."""
    compute, settings = plan.recipe.compute, plan.recipe.search
    count = settings.validation_images or len(plan.task.validation)
    images, labels = plan.task.validation.images[:count], plan.task.validation.labels[:count]
    batches = list(zip(images.split(_BATCH), labels.split(_BATCH), strict=True))
    calibration = plan.task.calibration(settings.calibration_images, _BATCH)
    local = SupernetEvaluator(
        supernet,
        calibration,
        batches,
        seed=plan.recipe.seed,
        device=device_of(plan),
        threads=compute.threads,
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


def use_threads(plan: Plan) -> None:
    """Pin torch's threads in this process, where the recipe says how many."""
    if plan.recipe.compute.threads is not None:
        torch.set_num_threads(plan.recipe.compute.threads)
