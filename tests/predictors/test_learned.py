import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.stats import multivariate_normal

from nas.testing.predictor import PredictorContract, loss_of
from nas.testing.searcher import chain, picked
from predictors.auto import Auto
from predictors.ensemble import Ensemble
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess, Prior
from predictors.pairs import PairRidge, pairs
from predictors.rank import kendall_tau, tau_within_budgets
from predictors.ridge import Ridge
from predictors.trees import Boosted, forest
from predictors.warp import Warp
from predictors.weisfeiler_lehman import SubtreeProcess


class TestRidge(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return Ridge(OneHot(space))


class TestGaussianProcess(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return GaussianProcess(OneHot(space))


class TestGaussianProcessWithCosts(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return GaussianProcess(OneHot(space, extra=[picked]))


class TestEnsemble(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return Ensemble([GaussianProcess(OneHot(space)), Ridge(OneHot(space))])


class TestPairRidge(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return pairs(space)


class TestForest(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return forest(space)


class TestBoosted(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return Boosted(OneHot(space), trees=60)


class TestAuto(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return Auto(space, seconds=0.15)  # too short for boosted trees


def test_a_predictor_chooses_what_its_time_allows():
    space = chain(depth=4)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 40), axis=0)
    chosen = []
    for seconds in (0.01, 0.15, 2.0):
        predictor = Auto(space, seconds=seconds)
        predictor.fit(rows, loss_of(rows))
        chosen.append([type(member) for member in predictor.members])
    assert chosen == [
        [Ridge, Boosted],
        [PairRidge, SubtreeProcess],
        [PairRidge, Boosted, SubtreeProcess],
    ]
    with pytest.raises(ValueError, match="above 0 seconds, given 0"):
        Auto(space, seconds=0)


def test_boosted_trees_hold_out_what_each_model_did_not_see():
    space = chain(depth=4)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 40), axis=0)
    predictor = Boosted(OneHot(space), trees=60)
    predictor.fit(rows, loss_of(rows))
    held_out, spread = predictor.held_out()
    assert kendall_tau(held_out, loss_of(rows)) > 0.5
    assert (spread > 0).all()
    whole, _ = predictor.predict(rows)
    assert np.abs(whole - loss_of(rows)).mean() < np.abs(held_out - loss_of(rows)).mean()


def test_pairs_are_learned_as_no_sum_of_picks_can():
    space = chain(depth=4)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 400), axis=0)
    losses = 10.0 + 3 * (rows[:, 1] - 1.0) * (rows[:, 2] - 1.0)
    errors = []
    for predictor in (pairs(space), Ridge(OneHot(space).compact)):
        predictor.fit(rows[:100], losses[:100])
        errors.append(np.abs(predictor.predict(rows[100:])[0] - losses[100:]).mean())
    assert errors[0] < 0.5 * errors[1]


class Constant:
    """A member that has learned nothing."""

    def fit(self, genotypes, losses):
        self._level = float(losses.mean())

    def predict(self, genotypes):
        return np.full(len(genotypes), self._level), np.zeros(len(genotypes))


def test_an_ensemble_trusts_whom_the_held_out_data_trusts():
    space = chain(depth=5)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 60), axis=0)
    mixed = Ensemble([Constant(), Ridge(OneHot(space))])
    mixed.fit(rows, loss_of(rows))
    assert mixed.shares[1] > 0.9
    mean, spread = mixed.predict(rows)
    each = [member.predict(rows) for member in mixed.members]
    np.testing.assert_allclose(
        mean, sum(s * m for s, (m, _) in zip(mixed.shares, each, strict=True))
    )
    apart = np.abs(each[0][0] - each[1][0])
    smaller, larger = mixed.shares
    assert (spread**2 >= smaller * larger * apart**2 - 1e-9).all()  # members who disagree


def test_an_ensemble_of_one_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        Ensemble([Constant()])


def test_one_hot_is_zero_where_a_choice_is_closed():
    space = chain(depth=3)
    features = OneHot(space, extra=[picked])
    rows = space.sample_array(np.random.default_rng(0), 64)
    made = features(rows)
    one_hot, ordinal, extra = features.parts
    assert made.shape == (64, features.columns)
    groups = np.add.reduceat(made[:, one_hot], np.cumsum([0, *space.counts[:-1]]), axis=1)
    np.testing.assert_array_equal(groups, space.active_array(rows))
    np.testing.assert_array_equal(made[:, ordinal] > 0, space.active_array(rows))
    assert np.ptp(made[:, ordinal].max(axis=0)) == 0
    assert abs(made[:, extra].mean()) < 1


