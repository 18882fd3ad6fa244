"""Latency transfer: exact where it must be, honest about its error, and clear about bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.targets.transfer.additive import Additive
from nas.targets.transfer.regression import LatencyTransfer
from nas.testing.searcher import chain, widths
from predictors.rank import kendall_tau
from search_spaces.space import SearchSpace

FloatArray = NDArray[np.float64]
NETWORKS, DEVICES, CLASSES = 200, 4, 3


def devices(seed: int = 0) -> FloatArray:
    """Random networks of three classes of work, done at random speeds on four devices."""
    rng = np.random.default_rng(seed)
    work = rng.gamma(4.0, 1.0, (NETWORKS, CLASSES))
    return work[:, None] * rng.gamma(4.0, 0.5, (DEVICES, CLASSES)) + 0.2


def relative(predicted: FloatArray, measured: FloatArray) -> float:
    return float(np.median(np.abs(predicted / measured - 1)))


def new_device(parts: FloatArray, rng: np.random.Generator, *, noise: float) -> FloatArray:
    """A combination of whole devices, each class at a pace of its own, and relative noise."""
    whole = np.einsum(
        "ndc,d,c->n", parts, rng.dirichlet(np.ones(DEVICES)), rng.uniform(0.8, 1.2, 3)
    )
    return whole * np.exp(noise * rng.standard_normal(len(parts)))


@given(st.lists(st.floats(0.1, 3.0), min_size=DEVICES, max_size=DEVICES), st.floats(0, 5))
@settings(max_examples=20, deadline=None)
def test_a_combination_of_known_devices_is_found_again(factors: list[float], bias: float) -> None:
    parts = devices()
    truth = parts.sum(axis=2) @ np.array(factors) + bias
    fitted = LatencyTransfer(parts).fit(parts[:10], truth[:10])
    mean, spread = fitted.predict(parts[10:])
    assert relative(mean, truth[10:]) < 0.005
    assert kendall_tau(mean, truth[10:]) > 0.98
    assert np.median(spread / truth[10:]) < 0.02


def test_scale_of_the_new_device_and_of_the_known_ones_does_not_matter() -> None:
    parts = devices()
    truth = new_device(parts, np.random.default_rng(1), noise=0.05)
    mean, spread = LatencyTransfer(parts).fit(parts[:10], truth[:10]).predict(parts)
    units = np.array([1e3, 1e-3, 7.0, 1.0])[:, None]
    scaled = LatencyTransfer(parts * units).fit(parts[:10] * units, 1e3 * truth[:10])
    mean_again, spread_again = scaled.predict(parts * units)
    np.testing.assert_allclose(mean_again, 1e3 * mean, rtol=1e-6)
    np.testing.assert_allclose(spread_again, 1e3 * spread, rtol=1e-5)


def test_factors_and_constant_are_the_mean() -> None:
    parts = devices()
    truth = new_device(parts, np.random.default_rng(2), noise=0.05)
    fitted = LatencyTransfer(parts).fit(parts[:12], truth[:12])
    factors, constant = fitted.linear()
    assert factors.shape == (DEVICES, CLASSES)
    np.testing.assert_allclose(
        np.einsum("ndc,dc->n", parts, factors) + constant, fitted.predict(parts)[0], rtol=1e-9
    )


def test_more_measurements_help_and_chosen_ones_help_more() -> None:
    errors = {key: [] for key in ("5", "10", "40", "10 chosen")}
    for seed in range(30):
        parts = devices(seed)
        rng = np.random.default_rng(seed)
        truth = new_device(parts, rng, noise=0.0)
        told = truth * np.exp(0.05 * rng.standard_normal(NETWORKS))
        transfer = LatencyTransfer(parts)
        picks = {name: slice(int(name)) for name in ("5", "10", "40")}
        for name, rows in {**picks, "10 chosen": transfer.choose(10)}.items():
            mean, _ = transfer.fit(parts[rows], told[rows]).predict(parts)
            errors[name].append(relative(mean, truth))
    mean = {name: np.mean(found) for name, found in errors.items()}
    assert mean["40"] < mean["10"] < mean["5"]
    assert mean["10 chosen"] < mean["10"]


def test_the_stated_spread_and_error_are_those_seen() -> None:
    within, stated, seen = [], [], []
    for seed in range(30):
        parts = devices(seed)
        truth = new_device(parts, np.random.default_rng(seed), noise=0.1)
        fitted = LatencyTransfer(parts).fit(parts[:12], truth[:12])
        mean, spread = fitted.predict(parts[12:])
        within.append(np.mean(np.abs(mean - truth[12:]) < 2 * spread))
        stated.append(fitted.relative_error)
        seen.append(relative(mean, truth[12:]))
    assert 0.85 < np.mean(within) <= 0.995
    assert np.mean(stated) == pytest.approx(np.mean(seen), rel=0.3)


def test_one_outlier_does_little_harm() -> None:
    parts = devices()
    truth = new_device(parts, np.random.default_rng(3), noise=0.02)
    told = truth[:12].copy()
    told[4] *= 5
    mean, _ = LatencyTransfer(parts).fit(parts[:12], told).predict(parts)
    assert relative(mean, truth) < 0.1


def test_whole_milliseconds_are_enough() -> None:
    parts = devices() * 3
    truth = new_device(parts, np.random.default_rng(4), noise=0.0)
    mean, _ = LatencyTransfer(parts).fit(parts[:10], np.round(truth[:10])).predict(parts)
    assert kendall_tau(mean, truth) > 0.85


def test_a_known_device_of_constant_latency_says_nothing() -> None:
    parts = devices()
    constant = np.concatenate([parts, np.full((NETWORKS, 1, CLASSES), 2.0)], axis=1)
    truth = new_device(parts, np.random.default_rng(5), noise=0.05)
    without = LatencyTransfer(parts).fit(parts[:10], truth[:10]).predict(parts)[0]
    beside = LatencyTransfer(constant).fit(constant[:10], truth[:10]).predict(constant)[0]
    np.testing.assert_allclose(beside, without)


def test_chosen_networks_are_distinct_and_the_first_stay() -> None:
    transfer = LatencyTransfer(devices())
    assert len(set(transfer.choose(20).tolist())) == 20
    np.testing.assert_array_equal(transfer.choose(20)[:5], transfer.choose(5))


def test_repeated_networks_are_no_obstacle() -> None:
    parts = devices()[[0] * 5 + [1] * 5 + [2] * 5]
    transfer = LatencyTransfer(devices())
    mean, _ = transfer.fit(parts, parts.sum(axis=(1, 2)) * 1.1).predict(devices())
    assert np.isfinite(mean).all()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0, 0.0])
def test_impossible_measurements_are_refused(wrong: float) -> None:
    parts = devices()
    told = parts.sum(axis=(1, 2))[:10]
    told[7] = wrong
    with pytest.raises(ValueError, match="network 7; measure it again"):
        LatencyTransfer(parts).fit(parts[:10], told)


def test_too_few_equal_or_mismatched_measurements_are_refused() -> None:
    parts = devices()
    transfer = LatencyTransfer(parts)
    with pytest.raises(ValueError, match="at least 3"):
        transfer.fit(parts[:2], np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="nothing tells networks apart"):
        transfer.fit(parts[:5], np.ones(5))
    with pytest.raises(ValueError, match="for 5 networks"):
        transfer.fit(parts[:5], np.arange(1.0, 7.0))
    with pytest.raises(ValueError, match="given 2"):
        transfer.choose(2)
    with pytest.raises(ValueError, match="given 201"):
        transfer.choose(NETWORKS + 1)


def test_unusable_known_devices_are_refused() -> None:
    parts = devices()
    with pytest.raises(ValueError, match="every latency is constant"):
        LatencyTransfer(np.ones_like(parts))
    with pytest.raises(ValueError, match=r"\(networks, devices, classes\)"):
        LatencyTransfer(parts[0])
    parts[3, 2, 1] = math.nan
    with pytest.raises(ValueError, match="known device 2 has no finite latency for network 3"):
        LatencyTransfer(parts)


@pytest.fixture
def space() -> SearchSpace:
    return chain(depth=5)


def test_sums_over_options_are_found_again(space: SearchSpace) -> None:
    rows = np.unique(space.sample_array(np.random.default_rng(0), 300), axis=0)
    weights = np.arange(1, rows.shape[1] + 1)
    values = np.stack([rows @ weights + 2.0, rows[:, 0] * 3.0 + 1.0], axis=1)
    additive = Additive(space, rows, values)
    parts = additive.parts(rows)
    assert parts.shape[:2] == values.shape
    np.testing.assert_allclose(parts.sum(axis=2), values, rtol=1e-2, atol=1e-2)
    assert (additive.left_out_error < 1e-2).all()


def test_sums_average_noise_out_and_say_how_much_there_was(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    rows = space.sample_array(rng, 500)
    truth = rows @ np.arange(1.0, rows.shape[1] + 1) + 5
    additive = Additive(space, rows, (truth + rng.standard_normal(500))[:, None])
    errors = additive.parts(rows).sum(axis=2)[:, 0] - truth
    assert np.sqrt(np.mean(errors**2)) < 0.4
    assert additive.left_out_error[0] == pytest.approx(1.0, rel=0.15)


def test_of_a_space_of_one_network_the_level_is_found() -> None:
    rows = widths(1).sample_array(np.random.default_rng(0), 4)
    additive = Additive(widths(1), rows, np.full((4, 2), 3.0))
    np.testing.assert_allclose(additive.parts(rows).sum(axis=2), 3.0)
