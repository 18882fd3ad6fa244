"""An estimate of the time of a run, stage by stage, from a few steps of the real work."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from nas.profiling.seam_loop import representatives
from nas.profiling.table_loop import BUDGET_MS
from nas.recipe.methods import methods_of
from nas.recipe.recipe import RecipeError
from nas.run.plan import THIS_CPU, Plan
from nas.run.steps.room import require_room
from nas.run.steps.training import device_of
from nas.targets.seams.table import SeamTable
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey
from nas.terminal.display import Display
from nas.terminal.forecast import Course, course_of, duration
from search_spaces.space import as_genotypes
from supernets.calibrate import initialise_steps
from supernets.checkpoint import steps_done
from supernets.inputs import to_device
from supernets.supernet import Supernet
from supernets.training.context import Moment, TrainingContext
from supernets.training.pace import paces, parts
from supernets.training.schedule import schedule
from supernets.training.step import TrainingStep
from supernets.training.train import batch_of

_AROUND = 1.25  # loading models and timing empty ones, over timing kernels
_SEAM_S = 0.1  # the kernels around a tensor, together and alone
_WHOLE_S = 0.3  # one whole network of the first few, exported and timed
_AGAIN_S = 0.15  # one whole network later on
_PAGE_S = 0.5  # the page of the report
_ASKED_S = 0.15  # one question to a searcher that learns from evaluations
_CHECKED = 6  # whole networks of this machine's front that are timed at the end
_FEW = 32  # samples that give the quantizers of an untrained supernet sensible steps
_TIMED = 2  # subnets, after one that warms up
_FITTED = 128  # random networks, to which the report's predictor is fitted
_SQUARE = 256  # measurements, beyond which a fit takes no more time for each
_NEXT_TO_ZERO = 1e-9  # a learning rate with which untrained weights cannot diverge
_FILES = 2  # evaluations that take as long as making, writing and running one exported file


def foresee(plan: Plan, display: Display, *, steps: Collection[str]) -> None:
    """Show how long the steps will take, stage by stage, and let the display correct this.

    Args:
        plan: The run; what its folder holds already is left out.
        display: The display.
        steps: The steps of the pipeline that will follow the measurement of this machine.

    Raises:
        RecipeError: The training does not fit into memory, or a part of it refuses the settings.
    """
    device, training = device_of(plan), None
    if plan.files.supernet.exists():
        display.say("The supernet is trained already.")
    else:
        if held := require_room(plan, device):
            display.say(held)
        training = _training_step(plan, _untrained(plan))
    if not display.timed:
        return
    courses = {
        "profile": _profiling(plan),
        "seams": _seaming(plan),
        "calibrate": _calibrating(plan),
    }
    if training is not None and "train" in steps:
        courses["train"] = _training(plan, training)
    if {"search", "export"} & {*steps}:
        supernet = _untrained(plan) if training is None else training.context.supernet
        courses |= _measuring(plan, supernet, steps)
    courses = {name: made for name, made in courses.items() if made.left(0) > 0}
    if courses:
        display.expect(courses)
        display.say(_told(courses, device))


def _untrained(plan: Plan) -> Supernet:
    quantizer = methods_of(plan.training).quantizer
    return Supernet(plan.space, seed=0, quantizer=quantizer).to(device_of(plan))


def _told(courses: Mapping[str, Course], device: torch.device) -> str:
    seconds = {name: made.left(0) for name, made in courses.items()}
    listed = ", ".join(f"{name} {duration(each)}" for name, each in seconds.items() if each >= 1)
    listed = listed and f": {listed}"
    return f"The run takes about {duration(sum(seconds.values()))} on {device}{listed}."


def _profiling(plan: Plan) -> Course:
    """The measurement of the kernels that have no row yet."""
    wanted = {
        KernelKey.of(kernel, numerics)
        for target in plan.unmeasured
        for kernel, numerics in target.natively(plan.space)
    }
    there: set[KernelKey] = set()
    if wanted and plan.files.table.exists():
        there = {*LatencyTable.read(plan.files.table, unfinished=True).rows}
    seconds = len(wanted) * BUDGET_MS * _AROUND / 1e3 * crowding()
    whole = Course.even(len(wanted), seconds, telling=False)
    return whole.after(len(wanted & there))


def _seaming(plan: Plan) -> Course:
    """The measurement of kernels together with their neighbours."""
    here = [target for target in plan.targets if target.name == THIS_CPU]
    asked = here and plan.recipe.compute.profile_seams and not plan.files.calibration.exists()
    there = SeamTable.read(plan.files.seams).rows if plan.files.seams.exists() else {}
    wanted = [*representatives(here[0], plan.space)] if asked else []
    whole = Course.even(len(wanted), len(wanted) * _SEAM_S * crowding(), telling=False)
    return whole.after(sum(one.elements in there.get(one.seam, {}) for one in wanted))


def _calibrating(plan: Plan) -> Course:
    here = any(target.name == THIS_CPU for target in plan.targets)
    asked = min(plan.recipe.compute.profile_networks, plan.space.size)
    needed = here and not plan.files.calibration.exists()
    seconds = asked * _WHOLE_S * crowding() if needed else 0.0
    return Course.even(asked, seconds, telling=False)


def crowding() -> float:
    """The processes that want a core of this machine, per core; 1 if there are fewer."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _training_step(plan: Plan, supernet: Supernet) -> TrainingStep:
    """The step of the training at a learning rate next to 0.

    Raises:
        RecipeError: A part of the training refuses the settings or the space.
    """
    settings, methods = plan.training, methods_of(plan.training)
    steps = schedule(settings, len(plan.task.train), rate=methods.schedule)
    slow = replace(steps, highest=_NEXT_TO_ZERO)
    batch = partial(batch_of, plan.task.train, settings, device=device_of(plan))
    judge, cost = plan.task.criterion, plan.device_cost
    context = TrainingContext(supernet, settings, slow, judge, batch, cost)
    try:
        made, rng = TrainingStep(context, methods), np.random.default_rng(0)
        for start, _ in parts(slow):
            made.subnets(Moment(start, slow), batch(start), rng)
    except ValueError as error:
        raise RecipeError(f"training: {error}") from error
    return made


