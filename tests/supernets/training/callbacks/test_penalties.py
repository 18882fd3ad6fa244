"""Penalties: moments of weights against SciPy, and features of the teacher against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis, skew

from nas.tasks.criteria import Classification
from nas.testing.callback import CallbackContract
from supernets.supernet import Supernet
from supernets.training.callbacks.features import Features, common
from supernets.training.callbacks.weight_distribution import WeightDistribution, shape_of
from supernets.training.context import Moment, TrainingContext
from supernets.training.methods import Methods
from supernets.training.samplers import Sandwich
from supernets.training.schedule import schedule
from supernets.training.step import TrainingStep
from tests.supernets.stripes import SETTINGS, Stripes, stripes_space


@pytest.fixture
def context() -> TrainingContext:
    data, plan = Stripes.drawn(), schedule(SETTINGS, 64)

    def batch(_):
        return data.batch(np.arange(8), np.random.default_rng(0))

    supernet = Supernet(stripes_space(), seed=0)
    return TrainingContext(supernet, SETTINGS, plan, Classification(), batch)


def quantized(context: TrainingContext) -> Moment:
    return Moment(context.plan.float_steps, context.plan)


class TestWeightDistribution(CallbackContract):
    kind = WeightDistribution

    def test_moments_are_those_of_scipy(self) -> None:
        rng = np.random.default_rng(0)
        for drawn in (rng.standard_normal((6, 4, 3, 3)), rng.random((20, 5)), rng.gamma(2, 1, 90)):
            found = [float(moment) for moment in shape_of(torch.from_numpy(drawn))]
            wanted = [skew(drawn, axis=None), kurtosis(drawn, axis=None, fisher=False)]
            assert found == pytest.approx(wanted, rel=1e-6)

    def test_the_penalty_is_the_mean_over_weights_behind_the_first(self, context) -> None:
        held = {
            address: context.supernet.node(address).tensors["weight"].detach().double().numpy()
            for address in context.supernet.space.graph.nodes
            if context.supernet.node(address).weight is not None
        }
        first, *others = held
        assert first == "stem"
        counted = [held[address] for address in others if held[address].size >= 64]
        assert 2 <= len(counted) < len(others), "the last layer has too few weights"
        wanted = np.mean(
            [
                skew(weight, axis=None) ** 2
                + 0.015 * (kurtosis(weight, axis=None, fisher=False) - 1.8) ** 2
                for weight in counted
            ]
        )
        found = WeightDistribution(context).penalty(quantized(context), 0, ())
        assert found is not None
        assert found.item() == pytest.approx(wanted, rel=1e-4)

    def test_it_counts_once_in_a_step_and_in_quantized_steps_only(self, context) -> None:
        made = WeightDistribution(context)
        assert made.penalty(quantized(context), 1, ()) is None
        assert made.penalty(Moment(0, context.plan), 0, ()) is None

    def test_following_the_gradient_makes_weights_uniform(self, context) -> None:
        made, moment = WeightDistribution(context), quantized(context)
        parameters = [*context.supernet.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.3)
        for _ in range(100):
            optimizer.zero_grad()
            penalty = made.penalty(moment, 0, ())
            assert penalty is not None
            penalty.backward()
            optimizer.step()
        weight = context.supernet.node("stage0.block0.conv1").tensors["weight"].detach()
        assert kurtosis(weight, axis=None, fisher=False) < 2.4
        assert abs(skew(weight, axis=None)) < 0.1

    def test_a_weight_without_spread_has_a_finite_gradient(self) -> None:
        weight = torch.full((10, 10), 0.5, requires_grad=True)
        sum(shape_of(weight)).backward()
        assert weight.grad is not None
        assert weight.grad.isfinite().all()


class TestFeatures(CallbackContract):
    kind = Features

    def test_the_distance_is_that_of_scaled_features(self, context) -> None:
        rng = np.random.default_rng(0)
        teacher, student = rng.standard_normal((4, 6, 3, 3)), rng.standard_normal((4, 5, 3, 3))
        made = Features(context)
        taught = torch.from_numpy(teacher).requires_grad_()
        learns = torch.from_numpy(student).requires_grad_()
        made.observe(0, "stage0.block0.conv2", 0, taught)
        assert made.penalty(quantized(context), 0, ()) is None
        made.observe(1, "stage0.block0.conv2", 0, learns)
        found = made.penalty(quantized(context), 1, ())
        assert found is not None

        def scaled(values: np.ndarray) -> np.ndarray:
            return values / np.sqrt((values**2).mean((1, 2, 3), keepdims=True))

        wanted = 0.01 * ((scaled(student) - scaled(teacher[:, :5])) ** 2).mean()
        assert found.item() == pytest.approx(wanted)
        found.backward()
        assert taught.grad is None
        assert learns.grad is not None
        assert made.penalty(quantized(context), 2, ()) is None, "of the next student"

    def test_only_channels_may_be_fewer(self) -> None:
        one, other = torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 4, 4)
        pair = common(one, other, axis=1)
        assert pair is not None
        assert [tensor.shape for tensor in pair] == [one.shape, one.shape]
        assert common(one, torch.zeros(2, 5, 4, 2), axis=1) is None
        assert common(one, torch.zeros(2, 48), axis=-1) is None

    def test_a_step_compares_each_student_with_the_largest_subnet(self, context) -> None:
        space = context.supernet.space
        found: list[float] = []

        class Watched(Features):
            def penalty(self, moment, place, genotype):
                penalty = super().penalty(moment, place, genotype)
                if penalty is not None:
                    found.append(penalty.item())
                return penalty

        step = TrainingStep(context, Methods(callbacks={"features": Watched}))
        subnets = Sandwich(space.largest, (), space.smallest)
        step.gradients(Moment(0, context.plan), context.batch(0), subnets)
        assert len(found) == 1
        assert 0 < found[0] < 1

    def test_a_twin_of_the_teacher_has_no_distance(self, context) -> None:
        made, space = Features(context), context.supernet.space
        for place in (0, 1):

            def observe(address, position, value, place=place):
                made.observe(place, address, position, value)

            inputs, _ = context.batch(0)
            context.supernet.run(inputs, space.largest, quantize=False, observe=observe)
        found = made.penalty(quantized(context), 1, space.largest)
        assert found is not None
        assert found.item() == 0
