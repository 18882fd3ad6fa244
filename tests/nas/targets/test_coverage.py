"""What a target covers, what looks wrong in its table, and which rows are near a missing one."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from nas.targets import HardwareTarget, TargetError, load_target
from nas.targets.correction.correction import Calibration, Latencies, PredictionError
from nas.targets.coverage import by_operator, findings, of_space, spread
from nas.targets.numerics import Numerics, of_bits
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.nearest import Neighbours
from nas.targets.table.rows import KernelKey, Row
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from tests.nas.runs import nas

RELU = "Activation(function=relu)"
KEY = KernelKey("Conv2d", "out=16,kernel=3", "8x4x4", RELU, "int8", "int8")
CONDITIONS = {"device": "d", "runtime": "r", "threads": "1", "date": "today", "weights": "unsigned"}


@pytest.fixture
def space() -> SearchSpace:
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        widths=((8, 16), (8, 16)),
        depths=((1, 2),),
        policy=Policy(weight_bits=(3, 8, None), activation_bits=(8,)),
    )


def measured(rows: dict[KernelKey, Row], notes: dict[str, str] = CONDITIONS) -> HardwareTarget:
    table = LatencyTable(rows, notes)
    any_cpu = load_target("this-cpu", elsewhere=True)
    return dataclasses.replace(any_cpu, model=table, notes=notes)


def test_the_nearest_row_is_the_one_of_the_like_operator_with_the_closest_sizes() -> None:
    wider = dataclasses.replace(KEY, fields="out=32,kernel=3")
    strided = dataclasses.replace(KEY, fields="out=32,kernel=3,stride=2")
    other_kernel = dataclasses.replace(KEY, fields="out=32,kernel=5")
    at_4_bits = dataclasses.replace(KEY, weight="int4", activation="int4")
    unfused = dataclasses.replace(KEY, fused="")
    linear = dataclasses.replace(KEY, operator="Linear", fields="out=16")
    rows = Neighbours([unfused, strided, other_kernel, linear, at_4_bits, wider])
    near = [wider, other_kernel, strided, at_4_bits, unfused]
    assert rows.of(KEY, count=9) == near
    assert rows.of(KEY, count=2) == near[:2]
    assert rows.distance(KEY, KEY) == 0
    assert rows.distance(KEY, wider) == rows.distance(wider, KEY) == 1
    assert rows.distance(KEY, dataclasses.replace(KEY, inputs="4x8x2")) == 3


def test_an_error_before_the_search_names_the_nearest_rows(space: SearchSpace) -> None:
    near = KernelKey("Conv2d", "out=9,kernel=3", "1x8x8", RELU, "int8", "int8")
    with pytest.raises(TargetError, match=r"out=8,kernel=3.* on 1x8x8, .*nearest: .*out=9,"):
        measured({near: Row(1.0, 0.0, 9)}).compile(space)


def test_a_space_is_covered_in_part(space: SearchSpace) -> None:
    empty = load_target("this-cpu", elsewhere=True)
    kernels = [KernelKey.of(kernel, bits) for kernel, bits in empty.natively(space)]
    needed = of_space(measured({}), space)
    assert needed.wanted == len(needed.missing)
    assert set(needed.missing) <= set(kernels)
    one, *others = needed.missing
    found = of_space(measured({key: Row(1.0, 0.0, 9) for key in others}), space)
    assert (found.wanted, [*found.missing]) == (needed.wanted, [one])
    assert all(key.operator == one.operator for key in found.missing[one])
    assert found.contained["Conv2d", of_bits(7, 8)] == [Numerics("int3", "uint8")]
    assert found.refused == {}


def test_refused_options_are_named_with_their_choices(space: SearchSpace) -> None:
    found = of_space(load_target("microcontroller"), space)
    assert set(found.refused) == {"full precision"}
    refusal = found.refused["full precision"]
    assert "stage0.block0.weight.bits" in refusal.choices
    assert len(refusal.choices) <= refusal.offered
    assert found.contained["Conv2d", None] == [Numerics("float", "uint8")]
    assert not found.missing


def test_rows_are_counted_by_operator_and_bits() -> None:
    wide = dataclasses.replace(KEY, weight="float", activation="float")
    table = LatencyTable({KEY: Row(1.0, 0.1, 5), wide: Row(2.0, 0.6, 5)})
    assert by_operator(table) == {"Conv2d": {of_bits(8, 8): 1, of_bits(32, 32): 1}}
    assert spread(table) == pytest.approx((0.2, 0.3))
    assert spread(LatencyTable({})) is None


def keys(count: int) -> list[KernelKey]:
    return [dataclasses.replace(KEY, fields=f"out={n},kernel=3") for n in range(1, count + 1)]


def test_a_sound_table_has_no_findings() -> None:
    assert (
        findings(measured({key: Row((n + 1) / 7e3, 1e-6, 9) for n, key in enumerate(keys(20))}))
        == []
    )
    assert findings(load_target("this-cpu")) == findings(load_target("edge-npu")) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({KEY: Row(1.0, 0.3, 9)}, r"1 of 1 rows have a spread above 25%, such as Conv2d.*\(30%\)"),
        ({KEY: Row(0.0, 0.0, 9)}, "1 of 1 rows take no time at all"),
        ({KEY: Row(5000.0, 0.0, 9)}, r"more than 5,000 ms; are they milliseconds\?"),
        (
            {KEY: Row(2.0, 0.0, 9), dataclasses.replace(KEY, weight="float"): Row(1.0, 0.0, 9)},
            r"faster than the same kernel at fewer bits, such as .*floatxint8.*\(1 against 2 ms\)",
        ),
        ({dataclasses.replace(KEY, weight="int4"): Row(1.0, 0.0, 9)}, "are never used"),
        (
            {key: Row(0.72, 0.0, 9) for key in keys(5)},
            "5 of 5 rows share a latency with at least 3 others, 5 of them 0.72 ms",
        ),
    ],
)
def test_what_looks_wrong_is_told(rows: dict[KernelKey, Row], expected: str) -> None:
    assert re.search(expected, "\n".join(findings(measured(rows))))


def test_what_is_simulated_has_no_conditions() -> None:
    found = dataclasses.replace(measured({KEY: Row(1.0, 0.0, 9)}, {}), provenance="simulated")
    assert findings(found) == []


def test_a_calibrated_table_is_looked_at_too(space: SearchSpace) -> None:
    plain = measured({KEY: Row(1.0, 0.9, 9)})
    error = PredictionError(0.01, 0.02, 1.0, 1.0, 10)
    calibrated = Latencies(plain.model, Calibration(1.0, {}, 0.0, error, error))
    target = dataclasses.replace(plain, model=calibrated)
    assert findings(target) == findings(plain) != []
    assert of_space(target, space).missing == of_space(plain, space).missing != {}


def test_conditions_that_nothing_says_are_told() -> None:
    [found] = findings(measured({KEY: Row(1.0, 0.0, 9)}, {"device": "d"}))
    assert "runtime, threads, date" in found


def test_check_prints_what_a_target_covers(tmp_path: Path, space: SearchSpace) -> None:
    (tmp_path / "space.json").write_text(space.to_json())
    needed = [*of_space(measured({}), space).missing]
    rows = {key: Row(0.5 + n, 0.01, 9) for n, key in enumerate(needed[1:])}
    LatencyTable(rows, CONDITIONS).write(tmp_path / "t.csv")
    given = nas(
        *("targets", "check", "this-cpu", "--table", tmp_path / "t.csv"),
        *("--space", tmp_path / "space.json"),
    )
    share = f"figures for {len(rows)} of {len(needed)} kernels"
    for words in (share, f"no row for {needed[0]}", "nearest: Conv2d", "runs at int7xint8"):
        assert words in given.out
    assert given.code == 1
    assert "1 of " in given.err
    assert "nas profile" in given.err


def test_check_refuses_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("name = 3")
    given = nas("targets", "check", tmp_path / "mine.toml")
    assert given.code == 1
    assert "name = 3" in given.err


def test_check_takes_one_space_only(tmp_path: Path) -> None:
    given = nas("targets", "check", "edge-npu", "--space", "a.json", "--recipe", "b.toml")
    assert given.code == 2
    (tmp_path / "a.json").write_text("{")
    given = nas("targets", "check", "edge-npu", "--space", tmp_path / "a.json")
    assert given.code == 1
    assert "is no JSON" in given.err


def test_targets_are_listed_with_and_without_the_word() -> None:
    assert nas("targets").out == nas("targets", "list").out
    assert "datacentre-gpu" in nas("targets").out
