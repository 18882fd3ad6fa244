"""The search step: the searcher, the evaluator, and the archive of a run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from nas.archive.archive import Archive
from nas.evaluation.answers import STEPS
from nas.evaluation.evaluation import Evaluation, StoppingEvaluator
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.recipe.recipe import RecipeError
from nas.run.measuring import BATCH, deployment_of
from nas.run.plan import Plan
from nas.run.probing import probed
from nas.run.run_archive import run_archive
from nas.run.steps.offering import RunContext, samples_shown
from nas.run.steps.training import training_summary
from nas.search.early_stop import EarlyStopping, unsettled
from nas.search.loop import Wait, search, search_asynchronously
from nas.search.named import searcher_named
from nas.search.offered import Offered
from nas.search.searcher import Searcher
from nas.tasks import Split
from nas.terminal.display import Display
from search_spaces.space import SearchSpace
from supernets.supernet import Supernet


def archive_of(plan: Plan) -> Archive:
    """The run's archive, made if missing."""
    return run_archive(plan.files, plan.space, plan.recipe.model_dump(mode="json"))


def searched(plan: Plan, supernet: Supernet, display: Display) -> Archive:
    """The archive with as many evaluations as the recipe's budget allows."""
    archive, settings = archive_of(plan), plan.recipe.search
    probe = probed(plan, supernet, display) if settings.proxies else None
    if plan.experience is not None:
        plan.experience.keep(plan.files.transfer)
    searcher = searcher_of(plan, RunContext(plan, supernet, probe))
    if not settings.budget:
        return archive
    training = training_summary(plan)
    if training is not None and training.favoured is not None:
        searcher = Offered(searcher, [training.favoured])
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
    settings, words = plan.recipe.search, plan.task.criterion.error
    with evaluator_of(plan, supernet) as evaluate, display.stage("search") as advance:
        best = float(archive.measurements().losses.min(initial=np.inf))

        def progress(done: int, budget: int, latest: Sequence[Evaluation]) -> None:
            nonlocal best
            best = min([best, *(evaluation.error for evaluation in latest)])
            advance(done, budget, f"best validation {words.name} {words.text(best)}")

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
    """Evaluate the members of the front on all samples, also those held back from the search.

    The best of many noisy errors are partly luck. When these errors rise, other subnets come onto
    the front, so the step repeats until all members have been shown all samples.
    """
    samples = samples_shown(plan) + plan.recipe.search.confirm_samples
    if not unsettled(plan.problem, archive.measurements(), samples):
        return
    with (
        archive.reserving(),
        evaluator_of(plan, supernet, more=plan.recipe.search.confirm_samples) as evaluate,
        display.stage("confirm") as advance,
    ):
        done, wait = 0, Wait()
        while left := unsettled(plan.problem, archive.measurements(), samples):
            mine, total = archive.reserve(left, samples=samples), done + len(left)
            for arrived in evaluate(mine):
                archive.append(*arrived)
                done += len(arrived)
                advance(done, total, f"front members on {samples} samples")
            if not mine:
                wait(archive)


def searcher_of(plan: Plan, context: RunContext) -> Searcher:
    """The searcher that the recipe names.

    Raises:
        RecipeError: The searcher makes no use of what the recipe gives it, or cannot be made.
    """
    settings = plan.recipe.search
    seed = settings.seed_or(plan.recipe.seed)
    try:
        made = searcher_named(settings.searcher, plan.problem, seed=seed, context=context)
    except ValueError as error:
        raise RecipeError(f"search.searcher = {settings.searcher!r}: {error}") from error
    for key in ("transfer", "predictor"):
        if getattr(settings, key) is not None and key not in context.used:
            raise RecipeError(
                f"search.{key} = {str(getattr(settings, key))!r}: the searcher "
                f"{settings.searcher!r} makes no use of it; leave it out, or choose another "
                "searcher"
            )
    return made


def validation_shown(plan: Plan, *, more: int = 0) -> Split:
    """The validation samples of the search, in the order in which subnets are shown them.

    Args:
        plan: The run.
        more: The number of samples behind them that are held back from the search.
    """
    whole = samples_shown(plan)
    # The first samples stand for all, also where a task's are in the order of their classes.
    order = np.concatenate([np.random.default_rng(0).permutation(whole), whole + np.arange(more)])
    return Split(*plan.task.validation.at(torch.from_numpy(order)))


@contextlib.contextmanager
def evaluator_of(plan: Plan, supernet: Supernet, *, more: int = 0) -> Iterator[StoppingEvaluator]:
    """A context with the evaluator of a run, in this process or on the recipe's Ray workers.

    The evaluator uses the validation samples of the search, and `more` that were held back.
    """
    compute, settings, whole = plan.recipe.compute, plan.recipe.search, samples_shown(plan)
    shown = validation_shown(plan, more=more)
    size = min(BATCH, -(-whole // STEPS)) if settings.early_stop else BATCH
    local = SupernetEvaluator(
        deployment_of(plan, supernet),
        list(shown.batches(size)),
        criterion=plan.task.criterion,
        further=[name for name in plan.named_figures if name in plan.task.criterion.further],
        seed=plan.recipe.seed,
        threads=compute.threads,
        whole=whole,
    )
    with compute.evaluating.measuring(local) as evaluator:
        yield evaluator
