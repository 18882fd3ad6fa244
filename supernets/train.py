"""Training a supernet: full precision over architectures, then over architectures and precisions.

Everything random derives from the seed and the number of the step, so parameters, momenta and that
number are all that a killed training needs to go on to the same weights, bit for bit (on one kind
of processor, with the same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernets.calibrate import initialise_steps
from supernets.distill import label_loss, student_loss
from supernets.divergence import TrainingDiverged, guess_loss, is_useless, remedy
from supernets.sampling import Sandwich, sandwich
from supernets.schedule import Schedule, TrainingSettings, schedule
from supernets.state import LOSSES, TrainingState
from supernets.supernet import Supernet

__all__ = ["History", "TrainingData", "TrainingDiverged", "TrainingSettings", "train"]

Progress = Callable[[int, int, Mapping[str, float]], None]

_CALIBRATION_BATCHES = 4
_GUESSED_BATCHES = 8
# What a generator is for; with the seed and a count it makes the generator's own seed.
_ORDER, _BATCH, _SUBNETS = range(3)


class TrainingData(Protocol):
    """Images to learn from, such as the train split of a task."""

    def __len__(self) -> int: ...

    def batch(self, rows: NDArray[np.integer], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images `(n, c, h, w)` and labels `(n,)` at `rows`, varied by draws from `rng` alone."""
        ...


@dataclass(frozen=True, eq=False)
class History:
    """What a training lost.

    Attributes:
        losses: Per step, `(steps, 3)`: of the largest subnet, then the mean of all others, and
            the smallest's alone. A space of one network has the same figure three times.
        float_steps: How many of the steps were in full precision.
        guess: The loss against the labels of always answering how often each class occurs.
    """

    losses: NDArray[np.float32]
    float_steps: int
    guess: float


def train(
    supernet: Supernet,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    state_path: Path,
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
) -> History:
    """Train `supernet` in place, going on from the checkpoint at `state_path` where there is one.

    Args:
        supernet: Moved to `device` and left there.
        data: Batches may come from any device.
        settings: A checkpoint made under other settings is refused.
        state_path: Where checkpoints are written, each whole or not at all.
        progress: Called after every step with the steps done, their total and the step's losses.
        device: Where to train.

    Raises:
        TrainingDiverged: The loss or its gradient became NaN or infinite, or the largest subnet
            or the mean of the others learns nothing; the last checkpoint is from before that.
        CheckpointError: The checkpoint is damaged or belongs to another training.
    """
    plan = schedule(settings, len(data))
    supernet.to(device)
    state = TrainingState(supernet, settings, images=len(data), steps=plan.total)
    if state_path.exists():
        state.load(state_path)
    else:
        state.save(state_path)  # a folder that cannot be written is found before any work
    guess = _guess(state, data, plan)
    saved = time.monotonic()
    while state.step < plan.total:
        if state.step == plan.float_steps:
            _initialise(state, data)
        losses = _train_step(state, data, plan)
        state.record(losses)
        _require_learning(state, plan, guess)
        if time.monotonic() - saved > settings.checkpoint_seconds or state.step == plan.total:
            state.save(state_path)
            saved = time.monotonic()
        if progress is not None:
            progress(state.step, plan.total, dict(zip(LOSSES, losses, strict=True)))
    if not settings.quantized_epochs:
        _initialise(state, data)
    return History(state.losses.numpy(), plan.float_steps, guess)


