"""Callbacks: additions to a training, such as a penalty or an average of the weights."""

from __future__ import annotations

from torch import Tensor

from search_spaces.space import Genotype
from supernets.training.context import Moment, TrainingContext
from supernets.training.part import TrainingPart


class Callback(TrainingPart):
    """Base of additions to a training, whose methods are called at fixed points of every step.

    A step runs the largest subnet, then the other subnets of its sandwich, each forward and
    backward; then it updates the parameters. All methods of this base class do nothing.

    Several processes may train together, each on its own rows of the batch. The gradients of the
    processes are added before `before_update`. A callback that decides by an input or by an earlier
    gradient therefore adds what it has found with `context.ranks` first, so that all processes
    decide alike. Penalties are weighted so that a penalty on parameters counts once.

    Attributes:
        observes: Whether `observe` is to be called, which keeps inputs of operators in memory.

    Args:
        context: The training.
    """

    observes: bool = False

    def __init__(self, context: TrainingContext) -> None:
        self.context = context

    def before_step(self, moment: Moment) -> None:
        """Called before the subnets of a step run."""

    def observe(self, place: int, address: str, position: int, value: Tensor) -> None:
        """Called for every input of an operator that has a quantizer, before it is quantized.

        Args:
            place: The place of the subnet in the step; 0 for the largest subnet.
            address: The address of the operator.
            position: The position of the input.
            value: The input, with its gradient.
        """

    def penalty(self, moment: Moment, place: int, genotype: Genotype) -> Tensor | None:
        """A scalar that is added to the loss of a subnet before its backward pass."""
        return None

    def after_pass(self, moment: Moment, place: int, genotype: Genotype) -> None:
        """Called after the backward pass of a subnet, which adds its gradient to the others'."""

    def before_update(self, moment: Moment) -> None:
        """Called with the gradients of the whole step, before they are clipped."""

    def after_update(self, moment: Moment) -> None:
        """Called after the parameters changed."""

    def finish(self) -> None:
        """Called once, after the last step; may replace the parameters."""