def _training(plan: Plan, made: TrainingStep) -> Course:
    """The steps that are left, some of which are taken, so that the weights change."""
    done, workers = steps_done(plan.files.training), max(1, plan.recipe.compute.train_workers)
    found = paces(made, samples=len(plan.task.train), done=done)
    every = {part: found.get(part, 0.0) / workers for part in parts(made.context.plan)}
    return course_of(every).after(done)


def _measuring(plan: Plan, supernet: Supernet, steps: Collection[str]) -> dict[str, Course]:
    """The stages that make networks of the supernet, which need not be trained to be timed."""
    few, _ = next(plan.task.batches("train", _FEW))
    initialise_steps(supernet, [to_device(few, device_of(plan))])
    each = _evaluation(plan, supernet)
    found = _searching(plan, supernet, each) if "search" in steps else {}
    return {**found, **(_shipping(plan, each) if "export" in steps else {})}


def _probing(plan: Plan, supernet: Supernet) -> float:
    """The seconds of the zero-cost proxies and of the sensitivity to precisions."""
    from nas.run.probing import proxies_and_sensitivity

    if not plan.recipe.search.proxies or plan.files.probe.exists():
        return 0.0
    score, layers, forward = proxies_and_sensitivity(plan, supernet)
    return plan.recipe.search.proxies * score + layers * forward


def _searching(plan: Plan, supernet: Supernet, each: float) -> dict[str, Course]:
    """The probe and the evaluations that are left, each of which takes `each` seconds."""
    settings = plan.recipe.search
    budget, done = min(settings.budget, plan.space.size), _evaluated(plan)
    workers = max(1, plan.recipe.compute.workers)
    seconds = budget * (each / workers + _ASKED_S * crowding() / settings.batch)
    probe = Course.even(settings.proxies, _probing(plan, supernet))
    done = min(budget, max(0, done - settings.known))
    return {"probe": probe, "search": Course.even(budget, seconds).after(done)}


def _evaluated(plan: Plan) -> int:
    """The number of evaluations that the folder has; none under another name than the recipe's."""
    if not plan.files.archive.exists():
        return 0
    from nas.archive.archive import Archive
    from nas.archive.trials import NoStudyError

    try:
        return len(Archive(plan.files.archive, plan.space, study=plan.recipe.name, read_only=True))
    except NoStudyError:
        return 0


def _shipping(plan: Plan, each: float) -> dict[str, Course]:
    """The exported files and the report, if an evaluation takes `each` seconds."""
    files = len(plan.targets) * len(plan.recipe.export.formats)
    here = any(target.name == THIS_CPU for target in plan.targets)
    report = (_PAGE_S + (_CHECKED * _AGAIN_S if here else 0.0)) * crowding() + 2 * each
    report += _predicting(plan)
    return {
        "export": Course.even(len(plan.targets), files * _FILES * each),
        "report": Course.even(1, report),
    }


def _predicting(plan: Plan) -> float:
    """The seconds of all fits of the report's predictor, of which one is timed.

    Up to the number of measurements that a process is tuned by, a fit takes a time that grows with
    their square; beyond, a time that grows with their number.
    """
    from nas.run.findings import fits
    from nas.run.steps.offering import predictor_with

    settings = plan.recipe.search
    count = min(settings.budget, plan.space.size)
    if not count:
        return 0.0
    few, rng = min(count, _FITTED), np.random.default_rng(0)
    rows, losses = plan.space.sample_array(rng, few), rng.normal(size=few)
    predictor = predictor_with(plan)  # costs of devices may not be known yet
    start = time.perf_counter()
    predictor.fit(rows, losses)
    once = time.perf_counter() - start

    def relative(measured: int) -> float:
        return measured * min(measured, _SQUARE)

    every = sum(relative(measured) for measured in (*fits(count, settings.batch), count))
    return once * every / relative(few)


def _evaluation(plan: Plan, supernet: Supernet) -> float:
    """The seconds of one evaluation: a subnet is deployed and shown the validation samples."""
    from nas.run.measuring import BATCH, deployment_of
    from nas.run.steps.offering import samples_shown

    deployment, shown = deployment_of(plan, supernet), samples_shown(plan)
    batches = [inputs for inputs, _ in plan.task.batches("validation", BATCH)]
    share = shown / len(plan.task.validation)
    rows = plan.space.sample_array(np.random.default_rng(0), 1 + _TIMED)

    def seconds(genotype: tuple[int, ...]) -> float:
        start = time.perf_counter()
        module = deployment(genotype).module().to(deployment.device)
        made = time.perf_counter()
        with torch.inference_mode():
            for inputs in batches:
                module(**to_device(inputs, deployment.device))
        return (made - start) + share * (time.perf_counter() - made)

    return float(np.mean([seconds(genotype) for genotype in as_genotypes(rows)][1:]))
