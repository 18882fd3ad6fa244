"""How long a supernet trains and how fast: settings, and the learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a supernet is trained.

    Attributes:
        float_epochs: Epochs over architectures in full precision.
        quantized_epochs: Epochs over architectures and precisions together, which follow.
        batch_size: Images per step.
        learning_rate: Of the weights, at its highest.
        step_rate: The learning rate of quantizer steps over that of the weights.
        momentum: Nesterov's.
        weight_decay: On weights only; norms, biases and quantizer steps have none.
        label_smoothing: Of the labels.
        distillation: Share of the largest subnet's answers in what all other subnets learn, 0 to 1;
            the labels have the rest.
        random_subnets: Subnets a step draws besides the largest and the smallest.
        gradient_clip: Largest norm of the summed gradient.
        warmup: Share of all steps over which the learning rate rises.
        checkpoint_seconds: Time between checkpoints; decides nothing else.
        seed: Fixes every random draw.
    """

    float_epochs: int = 30
    quantized_epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.2
    step_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    distillation: float = 0.5
    random_subnets: int = 2
    gradient_clip: float = 1.0
    warmup: float = 0.05
    checkpoint_seconds: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
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


_LEAST = {
    "float_epochs": 0,
    "quantized_epochs": 0,
    "batch_size": 2,  # the statistics of a batch norm need two images
    "random_subnets": 0,
    "weight_decay": 0,
    "checkpoint_seconds": 0,
    "seed": 0,
}
_BELOW_ONE = math.nextafter(1, 0)
_SHARES = {
    "momentum": _BELOW_ONE,
    "label_smoothing": _BELOW_ONE,
    "warmup": _BELOW_ONE,
    "distillation": 1.0,
}


def _require_some_left(learning_rate: float, weight_decay: float) -> None:
    """A step must leave some of the weights; where the rate is at fault, training tells so."""
    if learning_rate <= 1 and not learning_rate * weight_decay < 1:
        raise ValueError(
            f"weight_decay must be below 1 / learning_rate = {1 / learning_rate:g}, or a step "
            f"takes all of the weights away, given {weight_decay:g}"
        )


@dataclass(frozen=True)
class Schedule:
    """The steps of a training: how many, which are quantized, and the learning rate of each."""

    float_steps: int
    total: int
    epoch: int
    warmup: int
    highest: float

    def learning_rate(self, step: int) -> float:
        """A linear rise, then half a cosine to zero over both phases."""
        if step < self.warmup:
            return self.highest * (step + 1) / (self.warmup + 1)
        share = (step - self.warmup) / (self.total - self.warmup)
        return self.highest * (1 + math.cos(math.pi * share)) / 2


def schedule(settings: TrainingSettings, images: int) -> Schedule:
    """The schedule of `settings` on `images` training images; incomplete batches are left out."""
    if images < settings.batch_size:
        raise ValueError(
            f"batch_size = {settings.batch_size} is more than the {images} training images"
        )
    epoch = images // settings.batch_size
    total = epoch * (settings.float_epochs + settings.quantized_epochs)
    return Schedule(
        float_steps=epoch * settings.float_epochs,
        total=total,
        epoch=epoch,
        warmup=round(settings.warmup * total),
        highest=settings.learning_rate,
    )
