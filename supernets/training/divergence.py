"""Early detection of a training that learns nothing, with the setting that may have caused this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from torch import Tensor

from supernets.training.schedule import TrainingSettings

# The mean loss of an epoch over the loss of the start, which is that of a constant guess or of the
# untrained network, whichever is larger: hopeless at any time after the warm-up ...
_HOPELESS = 10.0
# ... and useless at the end of a phase: above this ratio by a margin and twice the standard error.
_MARGIN = 1.1
# The number of steps in a row that are hopeless, after which the end of the epoch is not awaited.
STEPS_IN_A_ROW = 20
# The mean loss of an epoch over that of a guess: subnets have learnt, or have forgotten all.
_LEARNT = 0.9
_FORGOTTEN = 0.98
# Weights are this many times larger or smaller than at first, and the loss is nearly a guess's.
_MOVED = 30.0
_AS_HIGH = 0.9
# The natural logarithms of quantizer steps stay below this bound unless the steps have diverged.
_LARGEST_LOG_STEP = 20.0
_FAR = 5.0  # times the default
_DEFAULTS = asdict(TrainingSettings())


class TrainingDiverged(RuntimeError):
    """The loss of a training is not finite or no better than a guess; names the likely setting."""


def is_useless(
    losses: Sequence[float], *, guess: float, untrained: float, growth: float, ends: bool
) -> bool:
    """Whether an epoch after the warm-up shows that a training learns nothing.

    Args:
        losses: For every step, the larger of two losses: that of the largest subnet and the mean of
            the others.
        guess: The loss of the best constant answer.
        untrained: That of the first step; narrow subnets of a trained network may begin far above a
            guess.
        growth: The norm of the weights divided by their norm before training.
        ends: Whether a phase of training ends with this epoch.
    """
    mean = float(np.mean(losses))
    start = max(guess, untrained)
    if not mean <= _HOPELESS * start:
        return True
    error = float(np.std(losses)) / math.sqrt(len(losses))
    worse = mean - 2 * error > _MARGIN * start
    moved = not 1 / _MOVED < growth < _MOVED
    return ends and (worse or (moved and mean > _AS_HIGH * guess))


def is_hopeless(losses: Sequence[float], *, guess: float, untrained: float) -> bool:
    """Whether the losses of the last steps, as in `is_useless`, are all far above the start's.

    False for fewer steps than `STEPS_IN_A_ROW`.
    """
    last = losses[-STEPS_IN_A_ROW:]
    return len(last) == STEPS_IN_A_ROW and not min(last) <= _HOPELESS * max(guess, untrained)


def has_learnt(losses: Sequence[float], *, guess: float) -> bool:
    """Whether the losses of an epoch, among them those of its last steps, are below a guess's."""
    last = losses[-STEPS_IN_A_ROW:]
    return max(float(np.mean(losses)), float(np.mean(last))) < _LEARNT * guess


def has_forgotten(losses: Sequence[float], *, guess: float) -> bool:
    """Whether an epoch of a network that had learnt is no better than a guess."""
    error = float(np.std(losses)) / math.sqrt(len(losses))
    return float(np.mean(losses)) - 2 * error > _FORGOTTEN * guess


def remedy(
    settings: TrainingSettings, *, growth: float, steps: Sequence[Tensor], slower: float = 1.0
) -> str:
    """A sentence that advises which setting to change, with the evidence from the parameters.

    Args:
        settings: The settings of the training that diverged.
        growth: The norm of the weights divided by their norm before training.
        steps: The natural logarithms of the quantizer steps.
        slower: The learning rate at the divergence over that of the settings.
    """
    log_step = max((float(p.detach().abs().max()) for p in steps), default=0.0)
    steps_left = not log_step <= _LARGEST_LOG_STEP
    shown = f"the weights' norm is {growth:.3g} times that before training"
    if steps_left:
        shown += f", and a quantizer step has the logarithm {log_step:.3g}"
    far = [name for name in _order(growth, steps_left) if _is_far(name, settings)]
    if not far:
        rate, lower = settings.learning_rate, settings.learning_rate * slower / 3
        return f"{shown}; lower learning_rate from {rate:g} to {lower:.2g} or raise warmup"
    first, *others = (
        f"{name} from {getattr(settings, name):g} towards its default {_DEFAULTS[name]:g}"
        for name in far
    )
    return f"{shown}; lower {first}" + "".join(f", or else {other}" for other in others)


def _order(growth: float, steps_left: bool) -> tuple[str, ...]:
    """The settings that may have caused the divergence, the likeliest first."""
    common = ("learning_rate", "momentum", "gradient_clip")
    if growth < 1 / _MOVED:
        return "weight_decay", *common, "step_rate"
    if steps_left and growth < _MOVED:
        return "step_rate", *common, "weight_decay"
    return *common, "step_rate", "weight_decay"


def _is_far(name: str, settings: TrainingSettings) -> bool:
    value, default = getattr(settings, name), _DEFAULTS[name]
    if name == "momentum":  # what counts is over how many steps it averages
        value, default = 1 / (1 - value), 1 / (1 - default)
    return value >= _FAR * default
