"""The settings of a training, and the schedule: number of steps and learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from supernets.training.rates import Rate, cooldown

OptimizerName = Literal["sgd", "adamw"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of the training of a supernet.

    Attributes:
        float_epochs: The number of epochs in full precision, over architectures only.
        quantized_epochs: The number of epochs that follow, over architectures and precisions.
        epochs: The number of all epochs, which `split` divides in place of the two numbers above;
            None for these.
        batch_size: The number of samples per step.
        learning_rate: The highest learning rate of the weights.
        optimizer: The method: `sgd`, with Nesterov's momentum, or `adamw` (Loshchilov & Hutter
            2019), which networks of attention need.
        step_rate: The learning rate of quantizer steps divided by that of the weights.
        momentum: The momentum of Nesterov's method, or the decay rate of AdamW's mean.
        weight_decay: The weight decay of weights; norms, biases and quantizer steps have none.
        largest_first: The share of the steps in full precision, at the beginning, in which only the
            largest subnet learns; all other subnets then start from weights that are good already
            (Cai et al. 2020, section 3.3, whose progressive shrinking trains the largest first).
        distillation: The weight of the distillation from the largest subnet in the loss of all
            other subnets, 0 to 1, which `mix` changes; the loss for the targets has the rest.
        random_subnets: The number of random subnets of a step, besides the largest and smallest.
        gradient_clip: The largest norm of the summed gradient; a longer one is scaled down.
        warmup: The share of all steps over which the learning rate rises.
        checkpoint_seconds: The time between checkpoints; has no influence on the weights.
        quantizer: The name of the quantizer.
        schedule: The name of the learning rate's course over time.
        sampler: The name of the source of the subnets of each step.
        teacher: The name of the choice of the output that a subnet learns from.
        divergence: The name of the distance from the teacher's output.
        mix: The name of the course of the weight `distillation` over time and subnets.
        callbacks: The names of additions, such as penalties or averages of the weights.
        seed: The seed of all random draws.

    Raises:
        ValueError: If a setting is out of its range.
    """

    float_epochs: int = 30
    quantized_epochs: int = 20
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float = 0.2
    optimizer: OptimizerName = "sgd"
    step_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    largest_first: float = 0.4
    distillation: float = 0.5
    random_subnets: int = 4
    gradient_clip: float = 1.0
    warmup: float = 0.05
    checkpoint_seconds: float = 30.0
    quantizer: str = "lsq"
    schedule: str = "cooldown"
    sampler: str = "sandwich"
    teacher: str = "largest"
    divergence: str = "task"
    mix: str = "by-cost"
    callbacks: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _require_known(self.optimizer)
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, given {getattr(self, name)}")
        for name in ("learning_rate", "step_rate", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, given {getattr(self, name)}")
        for name, most in _SHARES.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(
                    f"{name} must lie in 0 to {'1' if most == 1 else 'below 1'}, "
                    f"given {getattr(self, name)}"
                )
        _require_some_left(self.learning_rate, self.weight_decay)
        if self.float_epochs + self.quantized_epochs == 0:
            raise ValueError("float_epochs and quantized_epochs are both 0; train for one at least")
        _require_one_count(self)


_LEAST = {
    "float_epochs": 0,
    "quantized_epochs": 0,
    "batch_size": 2,  # the statistics of a batch norm need at least two samples
    "random_subnets": 0,
    "weight_decay": 0,
    "checkpoint_seconds": 0,
    "seed": 0,
}
_BELOW_ONE = math.nextafter(1, 0)
_SHARES = {
    "momentum": _BELOW_ONE,
    "warmup": _BELOW_ONE,
    "largest_first": 1.0,
    "distillation": 1.0,
}


def _require_known(optimizer: str) -> None:
    if optimizer not in get_args(OptimizerName):
        known = " or ".join(map(repr, get_args(OptimizerName)))
        raise ValueError(f"optimizer must be {known}, given {optimizer!r}")


def _require_one_count(settings: TrainingSettings) -> None:
    """Raise `ValueError` if both `epochs` and its parts are given."""
    kind = type(settings)
    parts = {name: getattr(settings, name) for name in ("float_epochs", "quantized_epochs")}
    given = [f"{n} = {value}" for n, value in parts.items() if value != getattr(kind, n)]
    if settings.epochs is not None and settings.epochs < 1:
        raise ValueError(f"epochs must be at least 1, given {settings.epochs}")
    if settings.epochs is not None and given:
        raise ValueError(
            f"epochs = {settings.epochs} is split into float and quantized epochs, given "
            f"{' and '.join(given)} too; give either epochs, or float_epochs and quantized_epochs"
        )


def _require_some_left(learning_rate: float, weight_decay: float) -> None:
    """Raise `ValueError` if a single step of weight decay would remove the weights entirely.

    A learning rate above 1 is not refused here, but when the training diverges.
    """
    if learning_rate <= 1 and not learning_rate * weight_decay < 1:
        raise ValueError(
            f"weight_decay must be below 1 / learning_rate = {1 / learning_rate:g}, or a step "
            f"takes all of the weights away, given {weight_decay:g}"
        )


@dataclass(frozen=True)
class Schedule:
    """The steps of a training and their learning rates.

    Attributes:
        float_steps: The number of steps in full precision; all later steps are quantized.
        total: The number of all steps.
        epoch: The number of steps of an epoch.
        warmup: The number of steps over which the learning rate rises.
        largest_steps: The number of steps, at the beginning, in which only the largest subnet
            learns.
        highest: The highest learning rate.
        rate: The course of the learning rate after it has risen.
    """

    float_steps: int
    total: int
    epoch: int
    warmup: int
    largest_steps: int
    highest: float
    rate: Rate = field(default=cooldown)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step: a linear rise, then the course of `rate`."""
        if step < self.warmup:
            return self.highest * (step + 1) / (self.warmup + 1)
        decaying = self.total - self.warmup
        share, quantized = (
            max(0.0, (at - self.warmup) / decaying) for at in (step, self.float_steps)
        )
        return self.highest * self.rate(share, quantized)


def schedule(settings: TrainingSettings, samples: int, *, rate: Rate = cooldown) -> Schedule:
    """The schedule of `settings` for a number of training samples, without incomplete batches.

    Args:
        settings: The settings.
        samples: The number of training samples.
        rate: The course of the learning rate that `settings.schedule` names.

    Raises:
        ValueError: If a batch is larger than all samples, or `settings.epochs` was not split
            before.
    """
    if settings.epochs is not None:
        raise ValueError(f"epochs = {settings.epochs} must be split first; use `split`")
    if samples < settings.batch_size:
        raise ValueError(
            f"batch_size = {settings.batch_size} is more than the {samples} training samples; give "
            "a smaller batch_size or more samples"
        )
    epoch = samples // settings.batch_size
    total = epoch * (settings.float_epochs + settings.quantized_epochs)
    return Schedule(
        float_steps=epoch * settings.float_epochs,
        total=total,
        epoch=epoch,
        warmup=round(settings.warmup * total),
        largest_steps=round(settings.largest_first * epoch * settings.float_epochs),
        highest=settings.learning_rate,
        rate=rate,
    )
