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
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces.space import Genotype
from supernets.calibrate import initialise_steps
from supernets.inputs import to_device
from supernets.ranks import ALONE, Ranks, require_rows
from supernets.supernet import Supernet
from supernets.training.context import Batch, Cost, Moment, TrainingContext
from supernets.training.criterion import TrainingCriterion
from supernets.training.divergence import TrainingDiverged, is_useless, remedy
from supernets.training.methods import Methods
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.split import split
from supernets.training.state import LOSSES, TrainingState
from supernets.training.step import TrainingStep

__all__ = ["History", "TrainingData", "TrainingDiverged", "TrainingSettings", "train"]

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
        favoured: The subnet that a sampler which searches has found best, else None.
    """

    losses: NDArray[np.float32]
    float_steps: int
    guess: float
    favoured: Genotype | None = None


def train(
    supernet: Supernet,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    criterion: TrainingCriterion,
    state_path: Path,
    methods: Methods | None = None,
    device_cost: Cost | None = None,
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
    ranks: Ranks = ALONE,
) -> History:
    """Train `supernet` in place; continues from the checkpoint at `state_path` if there is one.

    Several processes can train together: each calls this function with equal arguments and its own
    `ranks`. Each makes the whole of every batch, since augmentation draws its random numbers for
    the whole, and runs its own rows. The weights are those of one process to rounding.

    Args:
        supernet: The supernet, which is moved to `device` and stays there.
        data: The training data; batches may be on any device.
        settings: The settings; a checkpoint made with other settings is refused.
        criterion: The loss and the distance of the task.
        state_path: The file for checkpoints, each written whole or not at all. Every process has a
            file of its own; only the first process reads and writes checkpoints, and the others get
            a copy at the start.
        methods: The methods that `settings` names; None for the defaults.
        device_cost: The cost of genotypes `(n, choices)` on a device, `(n,)`, for a sampler that
            searches for that device; None for BitOPs.
        progress: A function that is called after every step with the number of steps done, the
            total, and the losses of the step.
        device: The device on which to train.
        ranks: The processes that share the training.

    Raises:
        TrainingDiverged: If the loss or its gradient became NaN or infinite, or if the largest
            subnet or the mean of the others learns nothing. The last checkpoint is older.
        CheckpointError: If the checkpoint is damaged or belongs to another training.
    """
    methods = methods or Methods()
    settings = split(settings, supernet.space, samples=len(data))
    plan = schedule(settings, len(data), rate=methods.schedule)
    require_rows(ranks.count, settings.batch_size)
    supernet.to(device)
    batch = partial(_batch, data, settings, device=torch.device(device))
    context = TrainingContext(supernet, settings, plan, criterion, batch, device_cost, ranks)
    state = TrainingState(TrainingStep(context, methods), samples=len(data))
    _begin(state, state_path)
    guess = _guess(context)
    saved = time.monotonic()
    for losses in _steps(state, guess):
        late = time.monotonic() - saved > settings.checkpoint_seconds
        if ranks.first and (late or state.step == plan.total):
            state.save(state_path)
            saved = time.monotonic()
        if progress is not None:
            progress(state.step, plan.total, dict(zip(LOSSES, losses, strict=True)))
    if not settings.quantized_epochs:
        _initialise(context)
    favoured = state.made.sampler.favoured()
    return History(state.losses.numpy(), plan.float_steps, guess, favoured)


def _begin(state: TrainingState, path: Path) -> None:
    """Set the state from the checkpoint at `path`, or write the first checkpoint there."""
    ranks = state.context.ranks
    fresh = ranks.first and not path.exists()
    if fresh:
        state.save(path)  # finds a folder that cannot be written before any work
    ranks.copy(path)
    if not fresh:
        state.load(path)


def _steps(state: TrainingState, guess: float) -> Iterator[list[float]]:
    """Take all steps that are left; yields the losses after each.

    Raises:
        TrainingDiverged: See `train`.
    """
    plan = state.context.plan
    while state.step < plan.total:
        if state.step == plan.float_steps:
            _initialise(state.context)
        with state.context.ranks.sharing():
            losses = _train_step(state)
        state.record(losses)
        if state.step == plan.total:
            for call in state.made.callbacks.values():
                call.finish()
        _require_learning(state, guess)
        yield losses


def _train_step(state: TrainingState) -> list[float]:
    """Take a step if its losses and gradients are finite; returns its losses (see `LOSSES`)."""
    context, made, moment = state.context, state.made, Moment(state.step, state.context.plan)
    rate = context.plan.learning_rate(state.step)
    batch = context.rows(context.batch(state.step))
    for call in made.callbacks.values():
        call.before_step(moment)
    subnets = made.subnets(moment, batch, context.rng(_SUBNETS, state.step))
    state.optimizer.zero_grad()
    every = made.gradients(moment, batch, subnets)
    finite = all(map(math.isfinite, every))
    if finite:
        for call in made.callbacks.values():
            call.before_update(moment)
    norm = state.update(rate) if finite else math.nan
    if not math.isfinite(norm):
        raise TrainingDiverged(
            f"training diverged at step {state.step} of {context.plan.total}, at a learning rate "
            f"of {rate:.3g}: losses {every}, gradient norm {norm}; {_remedy(state)}, then train "
            "anew"
        )
    for call in made.callbacks.values():
        call.after_update(moment)
    made.told(moment, subnets, every)
    largest, *others = every
    return [largest, sum(others) / len(others), others[-1]] if others else 3 * [largest]


def _guess(context: TrainingContext) -> float:
    """The loss of the best constant answer to the targets of the first batches."""
    batches = range(min(_GUESSED_BATCHES, context.plan.total))
    return context.criterion.guess(torch.cat([context.batch(step)[1] for step in batches]))


def _require_learning(state: TrainingState, guess: float) -> None:
    """Raise `TrainingDiverged` at the end of an epoch that shows that nothing is learnt."""
    plan = state.context.plan
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
    groups = state.context.supernet.parameter_groups()
    steps = [*groups["weight_steps"], *groups["input_steps"]]
    return remedy(state.context.settings, growth=state.growth, steps=steps)


def _batch(
    data: TrainingData, settings: TrainingSettings, step: int, *, device: torch.device
) -> Batch:
    """The batch of `step` on a device; every epoch has an order of its own."""
    size, seed = settings.batch_size, settings.seed
    epoch, place = divmod(step, len(data) // size)
    order = np.random.default_rng([seed, _ORDER, epoch]).permutation(len(data))
    rows = order[place * size : (place + 1) * size]
    inputs, targets = data.batch(rows, np.random.default_rng([seed, _BATCH, step]))
    return to_device(inputs, device), targets.to(device)


def _initialise(context: TrainingContext) -> None:
    """Initialise the quantizers from the present weights and the first batches."""
    if context.ranks.first:
        batches = [context.batch(step)[0] for step in range(_CALIBRATION_BATCHES)]
        initialise_steps(context.supernet, batches)
    context.ranks.spread(context.supernet)
