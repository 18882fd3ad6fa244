"""Calibrations: what they recover, what they leave alone, and what they refuse to read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.profiling.whole_networks import calibrate, measure, stratified
from nas.targets import TargetError, load_target
from nas.targets.correction.correction import (
    Calibration,
    Latencies,
    PredictionError,
    calibration_of,
    calibration_path,
    kind_of,
    read_calibration,
    uncalibrated,
)
from nas.targets.correction.fit import Sums, fit
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.testing.networks import space
from search_spaces.costs import total
from search_spaces.documents import UnreadableFile
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace

KINDS: tuple[str, ...] = (
    "Conv2d int8xint8",
    "Conv2d floatxfloat",
    "DepthwiseConv2d int8xint8",
    "Add int8",
)
CONDITIONS = {"device": "a board", "runtime": "some 1.0", "threads": "1"}


def networks(
    count: int,
    *,
    factors: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
    overhead_us: float = 0.0,
    noise: float = 0.01,
    seed: int = 0,
) -> list[Sums]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        parts = rng.uniform(0.1, 1.0, len(KINDS))
        kernels = int(rng.integers(10, 60))
        whole = float(parts @ factors) + overhead_us * kernels / 1e3
        by_kind = dict(zip(KINDS, parts.tolist(), strict=True))
        made.append(Sums(by_kind, kernels, 0.0, whole * float(rng.normal(1.0, noise))))
    return made


def predicted(calibration: Calibration, network: Sums) -> float:
    corrected = sum(ms * calibration.factor(kind) for kind, ms in network.by_kind.items())
    return corrected + calibration.overhead_us * network.kernels / 1e3 + network.fixed_ms


def error(calibration: Calibration, unseen: list[Sums]) -> PredictionError:
    measured = np.array([network.measured_ms for network in unseen])
    return PredictionError.of(np.array([predicted(calibration, n) for n in unseen]), measured)


@pytest.mark.parametrize(
    ("factors", "overhead_us"),
    [((1.3, 1.3, 1.3, 1.3), 0.0), ((1.0, 1.0, 1.8, 1.0), 0.0), ((1.0, 1.0, 1.0, 1.0), 8.0)],
)
def test_what_sums_miss_is_found_from_ten_networks(
    factors: tuple[float, ...], overhead_us: float
) -> None:
    found = fit(networks(10, factors=factors, overhead_us=overhead_us))
    unseen = networks(200, factors=factors, overhead_us=overhead_us, seed=1)
    assert error(found, unseen).within_5 >= 0.9
    assert found.before.within_5 < 0.5
    assert found.error.median < found.before.median


def test_right_sums_are_left_alone() -> None:
    found = fit(networks(10))
    assert found.scale == pytest.approx(1.0, abs=0.02)
    assert not found.corrections
    assert abs(found.overhead_us) < 0.5


def test_one_network_measured_wrong_does_not_turn_the_rest() -> None:
    seen = networks(10, factors=(1.2, 1.2, 1.2, 1.2))
    seen[3] = dataclasses.replace(seen[3], measured_ms=4 * seen[3].measured_ms)
    unseen = networks(100, factors=(1.2, 1.2, 1.2, 1.2), seed=1)
    assert error(fit(seen), unseen).within_5 >= 0.9


def test_the_stated_error_is_that_of_networks_left_out() -> None:
    factors, stated, true = (1.0, 1.4, 0.8, 1.0), [], []
    for seed in range(20):
        found = fit(networks(10, factors=factors, noise=0.03, seed=seed))
        stated.append(found.error.median)
        unseen = networks(100, factors=factors, noise=0.03, seed=100)
        true.append(error(found, unseen).median)
    assert np.mean(stated) == pytest.approx(np.mean(true), rel=0.35)


def test_what_is_no_kernel_is_not_scaled() -> None:
    seen = [
        dataclasses.replace(n, fixed_ms=1.0, measured_ms=n.measured_ms + 1.0)
        for n in networks(10, noise=0.0)
    ]
    assert error(fit(seen), seen).median < 0.001


@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.0, 3.0))
@settings(max_examples=25, deadline=None)
def test_factors_stay_positive_whatever_is_measured(seed: int, spread: float) -> None:
    found = fit(networks(6, noise=0.0, factors=tuple(np.exp(_normal(seed, spread)))))
    assert found.scale > 0
    assert all(factor > 0 for factor in found.corrections.values())


def _normal(seed: int, spread: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, spread, len(KINDS))


def test_few_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 5 networks, given 4"):
        fit(networks(4))


def test_error_counts_shares() -> None:
    found = PredictionError.of(np.array([1.0, 1.04, 1.08, 1.5]), np.ones(4))
    assert (found.within_5, found.within_10, found.networks) == (0.5, 0.75, 4)
    assert found.median == pytest.approx(0.06)


class TestFile:
    def test_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        found = dataclasses.replace(
            fit(networks(10, factors=(1.0, 2.0, 1.0, 1.0))), conditions=CONDITIONS
        )
        found.write(tmp_path / "t.calibration.json")
        assert read_calibration(tmp_path / "t.calibration.json", conditions=CONDITIONS) == found

    def test_of_another_device_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "c.json"
        dataclasses.replace(fit(networks(10)), conditions=CONDITIONS).write(path)
        with pytest.raises(TargetError, match="threads = '1', its table with '2'; delete it"):
            read_calibration(path, conditions={**CONDITIONS, "threads": "2"})

    @pytest.mark.parametrize(
        ("key", "value"),
        [("scale", -1.0), ("scale", "NaN"), ("corrections", {"Add 8": 0}), ("overhead_us", None)],
    )
    def test_with_senseless_numbers_is_refused(
        self, tmp_path: Path, key: str, value: object
    ) -> None:
        path = tmp_path / "c.json"
        fit(networks(10)).write(path)
        content = json.loads(path.read_text())
        content["calibration"][key] = value
        path.write_text(json.dumps(content))
        with pytest.raises(UnreadableFile, match="delete it and calibrate again"):
            read_calibration(path, conditions={})

    @given(content=st.binary(max_size=200))
    @settings(max_examples=40, deadline=None)
    def test_anything_else_is_refused(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes
    ) -> None:
        path = tmp_path_factory.mktemp("c") / "c.json"
        path.write_bytes(content)
        with pytest.raises(UnreadableFile, match="delete it and calibrate again"):
            read_calibration(path, conditions={})


class Board:
    """A device whose networks take the given latencies, in the order in which they are run."""

    name = "board"

    def __init__(self, latencies: list[float], *, slow: int = 0) -> None:
        self._latencies = latencies
        self._slow = slow
        self.asked = 0

    def conditions(self) -> dict[str, str]:
        return CONDITIONS

    def network(self, model: Path) -> tuple[float, float]:
        assert model.stat().st_size > 0
        self.asked += 1
        spell = 3.0 if self.asked <= self._slow else 1.0
        return spell * self._latencies[(self.asked - 1) % len(self._latencies)], 0.0


def test_a_slow_spell_is_waited_out(small: SearchSpace) -> None:
    genotypes = [small.smallest, small.largest]
    board = Board([1.0, 2.0], slow=2)
    found = measure(small, genotypes, backend=board)  # pyright: ignore[reportArgumentType]
    assert found.tolist() == [1.0, 2.0]
    assert board.asked == 6


@pytest.fixture(scope="module")
def small() -> SearchSpace:
    return space("residual", Policy(weight_bits=(8, None), activation_bits=(8, None)))


@pytest.fixture
def table(small: SearchSpace, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    empty = load_target("this-cpu", table=tmp_path / "none.csv", unmeasured=True)
    rows = {
        KernelKey.of(kernel, bits): Row(float(rng.uniform(0.01, 0.1)), 0.001, 9)
        for kernel, bits in empty.natively(small)
    }
    LatencyTable(rows, CONDITIONS).write(tmp_path / "t.csv")
    return tmp_path / "t.csv"


def test_a_target_is_calibrated_from_whole_networks_and_keeps_it(
    small: SearchSpace, table: Path
) -> None:
    target = load_target("this-cpu", table=table)
    assert calibration_of(target) is None
    predict = target.compile(small)["latency_ms"]
    picked = stratified(small, predict, 8, seed=0)
    board = Board([1.5 * float(ms) for ms in predict(np.array(picked))])
    found = calibrate(target, small, backend=board, networks=8)  # pyright: ignore[reportArgumentType]
    assert board.asked == 16  # two passes that agree
    assert [network.genotype for network in found.networks] == picked
    found.write(calibration_path(table))
    again = load_target("this-cpu", table=table)
    assert calibration_of(again) == found
    assert again.notes == target.notes
    rows = small.sample_array(np.random.default_rng(3), 50)
    calibrated = again.compile(small)["latency_ms"](rows)
    np.testing.assert_allclose(calibrated, 1.5 * predict(rows), rtol=0.02)
    for row, compiled in zip(rows[:5].tolist(), calibrated, strict=False):
        summed = total(again.kernel_cost, small.decode(row), again.fusion)
        assert compiled == pytest.approx(summed)
    np.testing.assert_array_equal(
        uncalibrated(again).compile(small)["latency_ms"](rows), predict(rows)
    )


def test_a_space_of_fewer_networks_than_a_fit_needs_is_refused_before_anything_is_measured(
    small: SearchSpace, table: Path
) -> None:
    single = small.restrict(lambda made, option: option == made.options[0])
    with pytest.raises(TargetError, match=r"needs 5 networks.* runs 1; leave calibration out"):
        calibrate(load_target("this-cpu", table=table), single, backend=None)  # pyright: ignore[reportArgumentType]


def test_picked_networks_span_the_latencies_evenly(small: SearchSpace, table: Path) -> None:
    predict = load_target("this-cpu", table=table).compile(small)["latency_ms"]
    picked = stratified(small, predict, 10, seed=0)
    assert len(set(picked)) == 10
    assert {small.smallest, small.largest} <= set(picked)
    steps = np.diff(np.sort(predict(np.array(picked))))
    assert steps.max() < 3 * np.median(steps)


def test_a_correction_touches_its_kind_alone(small: SearchSpace, table: Path) -> None:
    target = load_target("this-cpu", table=table)
    error_ = PredictionError(0.0, 0.0, 1.0, 1.0, 5)
    calibration = Calibration(1.0, {"Conv2d int8xint8": 2.0}, 0.0, error_, error_)
    model = Latencies(target.model, calibration)
    for kernel, bits in target.natively(small):
        alone = target.model.costs["latency_ms"](kernel, bits)
        factor = 2.0 if kind_of(kernel, bits) == "Conv2d int8xint8" else 1.0
        assert model.latency_ms(kernel, bits) == pytest.approx(factor * alone)
