"""The replaceable methods of a training, of which the settings hold the names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from supernets.quantizers import LearnedSteps, Quantizer
from supernets.training.callbacks import Callback
from supernets.training.context import TrainingContext
from supernets.training.rates import Rate, cooldown
from supernets.training.samplers import Sampler, UniformSandwich
from supernets.training.students.divergences import Divergence, task_distance
from supernets.training.students.mixes import Mix, by_cost
from supernets.training.students.teachers import Teacher, largest


@dataclass(frozen=True)
class Methods:
    """The methods of a training; the defaults are those that `TrainingSettings` names.

    Attributes:
        quantizer: The quantizer of all weights and inputs.
        schedule: The learning rate over time.
        sampler: Makes the sampler of the subnets of each step.
        teacher: Picks the output that a subnet learns from.
        divergence: The distance from the teacher's output.
        mix: The weight of that distance over time.
        callbacks: Make the additions to the training, by name.
    """

    quantizer: type[Quantizer] = LearnedSteps
    schedule: Rate = cooldown
    sampler: Callable[[TrainingContext], Sampler] = UniformSandwich
    teacher: Teacher = largest
    divergence: Divergence = task_distance
    mix: Mix = by_cost
    callbacks: Mapping[str, Callable[[TrainingContext], Callback]] = field(default_factory=dict)
