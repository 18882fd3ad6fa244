"""The watch over a training: whether it is in trouble, and whether a state can be gone back to."""

from __future__ import annotations

from supernets.training.divergence import (
    STEPS_IN_A_ROW,
    has_forgotten,
    has_learnt,
    is_hopeless,
    is_useless,
)
from supernets.training.state import TrainingState


def trouble_of(state: TrainingState, guess: float) -> str | None:
    """A sentence about what is wrong with a training after its last step; None if nothing is.

    The last steps are judged after every step, once the warm-up is over. All of an epoch is judged
    at its end, unless it began in the warm-up and ends no phase.

    Args:
        state: The training, after a step.
        guess: The loss of the best constant answer.
    """
    plan, untrained = state.context.plan, _losses(state, 0)[0]
    last = _losses(state, max(plan.warmup, state.step - STEPS_IN_A_ROW))
    if is_hopeless(last, guess=guess, untrained=untrained):
        return _told(state, last, guess)
    start, ends = state.step - plan.epoch, state.step in (plan.float_steps, plan.total)
    if state.step % plan.epoch or (start < plan.warmup and not ends):
        return None
    losses = _losses(state, start)
    useless = is_useless(losses, guess=guess, untrained=untrained, growth=state.growth, ends=ends)
    return _told(state, losses, guess) if useless or _has_forgotten(state, guess) else None


def is_sound(state: TrainingState, guess: float) -> bool:
    """Whether an epoch that learnt ends, so that the training may later go back to this state."""
    plan = state.context.plan
    return (
        state.step % plan.epoch == 0
        and has_learnt(_losses(state, state.step - plan.epoch), guess=guess)
        and all(bool(p.isfinite().all()) for p in state.supernet.parameters())
    )


def _has_forgotten(state: TrainingState, guess: float) -> bool:
    """Whether the largest subnet has learnt before, and the epoch that ends is as bad as a guess.

    The first epoch of a phase is not judged.
    """
    plan = state.context.plan
    start = state.step - plan.epoch
    if not state.good or start in (0, plan.float_steps):
        return False
    return has_forgotten(state.losses[start : state.step, 0].tolist(), guess=guess)


def _losses(state: TrainingState, start: int) -> list[float]:
    """Per step since `start`: the larger of the largest subnet's loss and the others' mean."""
    return state.losses[start : state.step, :2].amax(1).tolist()


def _told(state: TrainingState, losses: list[float], guess: float) -> str:
    return (
        f"training diverged by step {state.step} of {state.context.plan.total}: the subnets' loss "
        f"is {sum(losses) / len(losses):.4g} over the last {len(losses)} steps, was "
        f"{_losses(state, 0)[0]:.4g} at the start, and is {guess:.4g} for a constant guess"
    )
