"""The time that a step of a training takes, measured in each part of the training."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from supernets.training.freed_memory import keep_freed_memory
from supernets.training.schedule import Schedule
from supernets.training.state import TrainingState
from supernets.training.step import TrainingStep
from supernets.training.train import initialise, train_step

_WARM = 2
_LEAST, _MOST = 3, 30
_SHARE = 20  # one of so many steps is taken, so that a short training is not timed for long


def parts(plan: Schedule) -> Iterator[tuple[int, int]]:
    """The parts of a training whose steps differ: the first step, and the first step after it.

    These are the part of the largest subnet alone, the rest in full precision, and the part with
    quantization.
    """
    ends = (0, plan.largest_steps, plan.float_steps, plan.total)
    yield from ((start, end) for start, end in itertools.pairwise(ends) if end > start)


def paces(
    made: TrainingStep, *, samples: int, done: int = 0, budget_s: float = 0.7
) -> dict[tuple[int, int], float]:
    """The seconds of a step in each part of a training that is not over.

    A few steps are taken as in the training, after others that only warm up.

    Args:
        made: The step of the training, whose supernet is changed. The learning rate of its schedule
            should be next to 0, or untrained weights may diverge.
        samples: The number of training samples.
        done: The number of steps that are done already.
        budget_s: The time after which no further step of a part is taken.
    """
    keep_freed_memory()
    state, plan = TrainingState(made, samples=samples), made.context.plan
    found: dict[tuple[int, int], float] = {}
    for start, end in parts(plan):
        if end > done:
            if start >= plan.float_steps:
                initialise(made.context)
            found[start, end] = _pace(state, range(start, end), budget_s)
    return found


def _pace(state: TrainingState, steps: range, budget_s: float) -> float:
    """The mean time of steps, without the first of them."""
    times: list[float] = []
    most = min(_MOST, max(_LEAST, len(steps) // _SHARE))
    begun = time.perf_counter()
    for state.step in itertools.islice(itertools.cycle(steps), most):
        start = time.perf_counter()
        train_step(state)
        times.append(time.perf_counter() - start)
        if len(times) > 1 and time.perf_counter() - begun > budget_s:
            break
    counted = times[_WARM:] or times[1:]
    return sum(counted) / len(counted)
