import math

import numpy as np
import pytest

from nas.parts import Parts
from predictors.features import OneHot
from predictors.proxies.estimate import ProxyEstimate
from predictors.proxies.ranking import directions, log_rank_sum, proxy_report, rank_mean
from search_spaces.costs import SpaceKernels, parameters
from search_spaces.ops import Input
from search_spaces.residual import residual

LARGER = {"params": True, "synflow": True, "naswot": True, "macs": True, "weight_noise": False}
ERRORS = np.array([1.0, 2.0, 3.0, 4.0])


def test_a_report_has_every_proxy_in_its_own_direction() -> None:
    report = proxy_report(
        {
            "params": np.array([4.0, 3.0, 2.0, 1.0]),
            "synflow": np.array([1.0, 2.0, 3.0, 4.0]),
            "weight_noise": np.array([0.1, 0.2, 0.3, 0.4]),
            "naswot": np.array([9.0, 8.0, 7.0, -math.inf]),
        },
        ERRORS,
        larger_is_better=LARGER,
    )
    assert report == pytest.approx(
        {"params": 1.0, "synflow": -1.0, "weight_noise": 1.0, "naswot": 1.0}
    )


def test_a_constant_proxy_ranks_nothing() -> None:
    assert math.isnan(
        proxy_report({"macs": np.full(4, -math.inf)}, ERRORS, larger_is_better=LARGER)["macs"]
    )


def test_the_mean_rank_is_a_loss_between_zero_and_one() -> None:
    mean = rank_mean(
        {"params": np.array([30.0, 20.0, 10.0]), "weight_noise": np.array([0.1, 0.2, 0.2])},
        larger_is_better=LARGER,
    )
    np.testing.assert_allclose(mean, [0.0, (0.5 + 0.75) / 2, (1.0 + 0.75) / 2])


def test_a_single_network_has_rank_zero() -> None:
    np.testing.assert_array_equal(
        rank_mean({"params": np.array([3.0])}, larger_is_better=LARGER), [0.0]
    )


def test_unknown_directions_and_empty_scores_are_refused() -> None:
    with pytest.raises(ValueError, match=r"direction of \['charm'\] is not known"):
        rank_mean({"charm": ERRORS}, larger_is_better=LARGER)
    with pytest.raises(ValueError, match="at least one proxy"):
        rank_mean({}, larger_is_better=LARGER)
    assert rank_mean({"charm": ERRORS}, larger_is_better={"charm": False})[0] == 0.0


def test_every_zero_cost_score_has_a_direction_and_a_name_of_its_own() -> None:
    shipped = [*Parts("proxy").values()]
    assert {"params", "macs", "grad_norm", "snip", "synflow", "naswot", "jacob_cov"} <= set(
        directions(shipped)
    )
    with pytest.raises(ValueError, match="two proxies give the score synflow; leave one"):
        directions([*shipped, Parts("proxy")["synflow"]])


def test_estimates_follow_scores_and_enter_the_features() -> None:
    space = residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        widths=((4, 8), (8, 16)),
        depths=((1, 2, 3),),
    )
    rng = np.random.default_rng(0)
    train, test = space.sample_array(rng, 60), space.sample_array(rng, 40)
    score = SpaceKernels(space).compile(parameters)
    values = np.log(score(train))
    broken = values.copy()
    broken[0] = -math.inf
    estimate = ProxyEstimate(OneHot(space)).fit(
        train, {"synflow": values, "naswot": broken, "snip": np.full(60, -math.inf)}
    )
    estimated = estimate(test)
    assert set(estimated) == {"synflow", "naswot"}
    assert np.corrcoef(estimated["synflow"], np.log(score(test)))[0, 1] > 0.95
    assert np.isfinite(estimated["naswot"]).all()
    plain, features = OneHot(space), OneHot(space, estimate.columns)
    assert features.columns == plain.columns + 2
    assert np.isfinite(features(test)).all()


def test_the_sum_of_log_ranks_by_hand() -> None:
    scores = {"params": np.array([30.0, 20.0, 10.0]), "weight_noise": np.array([0.1, 0.2, 0.3])}
    found = log_rank_sum(scores, LARGER)
    np.testing.assert_allclose(found, 2 * np.log([1.0, 2 / 3, 1 / 3]))
    with pytest.raises(ValueError, match="at least one proxy"):
        log_rank_sum({}, LARGER)
