"""The contract of a divergence, the distance of a student's output from its teacher's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nas.tasks.criteria import Classification
from nas.tasks.criterion import Criterion
from supernets.training.students.divergences import Divergence


class DivergenceContract:
    """Give the fixture `divergence` and inherit the tests.

    A subclass whose divergence is not for classes also gives `criterion` and `outputs`.
    """

    @pytest.fixture
    def divergence(self) -> Divergence:
        raise NotImplementedError("a subclass gives the divergence under test")

    @pytest.fixture
    def criterion(self) -> Criterion:
        return Classification()

    @pytest.fixture
    def outputs(self) -> tuple[Tensor, Tensor]:
        """The outputs of a student and of its teacher for twelve samples, `(12, ...)`."""
        generator = torch.Generator().manual_seed(0)
        student, teacher = 2 * torch.randn(2, 12, 5, generator=generator, dtype=torch.float64)
        return student, teacher

    def test_it_is_zero_to_itself_and_flat_there(
        self, divergence: Divergence, criterion: Criterion, outputs: tuple[Tensor, Tensor]
    ) -> None:
        same = outputs[0].clone().requires_grad_()
        zero = divergence(same, same.detach().clone(), criterion)
        zero.backward()
        assert zero.shape == ()
        assert abs(zero.item()) < 1e-6
        assert same.grad is not None
        assert float(same.grad.abs().max()) < 1e-6

    def test_the_teacher_gets_no_gradient(
        self, divergence: Divergence, criterion: Criterion, outputs: tuple[Tensor, Tensor]
    ) -> None:
        student, teacher = (output.clone().requires_grad_() for output in outputs)
        divergence(student, teacher, criterion).backward()
        assert student.grad is not None
        assert float(student.grad.abs().max()) > 0
        assert teacher.grad is None

    def test_a_step_against_the_gradient_brings_the_student_nearer(
        self, divergence: Divergence, criterion: Criterion, outputs: tuple[Tensor, Tensor]
    ) -> None:
        student, teacher = outputs[0].clone().requires_grad_(), outputs[1]
        before = divergence(student, teacher, criterion)
        before.backward()
        assert student.grad is not None
        moved = student.detach() - 1e-3 * student.grad / student.grad.norm()
        assert 0 < divergence(moved, teacher, criterion).item() < before.item()

    def test_a_batch_has_the_mean_of_its_samples(
        self, divergence: Divergence, criterion: Criterion, outputs: tuple[Tensor, Tensor]
    ) -> None:
        """Other processes may have the other samples of a batch."""
        parts = [
            divergence(student[None], teacher[None], criterion)
            for student, teacher in zip(*outputs, strict=True)
        ]
        torch.testing.assert_close(torch.stack(parts).mean(), divergence(*outputs, criterion))

    def test_extreme_outputs_have_a_finite_value_and_gradient(
        self, divergence: Divergence, criterion: Criterion, outputs: tuple[Tensor, Tensor]
    ) -> None:
        student, teacher = (1e3 * output.float() for output in outputs)
        student.requires_grad_()
        value = divergence(student, teacher, criterion)
        value.backward()
        assert bool(value.isfinite())
        assert student.grad is not None
        assert bool(student.grad.isfinite().all())
