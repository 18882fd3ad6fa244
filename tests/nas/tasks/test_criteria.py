"""The shipped criteria keep the contract, and compute what scikit-learn and torch compute."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as reference

from nas.facts.metric import MetricWords
from nas.tasks.criteria import Classification, Pixels, Regression, TokenPrediction
from nas.tasks.criterion import CriterionError
from nas.testing.criterion import CriterionContract


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def numbered(below, *shape):
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(2))


class TestClassification(CriterionContract):
    @pytest.fixture
    def criterion(self):
        return Classification()

    @pytest.fixture
    def outputs(self, targets):
        return drawn(60, 8) + 2 * F.one_hot(targets, 8)

    @pytest.fixture
    def targets(self):
        return numbered(7, 60)  # no sample of the last class

    def test_loss_is_the_smoothed_cross_entropy(self, outputs, targets):
        for smoothing in (0.0, 0.1):
            found = Classification(smoothing).loss(outputs, targets)
            wanted = F.cross_entropy(outputs, targets, label_smoothing=smoothing)
            assert torch.equal(found, wanted)

    def test_a_guess_has_the_entropy_of_the_classes(self):
        entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
        guess = Classification(0.0).guess(torch.tensor([0, 0, 0, 2]))
        assert guess == pytest.approx(entropy)
        even = torch.tensor([0, 1, 2])
        expected = F.cross_entropy(torch.zeros(3, 3), even, label_smoothing=0.1).item()
        assert Classification(0.1).guess(even) == pytest.approx(expected)

    def test_error_and_agreement_count_answers(self, criterion, outputs, targets, other):
        right = reference.accuracy_score(targets, outputs.argmax(1))
        mean = float(criterion.losses(outputs, targets).mean())
        assert criterion.shown.figure(mean) == pytest.approx(100 * right)
        same = reference.accuracy_score(other.argmax(1), outputs.argmax(1))
        assert criterion.agreement(outputs, other) == pytest.approx(100 * same)

    def test_further_metrics_are_those_of_scikit_learn(self, criterion, outputs, targets):
        shares, answers = outputs.double().softmax(1), outputs.argmax(1)
        wanted = {
            "top5": 100 * reference.top_k_accuracy_score(targets, shares, k=5, labels=range(8)),
            "nll": reference.log_loss(targets, shares, labels=range(8)),
            "macro_f1": 100 * reference.f1_score(targets, answers, average="macro"),
            "balanced_accuracy": 100
            * reference.recall_score(targets, answers, labels=range(7), average="macro"),
        }
        for name, value in wanted.items():
            metric = criterion.further[name]
            figure = metric.words.figure(metric.compute(outputs, targets))
            assert figure == pytest.approx(value, rel=1e-5), name

    def test_calibration_error_is_the_gap_of_each_bin(self, criterion, outputs, targets):
        sure, answers = outputs.softmax(1).max(1)
        places, right = (sure * 15).ceil(), answers == targets
        bins = [places == place for place in range(1, 16)]
        gaps = [abs(right[b].float().mean() - sure[b].mean()) * b.sum() for b in bins if b.any()]
        found = criterion.further["ece"].compute(outputs, targets)
        assert found == pytest.approx(100 * float(sum(gaps)) / 60, rel=1e-5)

    def test_a_measured_value_trains_no_classification(self, criterion):
        with pytest.raises(CriterionError, match=r"int64.*regression"):
            criterion.check((1,), torch.rand(5, 1))
        with pytest.raises(CriterionError, match="0 to 2"):
            criterion.check((3,), torch.tensor([0, 3]))
        with pytest.raises(CriterionError, match=r"\(classes,\)"):
            criterion.check((4, 3), torch.tensor([[0, 1, 1, 1]]))
        with pytest.raises(ValueError, match="label_smoothing"):
            Classification(1.0)


class TestTokenPrediction(CriterionContract):
    @pytest.fixture
    def criterion(self):
        return TokenPrediction()

    @pytest.fixture
    def outputs(self):
        return drawn(10, 6, 9)

    @pytest.fixture
    def targets(self):
        return numbered(9, 10, 6)

    def test_numbers_are_those_of_all_tokens(self, criterion, outputs, targets):
        each = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
        losses = criterion.losses(outputs, targets)
        torch.testing.assert_close(losses, each.view(10, 6).mean(1))
        torch.testing.assert_close(criterion.loss(outputs, targets), each.mean())
        perplexity = criterion.further["perplexity"].compute(outputs, targets)
        assert perplexity == pytest.approx(float(each.mean().exp()), rel=1e-5)
        right = reference.accuracy_score(targets.flatten(), outputs.argmax(-1).flatten())
        wrong = criterion.further["token_accuracy"].compute(outputs, targets)
        assert wrong == pytest.approx(100 * (1 - right))
        pairs = outputs.log_softmax(-1), outputs.roll(1, 0).log_softmax(-1)
        wanted = (pairs[1].exp() * (pairs[1] - pairs[0])).sum(-1).mean()
        torch.testing.assert_close(criterion.distance(outputs, outputs.roll(1, 0)), wanted)

    def test_classes_are_refused(self, criterion):
        with pytest.raises(CriterionError, match="vocabulary"):
            criterion.check((9,), torch.tensor([1, 2]))


class TestRegression(CriterionContract):
    @pytest.fixture
    def criterion(self):
        return Regression(unit="kW", scale=3.0)

    @pytest.fixture
    def outputs(self, targets):
        return targets + 0.5 * drawn(40, 2)

    @pytest.fixture
    def targets(self):
        return drawn(40, 2).cumsum(1)

    def test_numbers_are_those_of_scikit_learn(self, criterion, outputs, targets):
        scaled = 3 * targets, 3 * outputs
        mean = float(criterion.losses(outputs, targets).mean())
        assert mean == pytest.approx(reference.mean_absolute_error(*scaled), rel=1e-5)
        assert criterion.error.text(mean) == f"{mean:.3f} kW"
        rmse = criterion.further["rmse"].compute(outputs, targets)
        assert rmse == pytest.approx(reference.mean_squared_error(*scaled) ** 0.5, rel=1e-5)
        r2 = criterion.further["r2"]
        assert r2.words.figure(r2.compute(outputs, targets)) == pytest.approx(
            reference.r2_score(targets, outputs), rel=1e-5
        )
        torch.testing.assert_close(criterion.loss(outputs, targets), F.mse_loss(outputs, targets))

    def test_a_constant_target_is_explained_where_it_is_met(self, criterion, outputs, targets):
        found = criterion.further["r2"].compute(outputs, torch.zeros_like(targets))
        assert 1 - found == reference.r2_score(torch.zeros_like(targets), outputs)

    def test_targets_that_are_not_finite_are_refused(self, criterion, targets):
        with pytest.raises(CriterionError, match="finite"):
            criterion.check((2,), targets / 0)
        with pytest.raises(CriterionError, match=r"int64.*classification"):
            criterion.check((2,), targets.long())
        with pytest.raises(ValueError, match="scale"):
            Regression(scale=0.0)


class TestPixels(CriterionContract):
    @pytest.fixture(params=["l1", "l2"])
    def criterion(self, request):
        return Pixels(request.param, peak=2.0)

    @pytest.fixture
    def outputs(self, targets):
        return targets + 0.1 * drawn(8, 3, 4, 4)

    @pytest.fixture
    def targets(self):
        return drawn(8, 3, 4, 4).tanh()

    def test_numbers_are_those_of_the_pixels(self, criterion, outputs, targets):
        noise = (outputs - targets).square().mean((1, 2, 3))
        wanted = float((10 * (4 / noise).log10()).mean())
        found = float(criterion.losses(outputs, targets).mean())
        assert criterion.shown.figure(found) == pytest.approx(wanted, rel=1e-5)
        assert criterion.shown.text(found) == f"{wanted:.2f} dB"
        loss = {"l1": F.l1_loss, "l2": F.mse_loss}[criterion.norm]
        torch.testing.assert_close(criterion.loss(outputs, targets), loss(outputs, targets))
        error = criterion.further["mean_absolute_error"].compute(outputs, targets)
        assert error == pytest.approx(50 * float((outputs - targets).abs().mean()), rel=1e-5)
        rmse = criterion.further["rmse"].compute(outputs, targets)
        assert rmse == pytest.approx(50 * float(noise.mean()) ** 0.5, rel=1e-5)

    def test_equal_images_have_no_loss(self, criterion, targets):
        assert criterion.losses(targets, targets).tolist() == [0.0] * 8

    def test_unknown_norms_are_refused(self):
        with pytest.raises(ValueError, match=r"'l1' or 'l2'.*'l3'"):
            Pixels("l3")
        with pytest.raises(ValueError, match="peak"):
            Pixels(peak=0.0)


def test_words_turn_losses_to_figures_and_back():
    accuracy, loss = MetricWords("accuracy", "%", best=100.0), MetricWords("loss", "", 3)
    assert (accuracy.text(2.75), accuracy.loss(97.25)) == ("97.25 %", 2.75)
    assert (loss.text(2.75), loss.loss(2.75)) == ("2.750", 2.75)
    assert accuracy.larger_is_better
    assert not loss.larger_is_better
