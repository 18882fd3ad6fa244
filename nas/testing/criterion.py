"""The contract of the criterion of a task."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch import Tensor

from nas.tasks.criterion import Criterion, CriterionError

_TAKEN = {"error", "loss"}  # metrics of every evaluation


class CriterionContract:
    """The tests of a criterion; a subclass gives three fixtures.

    These are `criterion`, `outputs` of a network, `(n, *output)`, and `targets` for these outputs.
    There are at least six samples, and the outputs are not right for all of them.
    """

    @pytest.fixture
    def criterion(self) -> Criterion:
        raise NotImplementedError("a subclass gives the criterion under test")

    @pytest.fixture
    def outputs(self) -> Tensor:
        raise NotImplementedError("a subclass gives outputs of a network")

    @pytest.fixture
    def targets(self) -> Tensor:
        raise NotImplementedError("a subclass gives the targets of these outputs")

    @pytest.fixture
    def other(self, outputs: Tensor) -> Tensor:
        """Outputs of another network for the same samples."""
        return outputs + torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))

    def test_its_targets_are_accepted(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        criterion.check(tuple(outputs.shape[1:]), targets)

    def test_targets_of_the_other_type_are_refused(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        wrong = targets.long() if targets.is_floating_point() else targets.float()
        with pytest.raises(CriterionError, match=str(wrong.dtype)):
            criterion.check(tuple(outputs.shape[1:]), wrong)
        for refusing in (criterion.loss, criterion.losses, criterion.total):
            with pytest.raises(CriterionError):
                refusing(outputs, wrong)

    def test_shapes_that_torch_would_broadcast_are_refused(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        with pytest.raises(CriterionError):
            criterion.check(tuple(outputs.shape[1:]), targets[..., None])
        for refusing in (criterion.loss, criterion.losses, criterion.total):
            for wrong in (targets[:1], targets[..., None]):
                with pytest.raises(CriterionError):
                    refusing(outputs, wrong)
        with pytest.raises(CriterionError):
            criterion.distance(outputs, outputs[:1])

    def test_a_gradient_step_lowers_the_loss(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        moved = outputs.clone().requires_grad_()
        loss = criterion.loss(moved, targets)
        assert loss.shape == ()
        loss.backward()
        assert moved.grad is not None
        better = outputs - 0.01 * moved.grad / moved.grad.norm()
        assert float(criterion.loss(better, targets)) < float(loss.detach())

    def test_distance_is_zero_to_itself_only(
        self, criterion: Criterion, outputs: Tensor, other: Tensor
    ) -> None:
        same, apart = criterion.distance(outputs, outputs), criterion.distance(other, outputs)
        assert same.shape == apart.shape == ()
        assert abs(float(same)) < 1e-6 < float(apart)

    def test_probabilities_add_up_to_one_where_outputs_are_logits(
        self, criterion: Criterion, outputs: Tensor
    ) -> None:
        try:
            logs = criterion.log_probabilities(outputs)
        except CriterionError:
            return
        assert logs.shape == outputs.shape
        torch.testing.assert_close(logs.exp().sum(-1), torch.ones(outputs.shape[:-1]))

    def test_a_teacher_gets_no_gradient(
        self, criterion: Criterion, outputs: Tensor, other: Tensor
    ) -> None:
        student, teacher = other.clone().requires_grad_(), outputs.clone().requires_grad_()
        criterion.distance(student, teacher).backward()
        assert teacher.grad is None
        assert student.grad is not None

    def test_losses_are_one_number_per_sample(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        losses = criterion.losses(outputs, targets)
        assert losses.shape == (len(outputs),)
        assert losses.isfinite().all()
        assert losses.min() >= 0.0
        assert losses.max() > 0.0

    def test_batches_change_no_loss(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        parts = [*zip(outputs.split(4), targets.split(4), strict=True)]
        losses = torch.cat([criterion.losses(*part) for part in parts])
        torch.testing.assert_close(losses, criterion.losses(outputs, targets))
        total = torch.stack([criterion.total(*part) for part in parts]).sum()
        torch.testing.assert_close(total, criterion.total(outputs, targets))

    def test_a_guess_is_no_better_than_right_answers_and_no_worse_than_any_constant(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        guess = criterion.guess(targets)
        constant = outputs.mean(dim=0).expand_as(outputs)
        assert 0.0 <= guess <= float(criterion.loss(constant, targets)) + 1e-6

    def test_a_constant_answer_is_worse_than_right_ones_and_no_worse_than_any_constant(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        best = criterion.constant_error(targets)
        constant = outputs.mean(dim=0).expand_as(outputs)
        worst = float(criterion.losses(constant, targets).double().mean())
        assert best is None or 0.0 <= best <= worst + 1e-4

    def test_further_metrics_are_finite_losses_with_names_of_their_own(
        self, criterion: Criterion, outputs: Tensor, targets: Tensor
    ) -> None:
        assert not {*criterion.further} & _TAKEN
        for name, metric in criterion.further.items():
            loss = metric.compute(outputs, targets)
            assert 0.0 <= loss < math.inf, name
            if metric.each is not None:
                each = metric.each(outputs, targets)
                assert each.shape == (len(outputs),), name
                assert abs(float(each.double().mean()) - loss) < 1e-4, name
        names = [
            criterion.shown.name,
            *(metric.words.name for metric in criterion.further.values()),
        ]
        assert len({*names}) == len(names)

    def test_agreement_is_of_answers(
        self, criterion: Criterion, outputs: Tensor, other: Tensor
    ) -> None:
        assert criterion.agreement(outputs, outputs) in (None, 100.0)
        agreement = criterion.agreement(outputs, other)
        assert agreement is None or 0.0 <= agreement <= 100.0
        assert agreement == criterion.agreement(other, outputs)

    def test_workers_get_an_equal_one(self, criterion: Criterion) -> None:
        assert pickle.loads(pickle.dumps(criterion)) == criterion
