"""An estimate of the training time of a run, and a check of its memory."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import torch

from nas.memory import gigabytes, memory_limit, shortage
from nas.recipe.methods import methods_of
from nas.recipe.recipe import RecipeError
from nas.run.plan import Plan
from nas.run.steps.training import device_of
from search_spaces import costs
from supernets.inputs import to_device
from supernets.supernet import Supernet
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.methods import Methods
from supernets.training.samplers import Sandwich
from supernets.training.schedule import schedule
from supernets.training.step import TrainingStep

_TIMED_STEPS = 2
_FLOAT_BYTES = 4
_COPIES = 5  # of every weight: itself, its gradient, its momentum; two as of the last good epoch
_WRITTEN = (
    8  # and while a checkpoint is written, in this machine's memory, four of those twice more
)
_LARGEST_ONNX = 1 << 31  # of the protocol buffers that the file is made of


def estimate(plan: Plan) -> str:
    """A sentence on the remaining training time, from two steps of every part of the training."""
    if plan.files.supernet.exists():
        return "The supernet is trained already."
    settings, device = plan.training, device_of(plan)
    held = _require_room(plan, device)
    methods = methods_of(settings)
    steps = schedule(settings, len(plan.task.train), rate=methods.schedule)
    supernet = Supernet(plan.space, seed=0, quantizer=methods.quantizer).to(device)
    rng = np.random.default_rng(0)
    rows = np.arange(settings.batch_size)

    def batch(_: int) -> Batch:
        inputs, targets = plan.task.train.batch(rows, rng)
        return to_device(inputs, device), targets.to(device)

    context = TrainingContext(supernet, settings, steps, plan.task.criterion, batch)
    made = _made(context, methods)

    def seconds(moment: Moment) -> float:
        start = time.perf_counter()
        shown = batch(moment.step)
        made.gradients(moment, shown, _drawn(made, moment, shown, rng))
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    parts = (0, steps.largest_steps, steps.float_steps, steps.total)
    total = sum(
        (end - start) * min(seconds(Moment(end - 1, steps)) for _ in range(_TIMED_STEPS))
        for start, end in pairwise(parts)
        if end > start
    )
    return f"Training takes about {_words(total)} ({steps.total} steps) on {device}.{held}"


def _made(context: TrainingContext, methods: Methods) -> TrainingStep:
    """The step of a training; raises `RecipeError` if a part refuses the settings or the space."""
    try:
        return TrainingStep(context, methods)
    except ValueError as error:
        raise RecipeError(f"training: {error}") from error


def _drawn(made: TrainingStep, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
    """The subnets of a step; raises `RecipeError` if the sampler cannot draw from the space."""
    try:
        return made.subnets(moment, batch, rng)
    except ValueError as error:
        raise RecipeError(f"training: {error}") from error


def _require_room(plan: Plan, device: torch.device) -> str:
    """A warning if training needs more than half the memory; an empty text if it needs less.

    The least memory of a training is counted: weights, gradients, momenta, weights and momenta of
    the last good epoch, a checkpoint being written, and the outputs of the largest subnet's layers
    for one batch.

    Raises:
        RecipeError: Training needs more memory than the machine has, or an exported file would be
            larger than ONNX allows.
    """
    largest = plan.space.decode(plan.space.largest)
    weights = costs.total(costs.parameters, largest)
    values = sum(map(math.prod, largest.shapes().values()))
    batch = plan.recipe.training.batch_size
    if device.type == "cuda":
        copies, limit = _COPIES, torch.cuda.get_device_properties(device).total_memory
    else:
        copies, limit = _COPIES + _WRITTEN, memory_limit()
    needed = _FLOAT_BYTES * (copies * weights + batch * values)
    content = f"{weights:,.0f} weights, {values:,} values per sample in batches of {batch}"
    if missing := shortage(needed, limit=limit):
        raise RecipeError(
            f"training the largest network of space {plan.space.name!r} ({content}) {missing} on "
            f"{device}; give smaller widths or inputs, or a smaller training.batch_size"
        )
    size = costs.total(costs.model_bytes, largest)
    if "onnx" in plan.recipe.export.formats and size > _LARGEST_ONNX:
        raise RecipeError(
            f"the largest network of space {plan.space.name!r} takes {gigabytes(size)} as a file, "
            f"and an ONNX file holds {gigabytes(_LARGEST_ONNX)}; give smaller widths or fewer bits"
        )
    if needed <= limit / 2:
        return ""
    return f" It takes at least {gigabytes(needed)} of {gigabytes(limit)} of memory ({content})."


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
