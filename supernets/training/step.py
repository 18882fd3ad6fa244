"""A step of a training: the gradients of a few subnets on one batch, and the update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from search_spaces.space import Genotype, as_genotypes
from supernets.training.callbacks import Callback
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.methods import Methods
from supernets.training.samplers import Sampler, Sandwich
from supernets.training.samplers.precisions import with_most_bits
from supernets.training.students.loss import student_loss

_LARGEST = 0


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """The step of a training with its parts.

    Attributes:
        context: The training.
        methods: The methods of the training.
        sampler: The source of subnets.
        callbacks: The additions, by name.
    """

    context: TrainingContext
    methods: Methods
    sampler: Sampler = field(init=False)
    callbacks: Mapping[str, Callback] = field(init=False)

    def __post_init__(self) -> None:
        made = {name: make(self.context) for name, make in self.methods.callbacks.items()}
        object.__setattr__(self, "sampler", self.methods.sampler(self.context))
        object.__setattr__(self, "callbacks", made)

    def subnets(self, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
        """The subnets of a step: those of the sampler, or at the beginning the largest alone.

        In full precision, subnets that differ in precision only are one subnet.
        """
        space = self.sampler.space
        if moment.of_largest:
            return Sandwich(space.largest, (), space.largest)
        drawn = self.sampler.draw(moment, batch, rng)
        if moment.quantized:
            return drawn
        picked = (drawn.largest, *drawn.random, drawn.smallest)
        rows = np.array(picked, dtype=np.int64)  # (n, 0) in a space without choices
        largest, *random, smallest = as_genotypes(
            space.canonical_array(with_most_bits(space, rows))
        )
        return Sandwich(largest, tuple(random), smallest)

    def told(self, moment: Moment, subnets: Sandwich, losses: Sequence[float]) -> None:
        """Tell the sampler the losses of the subnets that it drew."""
        if not moment.of_largest:
            self.sampler.tell(moment, subnets, losses)

    def gradients(self, moment: Moment, batch: Batch, subnets: Sandwich) -> list[float]:
        """Add the gradients of a step to the parameters' gradients; returns each subnet's loss.

        The sandwich rule with in-place distillation (Yu & Huang 2019, algorithm 1): the largest
        subnet learns from the targets; all other subnets learn from the targets and from a teacher,
        which is one of the subnets that ran before.

        Returns:
            The loss of the largest subnet, then those of `subnets.students` in their order.
        """
        order = (subnets.largest, *self._descending(subnets.students))
        cost = self._costs(order)
        outputs: list[Tensor] = []
        losses: dict[Genotype, Tensor] = {}
        share = self.context.ranks.share(batch[1])
        for place, genotype in enumerate(order):
            output = self._output(place, batch, genotype, quantize=moment.quantized)
            relative = float(cost[place] / cost[_LARGEST]) if cost[_LARGEST] else 1.0
            cheapest = place == len(order) - 1
            loss = self._loss(
                moment, output, outputs, batch[1], relative=relative, cheapest=cheapest
            )
            extra = (call.penalty(moment, place, genotype) for call in self.callbacks.values())
            whole = sum((part for part in extra if part is not None), start=loss)
            (share * whole).backward()
            for call in self.callbacks.values():
                call.after_pass(moment, place, genotype)
            outputs.append(output.detach())
            losses[genotype] = loss.detach()
        told = [losses[genotype] for genotype in (subnets.largest, *subnets.students)]
        return self._summed(share * torch.stack(told)).tolist()

    def _summed(self, losses: Tensor) -> Tensor:
        """The losses, with which the gradients are added up over all processes."""
        parameters = self.context.supernet.parameters()
        found = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.context.ranks.add(losses, *found)
        return losses

    def _descending(self, students: tuple[Genotype, ...]) -> list[Genotype]:
        """The students from the costliest to the cheapest."""
        cost = self._costs(students)
        return [students[i] for i in np.argsort(-cost, kind="stable")]

    def _costs(self, genotypes: tuple[Genotype, ...]) -> np.ndarray:
        choices = len(self.sampler.space.choices)
        return self.context.cost(
            np.array(genotypes, dtype=np.int64).reshape(len(genotypes), choices)
        )

    def _output(self, place: int, batch: Batch, genotype: Genotype, *, quantize: bool) -> Tensor:
        calls = [call for call in self.callbacks.values() if call.observes]

        def observe(address: str, position: int, value: Tensor) -> None:
            for call in calls:
                call.observe(place, address, position, value)

        run = self.context.supernet.run
        return run(batch[0], genotype, quantize=quantize, observe=observe if calls else None)

    def _loss(
        self,
        moment: Moment,
        output: Tensor,
        before: list[Tensor],
        targets: Tensor,
        *,
        relative: float,
        cheapest: bool,
    ) -> Tensor:
        context, methods = self.context, self.methods
        if not before:
            return context.criterion.loss(output, targets)
        return student_loss(
            output,
            methods.teacher(before, cheapest),
            targets,
            criterion=context.criterion,
            divergence=methods.divergence,
            distillation=methods.mix(context.settings.distillation, moment, relative),
        )
