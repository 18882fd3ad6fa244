"""The contract of a sampler of subnets: give `make` as a fixture and inherit every test."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.tasks.criteria import Classification
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace
from supernets.calibrate import initialise_steps
from supernets.supernet import Supernet
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.samplers import Sampler, Sandwich
from supernets.training.schedule import TrainingSettings, schedule

MakeSampler = Callable[[TrainingContext], Sampler]

SETTINGS = TrainingSettings(
    float_epochs=1, quantized_epochs=2, batch_size=8, random_subnets=3, warmup=0.0
)
_SAMPLES = 32
# A draw may run so many subnets forward for every subnet that the step will train.
_PASSES = 4


def elastic_space() -> SearchSpace:
    """Elastic depth, widths, kernels, and bits of weights and inputs."""
    return residual(
        inputs=(Input("image", (1, 6, 6)),),
        output=(3,),
        widths=((4, 6), (4, 8)),
        depths=((1, 2),),
        kernels=(3, 5),
        policy=Policy(weight_bits=(2, 4, 8), activation_bits=(4, 8)),
    )


@cache
def context_of(space: SearchSpace, settings: TrainingSettings = SETTINGS) -> TrainingContext:
    """A training on random images of three classes, with a supernet that is not trained; cached."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_SAMPLES, 1, 6, 6, generator=generator)
    labels = torch.randint(0, 3, (_SAMPLES,), generator=generator)

    def batch(step: int) -> Batch:
        rows = np.random.default_rng(step).permutation(_SAMPLES)[: settings.batch_size]
        return {"image": images[rows]}, labels[rows]

    supernet = Supernet(space, seed=0)
    initialise_steps(supernet, [batch(0)[0]])
    plan = schedule(settings, _SAMPLES)
    return TrainingContext(supernet, settings, plan, Classification(), batch)


class SamplerContract:
    """The tests of a sampler.

    A step has three random subnets. The first four steps of twelve are in full precision.
    """

    @pytest.fixture
    def make(self) -> MakeSampler:
        raise NotImplementedError("give the sampler under test, a function of a training")

    @pytest.fixture
    def context(self) -> TrainingContext:
        return context_of(elastic_space())

    def test_subnets_belong_to_the_space_and_are_canonical(self, make, context):
        space, found = context.supernet.space, [*steps(make(context))]
        for subnets in found:
            for genotype in (subnets.largest, *subnets.random, subnets.smallest):
                assert type(genotype) is tuple
                assert all(type(pick) is int for pick in genotype)
                assert space.canonical(genotype) == genotype
        assert len({genotype for subnets in found for genotype in subnets.random}) > 5

    def test_the_largest_and_a_smallest_subnet_are_in_every_step(self, make, context):
        for subnets in steps(make(context)):
            assert subnets.largest == context.supernet.space.largest
            assert len(subnets.random) == context.settings.random_subnets
            cost = context.cost(np.array([subnets.smallest, *subnets.random, subnets.largest]))
            assert cost[0] == cost.min()

    def test_equal_generators_give_equal_draws(self, make, context):
        first, second = [*steps(make(context))], [*steps(make(context))]
        assert first == second
        assert first != [*steps(make(context), seed=1)]

    @pytest.mark.parametrize("stop", [4, 9])
    def test_the_memory_survives_a_checkpoint(self, make, context, stop):
        whole, stopped = make(context), make(context)
        expected = [*steps(whole)][stop:]
        list(steps(stopped, stop=stop))
        resumed = make(context)
        assert forms(resumed) == forms(stopped) == forms(whole), "as a checkpoint expects"
        resumed.restore({name: tensor.clone() for name, tensor in stopped.tensors().items()})
        assert [*steps(resumed, start=stop)] == expected

    def test_a_space_of_one_network_has_no_students(self, make, context):
        only = elastic_space().restrict(lambda made, option: option == made.options[0])
        for subnets in steps(make(context_of(only))):
            assert subnets.largest == subnets.smallest == ()
            assert subnets.students == ()

    def test_without_random_subnets_the_bounds_are_left_or_a_sentence_says_why_not(self, make):
        settings = TrainingSettings(
            float_epochs=1, quantized_epochs=1, batch_size=8, random_subnets=0
        )
        context = context_of(elastic_space(), settings)
        try:
            sampler = make(context)
        except ValueError as error:
            assert "random_subnets" in str(error)  # noqa: PT017  # some samplers need some
        else:
            assert {subnets.random for subnets in steps(sampler)} == {()}

    def test_a_draw_changes_neither_weights_nor_gradients_nor_global_generators(
        self, make, context
    ):
        weights = {name: p.detach().clone() for name, p in context.supernet.named_parameters()}
        drawn, known = torch.get_rng_state(), pickle.dumps(np.random.get_state())  # noqa: NPY002
        list(steps(make(context)))
        assert torch.equal(torch.get_rng_state(), drawn)
        assert pickle.dumps(np.random.get_state()) == known  # noqa: NPY002
        for name, parameter in context.supernet.named_parameters():
            assert parameter.grad is None
            assert torch.equal(parameter, weights[name])

    def test_the_work_of_a_draw_is_bounded(self, make, context):
        """Counted from the second draw of a phase on; the first may measure the supernet once."""
        passes = 0

        def count(*_: object) -> None:
            nonlocal passes
            passes += 1

        counting = context.supernet.register_forward_hook(count)
        sampler, plan = make(context), context.plan
        for step in range(plan.total):
            before = passes
            moment, batch = Moment(step, plan), context.batch(step)
            subnets = sampler.draw(moment, batch, np.random.default_rng([0, step]))
            if step not in (0, plan.float_steps):
                assert passes - before <= _PASSES * (2 + context.settings.random_subnets)
            sampler.tell(moment, subnets, losses_of(subnets))
        counting.remove()


def steps(
    sampler: Sampler, *, start: int = 0, stop: int | None = None, seed: int = 0
) -> Iterator[Sandwich]:
    """The subnets of the steps of a training, whose losses are told as a training does."""
    context = sampler.context
    for step in range(start, context.plan.total if stop is None else stop):
        moment = Moment(step, context.plan)
        rng = np.random.default_rng([seed, step])
        subnets = sampler.draw(moment, context.batch(step), rng)
        sampler.tell(moment, subnets, losses_of(subnets))
        yield subnets


def losses_of(subnets: Sandwich) -> list[float]:
    """Losses that fall with the picks of a subnet, the largest subnet's first."""
    return [_loss(genotype) for genotype in (subnets.largest, *subnets.students)]


def _loss(genotype: Genotype) -> float:
    weights = 1 + np.sin(np.arange(len(genotype))) ** 2
    return float(np.exp(-0.1 * weights @ np.array(genotype, dtype=float)))


def forms(sampler: Sampler) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """The shape and type of every tensor of a sampler's memory."""
    found: dict[str, Tensor] = sampler.tensors()
    return {name: (tensor.shape, tensor.dtype) for name, tensor in found.items()}
