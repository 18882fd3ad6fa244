"""A new device from known ones and a few measured networks, as an ordinary cost of a goal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.problem.goals import Goal
from nas.targets import TargetError, load_target
from nas.targets.transfer.transfer import KnownTable, KnownTargets, Latency, Transfer
from nas.testing.searcher import chain
from predictors.rank import kendall_tau
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace

NAMES = ("edge-npu", "mobile-npu", "datacentre-gpu")


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return residual(
        inputs=(Input("image", (3, 16, 16)),),
        output=(10,),
        widths=((8, 16), (16, 32), (32, 64)),
        depths=((1, 2, 3), (1, 2, 3)),
        kernels=(3, 5),
        policy=Policy(weight_bits=(8,), activation_bits=(8,)),
    )


@pytest.fixture(scope="module")
def known(space: SearchSpace) -> KnownTargets:
    return KnownTargets([load_target(name) for name in NAMES], space)


def mixture(known: KnownTargets, rows: np.ndarray) -> np.ndarray:
    """A device that is none of the known ones."""
    return known.parts(rows).sum(axis=2) @ np.array([0.5, 2.0, 0.3]) + 0.02


def fitted(known: KnownTargets, count: int = 10) -> Latency:
    transfer = Transfer(known)
    chosen = transfer.choose(count)
    return transfer.fit(chosen, mixture(known, np.array(chosen)))


def test_classes_add_up_to_the_compiled_latency(space: SearchSpace, known: KnownTargets) -> None:
    rows = space.sample_array(np.random.default_rng(1), 200)
    parts = known.parts(rows)
    assert parts.shape == (200, len(NAMES), len(known.classes) + 1)
    for device, name in enumerate(NAMES):
        compiled = load_target(name).compile(space)["latency_ms"]
        np.testing.assert_allclose(parts[:, device].sum(axis=1), compiled(rows))


def test_a_mixture_of_known_targets_is_found_again(space, known) -> None:
    rows = space.sample_array(np.random.default_rng(2), 300)
    latency, truth = fitted(known), mixture(known, rows)
    assert np.median(np.abs(latency(rows) / truth - 1)) < 0.01
    assert kendall_tau(latency(rows), truth) > 0.97
    assert latency.spread(rows).shape == (300,)
    assert (latency.spread(rows) > 0).all()


def test_it_is_a_cost_of_a_goal(space, known) -> None:
    latency = fitted(known)
    rows = space.sample_array(np.random.default_rng(3), 50)
    limit = float(np.median(latency(rows)))
    goal = Goal("new", {"latency_ms": latency}, ("latency_ms",), {"latency_ms": limit})
    values, violation = goal.assess(rows)
    np.testing.assert_array_equal(values[:, 0], latency(rows))
    assert 0 < (violation > 0).sum() < 50


def test_it_says_where_it_comes_from(known) -> None:
    latency = fitted(known)
    assert latency.source.startswith(f"predicted from {', '.join(NAMES)} and 10 measured networks")
    assert f"{latency.relative_error:.1%}" in latency.source


def test_many_rows_are_the_same_as_few(space, known) -> None:
    latency = fitted(known)
    rows = space.sample_array(np.random.default_rng(4), 40_000)
    np.testing.assert_allclose(latency(rows)[-5:], latency(rows[-5:]))
    assert latency(rows[:0]).shape == latency.spread(rows[:0]).shape == (0,)


def test_a_target_that_refuses_networks_cannot_be_known(space) -> None:
    float_too = residual(
        inputs=(Input("image", (3, 16, 16)),),
        output=(10,),
        widths=((8, 16), (16, 32)),
        depths=((1, 2),),
        policy=Policy(weight_bits=(8, None), activation_bits=(8, None)),
    )
    with pytest.raises(TargetError, match="known targets bit-serial refuse networks"):
        KnownTargets([load_target("edge-npu"), load_target("bit-serial")], float_too)
    with pytest.raises(TargetError, match="at least one"):
        KnownTargets([], space)


class TestKnownTable:
    @pytest.fixture
    def space(self) -> SearchSpace:
        return chain(depth=5)

    @pytest.fixture
    def rows(self, space) -> np.ndarray:
        return np.unique(space.sample_array(np.random.default_rng(0), 400), axis=0)

    @pytest.fixture
    def latency(self, rows) -> np.ndarray:
        rng = np.random.default_rng(1)
        weights = rng.gamma(2.0, 1.0, (rows.shape[1], 3))
        return (rows @ weights + 2) * np.exp(0.02 * rng.standard_normal((len(rows), 3)))

    def test_networks_that_were_never_timed_are_predicted(self, space, rows, latency) -> None:
        timed = KnownTable(space, rows[::2], latency_ms=latency[::2, :2], names=["a", "b"])
        transfer = Transfer(timed)
        new = latency[:, :2] @ [0.4, 0.8]
        by_row = dict(zip(map(tuple, rows.tolist()), new, strict=True))
        chosen = transfer.choose(10)
        told = np.array([by_row[genotype] for genotype in chosen])
        predicted = transfer.fit(chosen, told)(rows[1::2])
        assert np.median(np.abs(predicted / new[1::2] - 1)) < 0.04
        assert (timed.left_out_error < 0.05 * latency[:, :2].max(axis=0)).all()

    @pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.5])
    def test_impossible_latencies_are_refused(self, space, rows, latency, wrong) -> None:
        latency[5, 1] = wrong
        with pytest.raises(TargetError, match="for network 5 on 'b'"):
            KnownTable(space, rows, latency_ms=latency, names=["a", "b", "c"])

    def test_shapes_and_genotypes_are_checked(self, space, rows, latency) -> None:
        with pytest.raises(TargetError, match=r"\(networks, devices\)"):
            KnownTable(space, rows, latency_ms=latency, names=["a", "b"])
        table = KnownTable(space, rows, latency_ms=latency, names=["a", "b", "c"])
        transfer = Transfer(table)
        unknown = rows[:5].copy()
        unknown[3, 0] = 99
        with pytest.raises(TargetError, match="network 3 is not of this space"):
            transfer.fit(unknown, np.arange(1.0, 6.0))
        with pytest.raises(TargetError, match="network 0 is not of this space"):
            transfer.fit(rows[:5, 1:], np.arange(1.0, 6.0))
        with pytest.raises(TargetError, match="whole numbers"):
            transfer.fit(rows[:5] * 0.5, np.arange(1.0, 6.0))
        with pytest.raises(TargetError, match="at least 3"):
            transfer.fit(rows[:2], np.array([1.0, 2.0]))
