"""Averages of the parameters have their formulas, and replace the parameters at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.testing.callback import CallbackContract
from nas.testing.training import context_of, points_space, trained
from supernets.training.callbacks.average import Average
from supernets.training.callbacks.ema import ExponentialAverage
from supernets.training.callbacks.soup import UniformSoup
from supernets.training.context import Moment
from supernets.training.methods import Methods
from supernets.training.schedule import Schedule


class TestExponentialAverage(CallbackContract):
    kind = ExponentialAverage


class TestUniformSoup(CallbackContract):
    kind = UniformSoup


def followed(kind: type[Average], plan: Schedule) -> tuple[list[float], float, set[str]]:
    """A parameter after each step of a training, and its value in the end."""
    context = context_of(points_space())
    average, rng = kind(context), np.random.default_rng(0)
    parameters, seen = dict(context.supernet.named_parameters()), []
    name = next(name for name in parameters if "log_steps" in name)
    for step in range(plan.total):
        seen.append(rng.standard_normal())
        with torch.no_grad():
            parameters[name].fill_(seen[-1])
        average.after_update(Moment(step, plan))
    average.finish()
    return seen, float(parameters[name].detach()[0]), {*average.tensors()}


@pytest.mark.parametrize(("float_steps", "total"), [(0, 12), (12, 12), (4, 20)])
def test_the_exponential_average_starts_with_the_phase(float_steps: int, total: int) -> None:
    plan = Schedule(
        float_steps=float_steps, total=total, epoch=4, warmup=0, largest_steps=0, highest=0.1
    )
    seen, end, held = followed(ExponentialAverage, plan)
    expected = 0.0
    for n, value in enumerate(seen[float_steps % total :]):
        kept = n / (n + 9)
        expected = kept * expected + (1 - kept) * value
    assert end == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert any("log_steps" in name for name in held), "steps are averaged"


def test_the_exponential_average_keeps_at_most_999_parts_of_1000() -> None:
    average = ExponentialAverage(context_of(points_space()))
    plan = Schedule(float_steps=0, total=20_000, epoch=4, warmup=0, largest_steps=0, highest=0.1)
    before = {name: tensor.clone() for name, tensor in average.tensors().items()}
    with torch.no_grad():
        for parameter in average.context.supernet.parameters():
            parameter.add_(1.0)
    average.after_update(Moment(10_000, plan))
    for name, tensor in average.tensors().items():
        torch.testing.assert_close(tensor, before[name] + 0.001, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("float_steps", "total", "epochs"),
    [
        (0, 40, (8, 9, 10)),
        (40, 40, (8, 9, 10)),
        (20, 68, (15, 16, 17)),
        (20, 36, (9,)),
        (20, 24, (6,)),
    ],
)
def test_the_soup_is_the_mean_of_the_last_epochs(
    float_steps: int, total: int, epochs: tuple[int, ...]
) -> None:
    plan = Schedule(
        float_steps=float_steps, total=total, epoch=4, warmup=0, largest_steps=0, highest=0.1
    )
    seen, end, held = followed(UniformSoup, plan)
    assert end == pytest.approx(np.mean([seen[4 * epoch - 1] for epoch in epochs]), rel=1e-5)
    assert any("log_steps" in name for name in held), "steps are averaged"


@pytest.mark.parametrize("kind", [ExponentialAverage, UniformSoup])
def test_a_training_ends_with_the_average_and_goes_the_same_way(
    kind: type[Average], tmp_path: Path
) -> None:
    made: list[Average] = []

    def make(context):
        made.append(kind(context))
        return made[0]

    plain, history = trained(tmp_path / "plain", methods=Methods(), quantized_epochs=6)
    methods = Methods(callbacks={"tested": make})
    averaged, again = trained(tmp_path / "state", methods=methods, quantized_epochs=6)
    assert np.array_equal(history.losses, again.losses)
    assert not torch.equal(
        averaged.node("head").tensors["weight"], plain.node("head").tensors["weight"]
    )
    for name, parameter in averaged.named_parameters():
        assert torch.equal(parameter, made[0].tensors()[name])
