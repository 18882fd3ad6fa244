"""Training a supernet: full precision over architectures, then over architectures and precisions.

All random numbers derive from the seed and the number of the step. A killed training therefore
needs only its parameters, its momenta and this number to continue to the same weights, bit for bit
(on the same kind of processor, with the same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernets.calibrate import initialise_steps
from supernets.criterion import TrainingCriterion
from supernets.distill import student_loss
from supernets.divergence import TrainingDiverged, is_useless, remedy
from supernets.inputs import Inputs, to_device
from supernets.sampling import Sandwich, sandwich
from supernets.schedule import Schedule, TrainingSettings, schedule
from supernets.state import LOSSES, TrainingState
from supernets.supernet import Supernet

__all__ = ["History", "TrainingData", "TrainingDiverged", "TrainingSettings", "train"]

Batch = tuple[Inputs, Tensor]
Progress = Callable[[int, int, Mapping[str, float]], None]

_CALIBRATION_BATCHES = 4
_GUESSED_BATCHES = 8
# The purpose of a generator; purpose, seed and a count together seed the generator.
_ORDER, _BATCH, _SUBNETS = range(3)


class TrainingData(Protocol):
    """Samples with targets for training, such as the train split of a task."""

    def __len__(self) -> int: ...

    def batch(self, rows: NDArray[np.integer], rng: np.random.Generator) -> Batch:
        """Inputs and targets `(n, ...)` at `rows`, augmented with `rng` only."""
        ...


@dataclass(frozen=True, eq=False)
class History:
    """The losses of a training.

    Attributes:
        losses: For each step, `(steps, 3)`: the loss of the largest subnet, the mean over all other
            subnets, and the loss of the smallest subnet. All three are equal in a space of a single
            network.
        float_steps: The number of steps in full precision.
        guess: The loss of the best constant answer.
    """

    losses: NDArray[np.float32]
    float_steps: int
    guess: float


def train(
    supernet: Supernet,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    criterion: TrainingCriterion,
    state_path: Path,
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
) -> History:
    """Train `supernet` in place; continues from the checkpoint at `state_path` if there is one.

    Args:
        supernet: The supernet, which is moved to `device` and stays there.
        data: The training data; batches may be on any device.
        settings: The settings; a checkpoint made with other settings is refused.
        criterion: The loss and the distance of the task.
        state_path: The file for checkpoints, each written whole or not at all.
        progress: A function that is called after every step with the number of steps done, the
            total, and the losses of the step.
        device: The device on which to train.

    Raises:
        TrainingDiverged: If the loss or its gradient became NaN or infinite, or if the largest
            subnet or the mean of the others learns nothing. The last checkpoint is older.
        CheckpointError: If the checkpoint is damaged or belongs to another training.
    """
    plan = schedule(settings, len(data))
    supernet.to(device)
    state = TrainingState(supernet, settings, samples=len(data), steps=plan.total)
    if state_path.exists():
        state.load(state_path)
    else:
        state.save(state_path)  # finds a folder that cannot be written before any work
    guess = _guess(state, data, plan, criterion)
    saved = time.monotonic()
    for losses in _steps(state, data, plan, criterion=criterion, guess=guess):
        if time.monotonic() - saved > settings.checkpoint_seconds or state.step == plan.total:
            state.save(state_path)
            saved = time.monotonic()
        if progress is not None:
            progress(state.step, plan.total, dict(zip(LOSSES, losses, strict=True)))
    if not settings.quantized_epochs:
        _initialise(state, data)
    return History(state.losses.numpy(), plan.float_steps, guess)


def _steps(
    state: TrainingState,
    data: TrainingData,
    plan: Schedule,
    *,
    criterion: TrainingCriterion,
    guess: float,
) -> Iterator[list[float]]:
    """Take all steps that are left; yields the losses after each.

    Raises:
        TrainingDiverged: See `train`.
    """
    while state.step < plan.total:
        if state.step == plan.float_steps:
            _initialise(state, data)
        losses = _train_step(state, data, plan, criterion)
        state.record(losses)
        _require_learning(state, plan, guess)
        yield losses


def sandwich_step(
    supernet: Supernet,
    batch: Batch,
    subnets: Sandwich,
    *,
    criterion: TrainingCriterion,
    distillation: float,
    quantize: bool,
) -> list[float]:
    """Add the gradients of a step to the parameters' gradients; returns the losses (see `LOSSES`).

    The sandwich rule with in-place distillation (Yu & Huang 2019, algorithm 1): the largest subnet
    learns from the targets; all other subnets learn from the targets and from the output of the
    largest subnet for the same samples. The latter has the weight `distillation`.
    """
    inputs, targets = batch
    output = supernet(inputs, subnets.largest, quantize=quantize)
    loss = criterion.loss(output, targets)
    loss.backward()
    others: list[Tensor] = []
    for subnet in subnets.students:
        student = student_loss(
            supernet(inputs, subnet, quantize=quantize),
            output,
            targets,
            criterion=criterion,
            distillation=distillation,
        )
        student.backward()
        others.append(student.detach())
    others = others or [loss.detach()]
    return torch.stack([loss.detach(), torch.stack(others).mean(), others[-1]]).tolist()


def _train_step(
    state: TrainingState, data: TrainingData, plan: Schedule, criterion: TrainingCriterion
) -> list[float]:
    """Take a step if its losses and gradients are finite; returns its losses."""
    settings, step, rate = state.settings, state.step, plan.learning_rate(state.step)
    rng = np.random.default_rng([settings.seed, _SUBNETS, step])
    subnets = sandwich(state.supernet.space, rng, random=settings.random_subnets)
    batch = _batch(state, data, step)
    state.optimizer.zero_grad()
    losses = sandwich_step(
        state.supernet,
        batch,
        subnets,
        criterion=criterion,
        distillation=settings.distillation,
        quantize=step >= plan.float_steps,
    )
    norm = state.update(rate) if all(map(math.isfinite, losses)) else math.nan
    if not math.isfinite(norm):
        raise TrainingDiverged(
            f"training diverged at step {step} of {plan.total}, at a learning rate of {rate:.3g}: "
            f"losses {losses}, gradient norm {norm}; {_remedy(state)}, then train anew"
        )
    return losses


def _guess(
    state: TrainingState, data: TrainingData, plan: Schedule, criterion: TrainingCriterion
) -> float:
    """The loss of the best constant answer to the targets of the first batches."""
    batches = range(min(_GUESSED_BATCHES, plan.total))
    return criterion.guess(torch.cat([_batch(state, data, step)[1] for step in batches]))


def _require_learning(state: TrainingState, plan: Schedule, guess: float) -> None:
    """Raise `TrainingDiverged` at the end of an epoch that shows that nothing is learnt."""
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


def _batch(state: TrainingState, data: TrainingData, step: int) -> Batch:
    """The batch of `step`, on the device of the supernet; every epoch has an order of its own."""
    size, seed = state.settings.batch_size, state.settings.seed
    epoch, place = divmod(step, len(data) // size)
    order = np.random.default_rng([seed, _ORDER, epoch]).permutation(len(data))
    rows = order[place * size : (place + 1) * size]
    inputs, targets = data.batch(rows, np.random.default_rng([seed, _BATCH, step]))
    device = next(state.supernet.parameters()).device
    return to_device(inputs, device), targets.to(device)


def _initialise(state: TrainingState, data: TrainingData) -> None:
    """Initialise the quantizers from the present weights and the first batches."""
    batches = [_batch(state, data, step)[0] for step in range(_CALIBRATION_BATCHES)]
    initialise_steps(state.supernet, batches)