def sandwich_step(
    supernet: Supernet,
    batch: tuple[Tensor, Tensor],
    subnets: Sandwich,
    settings: TrainingSettings,
    *,
    quantize: bool,
) -> list[float]:
    """Add the gradients of one step to those there are, and give its losses (see `LOSSES`).

    The sandwich rule with in-place distillation (Yu & Huang 2019, algorithm 1): the largest subnet
    learns from the labels, all others from them and from the largest's answers to the same images.
    """
    images, labels = batch
    logits = supernet(images, subnets.largest, quantize=quantize)
    loss = label_loss(logits, labels, smoothing=settings.label_smoothing)
    loss.backward()
    others: list[Tensor] = []
    for subnet in subnets.students:
        student = student_loss(
            supernet(images, subnet, quantize=quantize),
            logits,
            labels,
            distillation=settings.distillation,
            smoothing=settings.label_smoothing,
        )
        student.backward()
        others.append(student.detach())
    others = others or [loss.detach()]
    return torch.stack([loss.detach(), torch.stack(others).mean(), others[-1]]).tolist()


def _train_step(state: TrainingState, data: TrainingData, plan: Schedule) -> list[float]:
    """Take one step, unless its losses or gradients are not finite; gives its losses."""
    settings, step, rate = state.settings, state.step, plan.learning_rate(state.step)
    rng = np.random.default_rng([settings.seed, _SUBNETS, step])
    subnets = sandwich(state.supernet.space, rng, random=settings.random_subnets)
    batch = _batch(state, data, step)
    state.optimizer.zero_grad()
    quantize = step >= plan.float_steps
    losses = sandwich_step(state.supernet, batch, subnets, settings, quantize=quantize)
    norm = state.update(rate) if all(map(math.isfinite, losses)) else math.nan
    if not math.isfinite(norm):
        raise TrainingDiverged(
            f"training diverged at step {step} of {plan.total}, at a learning rate of {rate:.3g}: "
            f"losses {losses}, gradient norm {norm}; {_remedy(state)}, then train anew"
        )
    return losses


def _guess(state: TrainingState, data: TrainingData, plan: Schedule) -> float:
    """The loss of always answering how often each class occurs in the first batches."""
    batches = range(min(_GUESSED_BATCHES, plan.total))
    labels = torch.cat([_batch(state, data, step)[1] for step in batches])
    return guess_loss(labels, smoothing=state.settings.label_smoothing)


def _require_learning(state: TrainingState, plan: Schedule, guess: float) -> None:
    """Stop where an epoch ends that shows that nothing is learnt."""
    start, ends = state.step - plan.epoch, state.step in (plan.float_steps, plan.total)
    if state.step % plan.epoch or (start < plan.warmup and not ends):
        return
    losses = state.losses[start : state.step, :2].amax(1).tolist()
    untrained = float(state.losses[0, 0])
    if is_useless(losses, guess=guess, untrained=untrained, growth=state.growth, ends=ends):
        raise TrainingDiverged(
            f"training diverged by step {state.step} of {plan.total}: the subnets' loss is "
            f"{sum(losses) / len(losses):.4g} over the last epoch, was {untrained:.4g} at the "
            f"start, and is {guess:.4g} for a constant guess; "
            f"{_remedy(state)}, then train anew"
        )


def _remedy(state: TrainingState) -> str:
    steps = state.optimizer.param_groups[-1]["params"]
    return remedy(state.settings, growth=state.growth, steps=steps)


def _batch(state: TrainingState, data: TrainingData, step: int) -> tuple[Tensor, Tensor]:
    """The batch of `step` on the supernet's device; every epoch has its own order."""
    size, seed = state.settings.batch_size, state.settings.seed
    epoch, place = divmod(step, len(data) // size)
    order = np.random.default_rng([seed, _ORDER, epoch]).permutation(len(data))
    rows = order[place * size : (place + 1) * size]
    images, labels = data.batch(rows, np.random.default_rng([seed, _BATCH, step]))
    device = next(state.supernet.parameters()).device
    return images.to(device), labels.to(device)


def _initialise(state: TrainingState, data: TrainingData) -> None:
    """Fit the quantizers to the weights as they are now, and to the first batches."""
    images = [_batch(state, data, step)[0] for step in range(_CALIBRATION_BATCHES)]
    initialise_steps(state.supernet, images)