def test_compact_features_have_the_same_scalar_products():
    space = chain(depth=3)
    features = OneHot(space, extra=[picked])
    rows = space.sample_array(np.random.default_rng(0), 64)
    full, few = features(rows), features.compact(rows)
    assert few.shape[1] < full.shape[1]
    np.testing.assert_allclose(few @ few.T, full @ full.T, atol=1e-5)


def test_an_extra_column_may_be_infinite_somewhere_but_not_everywhere():
    space = chain(depth=3)
    rows = space.sample_array(np.random.default_rng(0), 64)
    partly = OneHot(space, extra=[lambda rows: np.where(rows[:, 0] > 0, picked(rows), np.inf)])
    assert np.isfinite(partly(rows)).all()
    with pytest.raises(ValueError, match="infinite or NaN on every"):
        OneHot(space, extra=[lambda rows: np.full(len(rows), np.inf)])


def test_ridge_chooses_the_penalty_under_which_the_losses_are_most_likely():
    space = chain(depth=4)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 40), axis=0)
    losses = loss_of(rows) + np.random.default_rng(1).normal(0, 2, len(rows))
    features = OneHot(space)
    ridge = Ridge(features)
    ridge.fit(rows, losses)
    contrasts = null_space(np.ones((1, len(rows)))).T  # differences of losses, free of the mean
    X = contrasts @ features(rows).astype(np.float64)

    def log_likelihood(penalty, noise):
        covariance = noise**2 * (X @ X.T / penalty + np.eye(len(X)))
        return multivariate_normal.logpdf(contrasts @ losses, cov=covariance)

    best = log_likelihood(ridge.penalty, ridge.noise)
    assert best > max(log_likelihood(ridge.penalty, ridge.noise * f) for f in (0.99, 1.01))
    for penalty in ridge.penalties:
        other = Ridge(features, penalties=np.array([penalty]))
        other.fit(rows, losses)
        assert log_likelihood(penalty, other.noise) <= best + 1e-9


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_ridge_learns_from_about_as_many_measurements_as_columns(more):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(400, 20)).astype(np.float32)
        losses = X.sum(axis=1) + rng.normal(0, 8, 400)
        learned, others = np.split(np.arange(400)[:, None], [20 + more])
        ridge = Ridge(lambda rows, X=X: X[rows[:, 0]])
        ridge.fit(learned, losses[learned[:, 0]])
        errors = ridge.predict(others)[0] - losses[others[:, 0]]
        # With the penalty of least leave-one-out error, next to zero, the largest is 2 to 4 times.
        assert np.sqrt(np.mean(errors**2)) < 1.15 * losses.std()


def measured_and_others(space):
    rows = np.unique(space.sample_array(np.random.default_rng(0), 90), axis=0)
    return np.split(np.random.default_rng(1).permutation(rows), [40])


def test_ridge_predicts_the_posterior_of_its_penalty():
    space = chain(depth=4)
    rows, others = measured_and_others(space)
    losses = loss_of(rows)
    features = OneHot(space)
    ridge = Ridge(features)
    ridge.fit(rows, losses)
    mean, spread = ridge.predict(others)
    X, x = (
        features(some) - features(rows).astype(np.float64).mean(axis=0) for some in (rows, others)
    )
    covariance = np.linalg.inv(X.T @ X + ridge.penalty * np.eye(X.shape[1]))
    expected = losses.mean() + x @ covariance @ X.T @ (losses - losses.mean())
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    variance = 1 + np.einsum("nc,cd,nd->n", x, covariance, x)
    np.testing.assert_allclose(spread, ridge.noise * np.sqrt(variance), rtol=1e-4)
    compact = Ridge(features.compact)
    compact.fit(rows, losses)
    np.testing.assert_allclose(compact.predict(others), (mean, spread), rtol=1e-4)


def test_the_process_predicts_as_its_kernel_says():
    from predictors.gaussian import Evidence, _pair_distances

    space = chain(depth=3)
    rows, others = measured_and_others(space)
    features = OneHot(space, extra=[picked])
    process = GaussianProcess(features)
    process.fit(rows, loss_of(rows))
    y = (loss_of(rows) - loss_of(rows).mean()) / loss_of(rows).std()
    evidence = Evidence(_pair_distances(features, features(rows)), y, process)
    at = np.random.default_rng(1).normal(0, 0.3, 3 + len(evidence._distances) + 2)
    at[-2:] = np.log([0.7, 0.05])
    process._settle(at)

    weights, choices = process.weights(at), len(space.choices)
    scale = np.concatenate([weights[features.one_hot_choice] / 2, weights[choices:]])
    X, x = (
        features(some) - features(rows).astype(np.float64).mean(axis=0) for some in (rows, others)
    )

    def kernel(one, other):
        distance = (scale * (one[:, None] - other) ** 2).sum(axis=2)
        return np.exp(-distance) + 0.7 * (one * scale) @ other.T

    known, across = kernel(X, X), kernel(x, X)
    inverse = np.linalg.inv(
        known + 0.05 * (1 + 0.7 * (scale * X**2).sum(axis=1).mean()) * np.eye(40)
    )
    level = (inverse @ y).sum() / inverse.sum()
    mean = level + across @ inverse @ (y - level)
    variance = (y - level) @ inverse @ (y - level) / len(y)
    explained = np.einsum("nm,mk,nk->n", across, inverse, across)
    spread = np.sqrt(variance * (np.diag(kernel(x, x)) - explained))
    expected = np.array([mean, spread]) * loss_of(rows).std() + [[loss_of(rows).mean()], [0]]
    np.testing.assert_allclose(process.predict(others), expected, rtol=1e-3)


