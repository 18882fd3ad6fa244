import numpy as np
import pytest
import torch

from nas.testing.predictor import PredictorContract, loss_of
from nas.testing.searcher import chain
from predictors.features import OneHot
from predictors.mixer import Bayesian, Mixer, Principal, diff_kendall
from predictors.rank import kendall_tau


class TestMixer(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return Mixer(OneHot(space), steps=60)


def test_the_differentiable_tau_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(2, 6)), rng.normal(size=6)
    seen = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1]])
    expected = []
    for own, known in zip(scores, seen.astype(bool), strict=True):
        pairs = [(i, j) for i in np.flatnonzero(known) for j in np.flatnonzero(known) if i != j]
        each = [
            np.tanh(0.35 * (own[i] - own[j])) * np.tanh(0.35 * (targets[i] - targets[j]))
            for i, j in pairs
        ]
        expected.append(-np.mean(each))
    given = [torch.from_numpy(array) for array in (scores, targets, seen)]
    found = diff_kendall(*given, slope=0.7)
    np.testing.assert_allclose(found, expected)


def test_a_steep_slope_gives_kendalls_tau():
    scores, targets = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([1.0, 3.0, 2.0, 4.0])
    found = diff_kendall(scores, targets, torch.ones(1, 4), slope=1e4)
    assert found.item() == pytest.approx(-(5 - 1) / 6)


def test_weights_are_drawn_around_their_mean():
    layer = Bayesian(1, 3, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.rho.fill_(1.0)
    x = torch.eye(3)[None]
    drawn = torch.stack([layer(x) for _ in range(2000)]).detach()
    np.testing.assert_allclose(drawn.mean(0), layer.mean.detach(), atol=0.1)
    np.testing.assert_allclose(drawn.std(0), np.log1p(np.e), rtol=0.1)
    torch.testing.assert_close(layer.eval()(x), layer.mean)


def test_principal_directions_keep_what_was_measured_and_tell_what_was_not():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(8, 3)), 2, axis=1).astype(np.float32)
    X = np.insert(X, 0, 1.0, axis=1)
    principal = Principal(X)
    turned = principal(X).numpy()
    assert turned.shape == (8, 3)
    assert (turned**2).mean() == pytest.approx(1, rel=1e-5)
    standard = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    unit = (standard**2).sum() / 8
    np.testing.assert_allclose(turned @ turned.T * unit / 3, standard @ standard.T, atol=1e-4)
    np.testing.assert_allclose(principal.beyond(X), 0, atol=1e-5)
    X[:, 0] += 2.0
    np.testing.assert_allclose(principal.beyond(X), 4 / unit, rtol=1e-4)


def test_losses_with_a_long_tail_are_learned_by_their_order():
    space = chain(depth=4)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 60), axis=0)
    losses = np.exp(loss_of(rows) / 5)
    predictor = Mixer(OneHot(space), steps=60)
    predictor.fit(rows, losses)
    mean, _ = predictor.predict(rows)
    assert kendall_tau(mean, losses) > 0.6
    assert losses.min() - losses.std() < mean.min() < mean.max() < losses.max() + losses.std()
