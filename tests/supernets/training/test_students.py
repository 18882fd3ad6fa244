"""What students learn from: divergences against numpy, teachers and mixes against their words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from scipy.stats import entropy
from torch import Tensor

from nas.parts import Parts
from nas.tasks.criteria import Classification, Pixels, Regression, TokenPrediction
from nas.tasks.criterion import CriterionError
from nas.testing.divergence import DivergenceContract
from nas.testing.training import context_of, points_space
from supernets.training.context import Moment
from supernets.training.methods import Methods
from supernets.training.samplers import sandwich
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.step import TrainingStep
from supernets.training.students.alpha import alpha, alpha_divergence
from supernets.training.students.balanced import balanced
from supernets.training.students.divergences import Divergence

DISTRIBUTIONS = ("alpha", "balanced")


def logits(*, seed: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(12, 5, generator=generator, dtype=torch.float64)


def gradient(divergence, student: Tensor, teacher: Tensor) -> np.ndarray:
    moved = student.clone().requires_grad_()
    divergence(moved, teacher).backward()
    assert moved.grad is not None
    return moved.grad.numpy()


def reference(student: np.ndarray, teacher: np.ndarray, a: float) -> tuple[np.ndarray, np.ndarray]:
    """The divergences `(n,)` and the gradients by logits `(n, options)`, by the formula."""
    q, p = softmax(student, 1), softmax(teacher, 1)
    r = p / q
    if a == 1:
        value, rho = r * np.log(r), r
    else:
        power = np.minimum(r**a, 5.0)
        value, rho = (power - 1) / (a * (a - 1)), power / a + 1 / (a * (a - 1))
    # The derivative of log q_i by logit j is (i == j) - q_j.
    return (q * value).sum(1), -(q * rho) + q * (q * rho).sum(1, keepdims=True)


@pytest.mark.parametrize("a", [-1.0, 0.5, 1.0, 2.0])
def test_an_alpha_divergence_has_the_value_and_the_gradient_of_its_formula(a: float) -> None:
    student, teacher = logits(seed=0), logits(seed=1)
    wanted, slope = reference(student.numpy(), teacher.numpy(), a)
    moved = student.clone().requires_grad_()
    found = alpha_divergence(moved.log_softmax(1), teacher.log_softmax(1), alpha=a)
    np.testing.assert_allclose(found.detach(), wanted, rtol=1e-10)
    found.sum().backward()
    np.testing.assert_allclose(moved.grad, slope, rtol=1e-9, atol=1e-12)


def test_powers_of_the_ratio_are_clipped() -> None:
    student, teacher = torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 20.0]])
    found = alpha_divergence(student.log_softmax(1), teacher.log_softmax(1), alpha=-1.0)
    assert found.item() == pytest.approx((5 - 1) / 2)


@pytest.mark.parametrize(("a", "forward"), [(1 - 1e-5, True), (1e-5, False)])
def test_the_limits_of_alpha_are_the_kullback_leibler_divergences(a: float, forward: bool) -> None:
    student, teacher = logits(seed=0, scale=0.3), logits(seed=1, scale=0.3)
    q, p = softmax(student, 1), softmax(teacher, 1)
    wanted = (rel_entr(p, q) if forward else rel_entr(q, p)).sum(1)
    found = alpha_divergence(student.log_softmax(1), teacher.log_softmax(1), alpha=a)
    np.testing.assert_allclose(found, wanted, rtol=1e-3)

    def mean(one: Tensor, other: Tensor) -> Tensor:
        return alpha_divergence(one.log_softmax(1), other.log_softmax(1), alpha=a).mean()

    def plain(one: Tensor, other: Tensor) -> Tensor:
        own, others = one.log_softmax(1), other.log_softmax(1)
        terms = others.exp() * (others - own) if forward else own.exp() * (own - others)
        return terms.sum(1).mean()

    expected = gradient(plain, student, teacher)
    np.testing.assert_allclose(gradient(mean, student, teacher), expected, rtol=1e-2, atol=1e-6)


def test_each_sample_has_the_larger_divergence() -> None:
    student, teacher = logits(seed=0), logits(seed=1)
    (low, low_slope), (high, high_slope) = (
        reference(student.numpy(), teacher.numpy(), a) for a in (-1.0, 1.0)
    )
    assert 0 < (low > high).sum() < len(low), "both occur"
    found = alpha(student, teacher, Classification())
    assert found.item() == pytest.approx(np.maximum(low, high).mean())
    slope = np.where((low > high)[:, None], low_slope, high_slope) / len(low)
    by_logits = gradient(lambda s, t: alpha(s, t, Classification()), student, teacher)
    np.testing.assert_allclose(by_logits, slope, rtol=1e-9, atol=1e-12)


def test_the_surer_student_has_more_of_the_forward_divergence() -> None:
    student, teacher = logits(seed=2), logits(seed=3)
    q, p = softmax(student, 1), softmax(teacher, 1)
    surer = entropy(q, axis=1) < entropy(p, axis=1)
    assert 0 < surer.sum() < len(surer), "both occur"
    forward, reverse = rel_entr(p, q).sum(1), rel_entr(q, p).sum(1)
    wanted = np.where(surer, 2 * forward + reverse, forward + 2 * reverse) / 3
    assert balanced(student, teacher, Classification()).item() == pytest.approx(wanted.mean())


@pytest.mark.parametrize("name", list(Parts("divergence")))
class TestEveryDivergence(DivergenceContract):
    @pytest.fixture
    def divergence(self, name: str) -> Divergence:
        return Parts("divergence")[name]


@pytest.mark.parametrize("name", list(Parts("divergence")))
def test_tokens_count_like_samples(name: str) -> None:
    divergence = Parts("divergence")[name]
    student, teacher = logits(seed=0), logits(seed=1)
    flat = divergence(student, teacher, Classification())
    tokens = divergence(student.view(3, 4, 5), teacher.view(3, 4, 5), TokenPrediction())
    assert tokens.item() == pytest.approx(flat.item())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("criterion", [Regression(), Pixels()])
def test_outputs_that_are_no_logits_are_refused(name: str, criterion) -> None:
    with pytest.raises(CriterionError, match="are no logits of a distribution"):
        Parts("divergence")[name](torch.zeros(2, 3), torch.zeros(2, 3), criterion)


@pytest.mark.parametrize(
    ("name", "taught"),
    [
        ("largest", ["largest", "largest", "largest"]),
        ("recursive", ["largest", "second", "third"]),
        ("guided", ["largest", "largest", "third"]),
    ],
)
def test_teachers_of_the_students_from_the_costliest_to_the_cheapest(name, taught) -> None:
    outputs = ["largest", "second", "third"]
    teacher = Parts("teacher")[name]
    found = [teacher(outputs[:done], done == len(outputs)) for done in (1, 2, 3)]
    assert found == taught


@pytest.mark.parametrize("name", list(Parts("mix")))
@pytest.mark.parametrize("distillation", [0.0, 0.3, 1.0])
def test_mixes_stay_shares(name: str, distillation: float) -> None:
    plan = schedule(TrainingSettings(float_epochs=2, quantized_epochs=2, batch_size=64), 640)
    for step in (0, 20, 39):
        for cost in (0.0, 0.4, 1.0):
            assert 0 <= Parts("mix")[name](distillation, Moment(step, plan), cost) <= 1


def test_mixes_are_those_of_their_words() -> None:
    plan = schedule(TrainingSettings(float_epochs=2, quantized_epochs=2, batch_size=64), 640)
    moments = [Moment(step, plan) for step in (0, 10, 20, 30)]
    rising, by_cost = Parts("mix")["rising"], Parts("mix")["by-cost"]
    assert [rising(0.8, moment, 0.5) for moment in moments] == pytest.approx([0, 0.2, 0.4, 0.6])
    found = [by_cost(0.25, moments[0], cost) for cost in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([0.5, 0.25**0.75, 0.25])


def test_a_step_tells_the_teacher_which_student_is_its_cheapest() -> None:
    context = context_of(points_space())
    space, told = context.supernet.space, []

    def teacher(outputs, cheapest):
        told.append((len(outputs), cheapest))
        return outputs[0]

    drawn = sandwich(space, np.random.default_rng(1), random=2)
    assert len(drawn.students) == 3
    step = TrainingStep(context, Methods(teacher=teacher))
    step.gradients(Moment(0, context.plan), context.batch(0), drawn)
    assert told == [(1, False), (2, False), (3, True)]