def test_the_kernels_gradient_is_that_of_its_evidence():
    from predictors.gaussian import Evidence, _pair_distances

    space = chain(depth=3)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 30), axis=0)
    process = GaussianProcess(OneHot(space, extra=[picked]))
    y = loss_of(rows)
    distances = _pair_distances(process.features, process.features(rows))
    evidence = Evidence(distances, (y - y.mean()) / y.std(), process)
    at = np.random.default_rng(1).normal(0, 0.3, 3 + len(distances) + 2)
    _, gradient = evidence(at)
    for i in range(len(at)):
        step = np.zeros(len(at))
        step[i] = 1e-2
        slope = (evidence(at + step)[0] - evidence(at - step)[0]) / 2e-2
        assert gradient[i] == pytest.approx(slope, abs=1e-2 + 2e-2 * abs(slope))


def test_a_trend_goes_on_beyond_what_was_measured():
    space = chain(depth=6)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 400), axis=0)
    rows = rows[np.argsort(picked(rows))]
    few, many = rows[:150], rows[-50:]
    with_trend = GaussianProcess(OneHot(space))
    without = GaussianProcess(OneHot(space), prior=Prior(trend=-8.0, trend_spread=0.01))
    errors = []
    for process in (with_trend, without):
        process.fit(few, loss_of(few))
        errors.append(np.abs(process.predict(many)[0] - loss_of(many)).mean())
    assert errors[0] < errors[1]


def test_what_is_better_than_all_that_was_measured_stays_within_reach():
    losses = 5 + np.exp(2.0 * np.random.default_rng(0).normal(size=200))
    warp = Warp(losses)
    least = losses.min()
    steps = np.diff(warp(least - np.array([0.0, 1.0, 2.0, 3.0])))
    np.testing.assert_allclose(steps, steps[0])


@pytest.mark.parametrize("tail", [0.0, 1.0, 3.0])
def test_warp_is_monotone_and_reversible(tail):
    losses = 5 + np.exp(tail * np.random.default_rng(0).normal(size=200))
    warp = Warp(losses)
    order = np.argsort(losses)
    assert (np.diff(warp(losses)[order]) >= 0).all()
    back, _ = warp.back(warp(losses), np.full(200, 0.1))
    np.testing.assert_allclose(back, losses, rtol=1e-6)


@pytest.mark.parametrize("tail", [0.01, 2.0])
def test_expected_improvement_is_the_mean_over_draws(tail):
    losses = 5 + np.exp(tail * np.random.default_rng(0).normal(size=200))
    warp = Warp(losses)
    mean, spread = np.array([0.3, -1.0]), np.array([0.8, 0.2])
    best = np.quantile(losses, [0.2, 0.5, 0.8])
    z = mean + spread * np.random.default_rng(1).normal(size=(200_000, 2))
    draws, _ = warp.back(z, np.zeros_like(z))
    expected = np.maximum(best[None, None] - draws[:, :, None], 0).mean(axis=0)
    np.testing.assert_allclose(warp.improvement(best, mean, spread), expected, rtol=0.05, atol=2e-3)


def test_tau_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 40))
    signs = np.sign(np.subtract.outer(first, first) * np.subtract.outer(second, second))
    assert kendall_tau(first, second) == pytest.approx(signs.sum() / (40 * 39))
    assert np.isnan(kendall_tau(np.ones(5), np.arange(5.0)))
    with pytest.raises(ValueError, match="same networks"):
        kendall_tau(first, second[:3])


def test_tau_within_budgets_does_not_reward_size():
    rng = np.random.default_rng(0)
    cost = np.arange(100.0)
    within = rng.normal(size=100)
    measured = -10 * np.repeat(np.arange(5), 20) + within
    assert kendall_tau(-cost, measured) > 0.7
    assert abs(tau_within_budgets(-cost, measured, cost).mean()) < 0.3
    assert tau_within_budgets(measured, measured, cost).min() == pytest.approx(1.0)
