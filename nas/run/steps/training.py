"""The training step: trains the supernet of a run once."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from pydantic import TypeAdapter

from nas.files.durable import write_atomic
from nas.recipe.methods import methods_of
from nas.recipe.recipe import RecipeError
from nas.report.data import TrainingSummary
from nas.run.folder import RunFolderError
from nas.run.plan import Plan
from nas.terminal.display import Display
from search_spaces.documents import read_json
from supernets.checkpoint import load, save
from supernets.supernet import Supernet, set_weights
from supernets.training.schedule import TrainingSettings
from supernets.training.train import History, Progress, TrainingDiverged, train

_CURVE_POINTS = 200
_SUMMARY = TypeAdapter(TrainingSummary)
_LAST = 0.1  # of the steps, by which the end of a training is judged
_LEARNT = 0.98  # of the loss of a guess


def device_of(plan: Plan) -> torch.device:
    """The device on which a recipe computes; `auto` takes a GPU if there is one.

    Raises:
        RecipeError: This machine has no such device.
    """
    wanted = plan.recipe.compute.device
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RecipeError(
            f"compute.device = {wanted!r}, but torch finds {torch.cuda.device_count()} CUDA "
            "devices on this machine; give 'auto' or 'cpu'"
        )
    return device


def use_threads(plan: Plan) -> None:
    """Set the number of torch's threads in this process, if the recipe gives a number."""
    if plan.recipe.compute.threads is not None:
        torch.set_num_threads(plan.recipe.compute.threads)


def trained(plan: Plan, display: Display) -> Supernet:
    """The trained supernet, read from the run folder if it is there already."""
    methods = methods_of(plan.recipe.training)
    if plan.files.supernet.exists():
        training_summary(plan)  # damage is told now, not when the report is written
        plan.files.training.unlink(missing_ok=True)
        return load(plan.space, plan.files.supernet, quantizer=methods.quantizer)
    settings = plan.training
    supernet = Supernet(plan.space, seed=settings.seed, quantizer=methods.quantizer)
    if plan.start is not None:
        set_weights(supernet, plan.start)
    device, start = device_of(plan), time.monotonic()
    with display.stage("train") as advance:

        def progress(done: int, total: int, losses: Mapping[str, float]) -> None:
            note = "  ".join(f"{n} {v:.3f}" for n, v in losses.items() if math.isfinite(v))
            advance(done, total, note)

        try:
            history = train(
                supernet,
                plan.task.train.to(device),
                settings,
                criterion=plan.task.criterion,
                state_path=plan.files.training,
                methods=methods,
                device_cost=plan.device_cost,
                progress=progress,
                say=display.say,
                device=device,
                elsewhere=_elsewhere(plan, progress, display),
            )
        except TrainingDiverged:
            # It would diverge again, bit for bit; without it the folder takes other settings.
            plan.files.training.unlink(missing_ok=True)
            raise
    supernet.cpu()
    if doubt := _doubt(history):
        display.say(doubt)
    summary = _summary(history, settings, seconds=time.monotonic() - start)
    write_atomic(plan.files.history, json.dumps(summary).encode())
    save(supernet, plan.files.supernet)
    plan.files.training.unlink(missing_ok=True)
    return supernet


def _elsewhere(plan: Plan, progress: Progress, display: Display) -> Callable[[], None] | None:
    """The training on the recipe's workers; None if the recipe has none."""
    if not plan.recipe.compute.train_workers:
        return None
    from nas.run.steps.train_workers import train_on_workers

    return partial(train_on_workers, plan, progress, display.say)


def supernet_of(plan: Plan) -> Supernet:
    """The supernet that an earlier step trained."""
    if not plan.files.supernet.exists():
        raise RunFolderError(
            f"{plan.files.path} holds no trained supernet; run `nas train` or `nas run` first"
        )
    quantizer = methods_of(plan.recipe.training).quantizer
    return load(plan.space, plan.files.supernet, quantizer=quantizer)


def training_summary(plan: Plan) -> TrainingSummary | None:
    """A summary of the supernet's training, or None before the training."""
    if not plan.files.history.exists():
        return None
    return read_json(
        plan.files.history,
        _SUMMARY,
        what="the record of a training",
        remedy="delete it, and the report will leave out the loss curve",
    )


def _doubt(history: History) -> str | None:
    """A warning if the training ended hardly better than a guess, else None."""
    last = history.losses[-max(1, round(_LAST * len(history.losses))) :, 0]
    if last.mean() < _LEARNT * history.guess:
        return None
    return (
        f"look at this: the largest subnet's loss ends at {last.mean():.4g}, and the best constant "
        f"answer has {history.guess:.4g}; it has learnt next to nothing: "
        "train for longer, or change learning_rate"
    )


def _summary(history: History, settings: TrainingSettings, *, seconds: float) -> dict[str, object]:
    """The seconds in this process, the epochs, averaged losses of the largest subnet.

    With a search joined to the training, also the subnet that it favours.
    """
    epochs = settings.float_epochs + settings.quantized_epochs
    losses = history.losses[:, 0]
    curve: list[dict[str, object]] = []
    for stretch in np.array_split(np.arange(len(losses)), min(_CURVE_POINTS, len(losses))):
        phase = "full precision" if stretch[0] < history.float_steps else "elastic bits"
        epoch = float((stretch[-1] + 1) / len(losses) * epochs)
        loss = float(losses[stretch].mean())
        curve.append({"epoch": epoch, "loss": loss, "phase": phase})
    made = {"seconds": seconds, "epochs": epochs, "curve": curve}
    return made if history.favoured is None else {**made, "favoured": history.favoured}
