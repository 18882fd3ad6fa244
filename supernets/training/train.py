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
from supernets.inputs import channels_last, to_device
from supernets.ranks import ALONE, Ranks, require_rows
from supernets.supernet import Supernet
from supernets.training.context import Batch, Cost, TrainingContext
from supernets.training.criterion import TrainingCriterion
from supernets.training.divergence import TrainingDiverged, remedy
from supernets.training.freed_memory import keep_freed_memory
from supernets.training.methods import Methods
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.split import split
from supernets.training.state import LOSSES, SLOWER, Return, TrainingState
from supernets.training.step import TrainingStep
from supernets.training.watch import is_sound, trouble_of

__all__ = ["History", "TrainingData", "TrainingDiverged", "TrainingSettings", "train"]

Progress = Callable[[int, int, Mapping[str, float]], None]
Say = Callable[[str], None]

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
        returned: The return to an earlier step after the training had diverged, if it had.
        favoured: The subnet that a sampler which searches has found best, else None.
    """

    losses: NDArray[np.float32]
    float_steps: int
    guess: float
    returned: Return | None = None
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
    say: Say | None = None,
    device: torch.device | str = "cpu",
    ranks: Ranks = ALONE,
    elsewhere: Callable[[], None] | None = None,
    origin: str = "",
) -> History:
    """Train `supernet` in place; continues from the checkpoint at `state_path` if there is one.

    A training that diverges goes back once, to the end of the last epoch that learnt, or else to
    its start, and goes on with a third of the learning rate. It diverges if a loss or a gradient is
    not finite, or if the subnets learn nothing or forget all (see `watch`).

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
        say: A function that is called with a sentence when the training goes back.
        device: The device on which to train.
        ranks: The processes that share the training.
        elsewhere: A function that continues the checkpoint at `state_path` to its end, in other
            processes; None to train in this process.
        origin: A digest of the weights at the start, if they are given ones; a checkpoint of a
            training that began from others is refused.

    Raises:
        TrainingDiverged: If the training diverges a second time. The last checkpoint is older.
        CheckpointError: If the checkpoint is damaged or belongs to another training.
    """
    methods = methods or Methods()
    settings = split(settings, supernet.space, samples=len(data))
    plan = schedule(settings, len(data), rate=methods.schedule)
    require_rows(ranks.count, settings.batch_size)
    supernet.to(device)
    keep_freed_memory()
    batch = partial(batch_of, data, settings, device=torch.device(device))
    context = TrainingContext(supernet, settings, plan, criterion, batch, device_cost, ranks)
    state = TrainingState(TrainingStep(context, methods), samples=len(data), origin=origin)
    _begin(state, state_path)
    if elsewhere is not None and state.step < plan.total:
        elsewhere()
        state.load(state_path)
    guess = _guess(context)
    _run(state, guess, state_path, progress=progress, say=say)
    if not settings.quantized_epochs:
        initialise(context)
    return History(
        state.losses.numpy(),
        plan.float_steps,
        guess,
        returned=state.returned,
        favoured=state.made.sampler.favoured(),
    )


def _run(
    state: TrainingState, guess: float, path: Path, *, progress: Progress | None, say: Say | None
) -> None:
    """Take all steps that are left, with checkpoints at `path`; raises as `train` does."""
    context, saved = state.context, time.monotonic()
    for losses in _steps(state, guess, say):
        late = time.monotonic() - saved > context.settings.checkpoint_seconds
        if context.ranks.first and (late or state.step == context.plan.total):
            state.save(path)
            saved = time.monotonic()
        if progress is not None:
            progress(state.step, context.plan.total, dict(zip(LOSSES, losses, strict=True)))


def _begin(state: TrainingState, path: Path) -> None:
    """Set the state from the checkpoint at `path`, or write the first checkpoint there."""
    ranks = state.context.ranks
    fresh = ranks.first and not path.exists()
    if fresh:
        state.save(path)  # finds a folder that cannot be written before any work
    ranks.copy(path)
    if not fresh:
        state.load(path)


class _Trouble(Exception):
    """The divergence of a training, which may yet go back."""


def _steps(state: TrainingState, guess: float, say: Say | None) -> Iterator[list[float]]:
    """Take all steps that are left; yields the losses after each.

    Raises:
        TrainingDiverged: See `train`.
    """
    plan = state.context.plan
    while state.step < plan.total:
        try:
            losses = _next_step(state, guess)
        except _Trouble as trouble:
            told = _gone_back(state, str(trouble))
            if say is not None:
                say(told)
            continue
        if state.step == plan.total:
            for call in state.made.callbacks.values():
                call.finish()
        yield losses


def _next_step(state: TrainingState, guess: float) -> list[float]:
    """Take a step and judge the training; returns the losses, or raises `_Trouble`."""
    if state.step == state.context.plan.largest_steps > 0:
        state.sort_channels()
    if state.step == state.context.plan.float_steps:
        initialise(state.context)
    with state.context.ranks.sharing():
        losses = train_step(state)
    state.record(losses)
    if trouble := trouble_of(state, guess):
        raise _Trouble(trouble)
    if is_sound(state, guess):
        state.trust()
    return losses


def _gone_back(state: TrainingState, trouble: str) -> str:
    """A sentence about the return of the training to its last good state.

    Raises:
        TrainingDiverged: If the training went back before.
    """
    settings, before = state.context.settings, state.returned
    if before is not None:
        groups = state.context.supernet.parameter_groups()
        steps = [*groups["weight_steps"], *groups["input_steps"]]
        advice = remedy(settings, growth=state.growth, steps=steps, slower=SLOWER)
        raise TrainingDiverged(
            f"{trouble}, and had diverged at step {before.found} before, whereupon it went back to "
            f"step {before.step} with a third of the learning rate; {advice}, then train anew"
        ) from None
    state.go_back()
    return (
        f"{trouble}; went back to step {state.step} with a third of the learning rate, at most "
        f"{settings.learning_rate * SLOWER:.3g}"
    )


def train_step(state: TrainingState) -> list[float]:
    """Take a step if its losses and gradients are finite; returns its losses (see `LOSSES`)."""
    context, made, moment = state.context, state.made, state.moment
    rate = moment.plan.learning_rate(moment.step)
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
        raise _Trouble(
            f"training diverged at step {state.step} of {context.plan.total}, at a learning rate "
            f"of {rate:.3g}: losses {every}, gradient norm {norm}"
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


def batch_of(
    data: TrainingData, settings: TrainingSettings, step: int, *, device: torch.device
) -> Batch:
    """The batch of `step` on a device; every epoch has an order of its own."""
    size, seed = settings.batch_size, settings.seed
    epoch, place = divmod(step, len(data) // size)
    order = np.random.default_rng([seed, _ORDER, epoch]).permutation(len(data))
    rows = order[place * size : (place + 1) * size]
    inputs, targets = data.batch(rows, np.random.default_rng([seed, _BATCH, step]))
    moved = to_device(inputs, device)
    # Convolutions and norms on a CPU are faster so; the shapes and the weights stay as they are.
    return channels_last(moved) if device.type == "cpu" else moved, targets.to(device)


def initialise(context: TrainingContext) -> None:
    """Initialise the quantizers from the present weights and the first batches."""
    if context.ranks.first:
        batches = [context.batch(step)[0] for step in range(_CALIBRATION_BATCHES)]
        initialise_steps(context.supernet, batches)
    context.ranks.spread(context.supernet)
