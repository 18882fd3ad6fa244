"""The formats in which a device computes, by name: what holds what, and which rows are shared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.targets import legal, load_target
from nas.targets.capability import Accepted, Capability, Support
from nas.targets.correction.correction import Calibration, PredictionError, read_calibration
from nas.targets.errors import TargetError
from nas.targets.network_costs import NetworkCosts
from nas.targets.numerics import FULL, Numerics, bits_in, holds, numerics_of, of_bits, wanted
from nas.targets.roofline import Roofline
from nas.targets.rules import Cast, Rules
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from search_spaces.costs import SpaceKernels
from search_spaces.formats import BFLOAT16, E2M1, E4M3, E5M2, FLOAT16, FORMATS, Float, Format, Int
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.ops import Input, Linear
from search_spaces.quant import Float16, PerChannel, PerGroup, PerTensor, Quant, precision
from search_spaces.space import SearchSpace

UNSIGNED = Quant(Int(8, symmetric=False))
FLOAT8 = Numerics("e4m3", "e4m3")


def linear(weight: Quant | None, activation: Quant | None = UNSIGNED) -> Linear:
    return Linear(16, weight=weight, activation=activation)


def key(weight: Quant | None, activation: Quant | None = UNSIGNED) -> KernelKey:
    op = linear(weight, activation)
    return KernelKey.of(Kernel(op, (), ((64,),)), wanted(op))


def capability(*native: Numerics, granularities: tuple[str, ...] = (), refuse: bool = False):
    accepted = Accepted(Accepted().granularities | set(granularities))
    support = Support(native, weight=accepted)
    return Capability({"Linear": support}, "refuse" if refuse else "container")


def test_formats_and_sizes_of_groups_never_share_a_row() -> None:
    weights = [
        *(Quant(made) for made in FORMATS.values()),
        *(Quant(Int(4), PerGroup(size)) for size in (16, 32, 64)),
        *(Quant(E4M3, PerGroup(32, scale)) for scale in (Float16(), PerGroup(32).scale)),
        None,
    ]
    assert len({key(weight) for weight in weights}) == len(weights)
    assert len({key(Quant(Int(8)), Quant(made)) for made in FORMATS.values()}) == len(FORMATS)


def test_scales_per_tensor_and_per_channel_share_a_row() -> None:
    assert key(Quant(Int(8), PerTensor())) == key(Quant(Int(8), PerChannel()))


def test_a_key_tells_its_formats_again() -> None:
    for weight in (None, Quant(E5M2), Quant(Int(4), PerGroup(32, Float16()))):
        assert key(weight).numerics == wanted(linear(weight))
    with pytest.raises(ValueError, match="'int99' is no number format"):
        numerics_of("int99", "int8")
    with pytest.raises(ValueError, match="is no granularity"):
        numerics_of("int8-per-row", "int8")


def numbers(made: Format) -> NDArray[np.float32]:
    """All numbers of a format; `2 ** bits` codes of which the last ones of a float are none."""
    low, high = made.range if isinstance(made, Int) else (0, 2**made.bits - 1)
    found = made.decode(np.arange(low, high + 1))
    return found[np.isfinite(found)]


def test_a_format_holds_another_if_all_its_numbers_are_there() -> None:
    """Decided by the numbers themselves, for all floats and integers of one sign.

    Small floats with scales are not asked to hold integers.
    """
    for name, wide in FORMATS.items():
        for other, narrow in FORMATS.items():
            floats = isinstance(wide, Float) and isinstance(narrow, Int)
            if (isinstance(wide, Int) and isinstance(narrow, Float)) or (floats and wide.scaled):
                assert not holds(name, other)
            elif wide.symmetric == narrow.symmetric or floats:
                held = numbers(narrow)
                assert holds(name, other) == np.array_equal(wide.snap(held), held), (name, other)


def test_full_precision_holds_integers_and_decodes_no_small_float() -> None:
    assert holds(FULL, "int8")
    assert not holds("int16", FULL)
    assert not holds(FULL, "e4m3")
    assert (bits_in(FULL), bits_in("int16"), bits_in("e2m1")) == (32, 16, 4)


def test_small_floats_run_only_where_they_are_named() -> None:
    asked = linear(Quant(E4M3), Quant(E4M3))
    ints = capability(of_bits(8, 8), of_bits(32, 32))
    assert ints.container(asked) is None
    assert "given e4m3xe4m3" in ints.refusal(asked)
    both = capability(of_bits(8, 8), FLOAT8)
    assert both.container(asked) == FLOAT8
    assert both.container(linear(Quant(E2M1), Quant(E4M3))) == FLOAT8
    assert both.container(linear(Quant(Int(8)))) == of_bits(8, 8)
    assert both.container(linear(Quant(E5M2), Quant(E4M3))) is None
    for name in ("edge-npu", "bit-serial"):
        assert load_target(name).capability.container(linear(Quant(E5M2), Quant(E5M2))) is None


def test_floats_of_16_bits_run_where_they_are_named_decoded_or_full_precision() -> None:
    both, held = linear(Quant(FLOAT16), Quant(FLOAT16)), linear(Quant(FLOAT16), None)
    floats = of_bits(32, 32)
    plain = capability(of_bits(8, 8), floats)
    assert plain.container(both) is plain.container(held) is None
    halves = Numerics("float16", "float16")
    named = capability(of_bits(8, 8), halves, floats)
    assert named.container(both) == halves
    assert named.container(linear(Quant(Int(4), PerChannel()), Quant(FLOAT16))) == halves
    assert named.container(linear(Quant(BFLOAT16), Quant(FLOAT16))) is None
    assert named.container(held) is None
    native = capability(of_bits(8, 8), floats).supports["Linear"]
    decoding = Capability({"Linear": replace(native, decodes=frozenset({"float16"}))}, "refuse")
    assert decoding.container(held) == floats
    assert decoding.container(both) is decoding.container(linear(Quant(BFLOAT16), None)) is None
    own = Capability({"Linear": native}, "container", full_precision="float16")
    assert own.container(both) == own.container(held) == floats
    assert own.container(linear(Quant(Int(8)), Quant(FLOAT16))) == floats
    assert own.container(linear(Quant(BFLOAT16), None)) is None


def test_a_weight_of_16_bits_takes_two_bytes_and_no_scales() -> None:
    graph = Graph(Input("input", (64,)))
    graph.add("one", linear(Quant(FLOAT16), Quant(FLOAT16)))
    costs = load_target("datacentre-gpu").costs(graph)
    assert costs["model_bytes"] == 16 * 64 * 2 + 16 * 4
    assert costs["peak_activation_bytes"] == (64 + 16) * 2
    with pytest.raises(TargetError, match="given float16xfloat16"):
        legal(SearchSpace(graph), [load_target("tiny-mcu")])


def test_a_table_without_rows_of_16_bits_is_refused_and_never_read_as_another_format(
    tmp_path: Path,
) -> None:
    formats = '"int8xint8", "float16xfloat16", "floatxfloat"'
    (tmp_path / "board.toml").write_text(
        'name = "board"\ndevice = "a board"\nruntime = "its own"\nprovenance = "imported"\n'
        'otherwise = "container"\ntable = "board.csv"\n'
        f'[[supports]]\noperators = ["Linear"]\nformats = [{formats}]\n'
    )
    rows = {key(quant, quant): Row(1.0, 0.0, 1) for quant in (Quant(Int(8)), None)}
    LatencyTable(rows).write(tmp_path / "board.csv")
    target = load_target(tmp_path / "board.toml")
    half = precision("both", (FLOAT16, None))
    graph = Graph(Input("input", (64,)))
    graph.add("one", linear(half, half))
    with pytest.raises(TargetError, match=r"no row for 1 of 2 kernels(.|\n)*float16xfloat16"):
        target.compile(SearchSpace(graph))
    LatencyTable({**rows, key(Quant(FLOAT16), Quant(FLOAT16)): Row(0.5, 0.0, 1)}).write(
        tmp_path / "board.csv"
    )
    costs = load_target(tmp_path / "board.toml").compile(SearchSpace(graph))
    assert costs["latency_ms"](np.array([[0], [1]])).tolist() == [0.5, 1.0]


def test_kernels_for_int8_run_uint8_unless_uint8_is_named() -> None:
    shared = capability(of_bits(8, 8), refuse=True)
    signed, unsigned = linear(Quant(Int(8)), Quant(Int(8))), linear(Quant(Int(8)))
    assert shared.container(signed) == shared.container(unsigned) == of_bits(8, 8)
    own = capability(of_bits(8, 8), Numerics("int8", "uint8"), refuse=True)
    assert own.container(unsigned) == Numerics("int8", "uint8")
    assert own.container(signed) == of_bits(8, 8)
    only = capability(Numerics("int8", "uint8"), refuse=True)
    assert only.container(signed) is None
    few = linear(Quant(Int(4)), Quant(Int(4, symmetric=False)))
    wide = capability(of_bits(8, 8), Numerics("int8", "uint8"))
    assert wide.container(few) == Numerics("int8", "uint8")


def test_groups_run_only_where_they_are_named() -> None:
    grouped = linear(Quant(Int(4), PerGroup(32, Float16())))
    assert capability(of_bits(8, 8)).container(grouped) is None
    expected = Numerics("int8", "int8", "per-group-32-float16")
    for named in ("per-group", "per-group-32-float16"):
        assert capability(of_bits(8, 8), granularities=(named,)).container(grouped) == expected
    assert capability(of_bits(8, 8), granularities=("per-group-32",)).container(grouped) is None
    floats = capability(of_bits(32, 32), granularities=("per-group",))
    assert floats.container(grouped) == of_bits(32, 32)


def test_a_roofline_moves_the_scales_of_groups() -> None:
    roofline = Roofline({of_bits(8, 8): 1.0}, 1.0, 0.0)
    kernels = [Kernel(linear(Quant(Int(8), g)), (), ((64,),)) for g in (PerChannel(), PerGroup(16))]
    plain, grouped = (roofline.work(kernel, wanted(kernel.op)) for kernel in kernels)
    assert grouped.weight_bytes == plain.weight_bytes + 16 * 4 * 4


@pytest.mark.parametrize("other", [E4M3, Int(4)])
def test_a_change_of_format_is_a_conversion_even_at_as_many_bits(other: Float | Int) -> None:
    graph = Graph(Input("input", (64,)))
    graph.add("one", linear(Quant(Int(8))))
    graph.add("two", linear(Quant(Int(8)), Quant(other)))
    kernels = SpaceKernels(SearchSpace(graph))
    network = NetworkCosts(kernels, lambda kernel: wanted(kernel.op), Rules(cast=Cast(5.0, 1e6)))
    latency = network.all({"latency_ms": lambda kernel, numerics: 0.0})["latency_ms"]
    assert latency(np.zeros((1, 0), int))[0] == pytest.approx(0.005, rel=1e-3)


def test_target_files_of_bits_mean_what_they_meant(tmp_path: Path) -> None:
    for name in ("edge-npu", "bit-serial", "tiny-mcu"):
        target = load_target(name)
        path = Path("nas/targets/devices", f"{name}.toml")
        text = path.read_text().replace("formats =", "bits =")
        for named, bits in (("float", "32"), ("int", "")):
            lines = text.split("\n")
            text = "\n".join(
                line.replace(f'"{named}', f'"{bits}').replace(f"x{named}", f"x{bits}")
                if line.startswith(("bits", "gmacs", "pj_per_mac"))
                else line
                for line in lines
            )
        (tmp_path / "old.toml").write_text(text)
        old = load_target(tmp_path / "old.toml")
        assert old.capability == target.capability
        assert old.model == target.model


def test_tables_of_bits_are_read(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text(
        "operator,fields,inputs,fused,weight_bits,activation_bits,batch,latency_ms,spread_ms,count\n"
        "Linear,out=16,64,,8,8,1,0.5,0.01,9\n"
        "Linear,out=16,64,,32,32,1,1.5,0.01,9\n"
        "GlobalPool,,8x4x4,,0,8,1,0.25,0.01,9\n"
    )
    table = LatencyTable.read(tmp_path / "old.csv")
    assert [(k.weight, k.activation) for k in table.rows] == [
        ("int8", "int8"),
        ("float", "float"),
        ("", "int8"),
    ]
    assert table.latency_ms(Kernel(linear(None), (), ((64,),)), of_bits(8, 8)) == 0.5
    table.write(tmp_path / "new.csv")
    assert LatencyTable.read(tmp_path / "new.csv").rows == table.rows


@pytest.mark.parametrize("wrong", ["int99", "int8-per-row", "INT8", "=1"])
def test_a_row_of_no_format_is_refused(tmp_path: Path, wrong: str) -> None:
    row = key(Quant(Int(8)))
    path = tmp_path / "t.csv"
    LatencyTable({row: Row(0.5, 0.01, 9)}).write(path)
    path.write_text(path.read_text().replace(",int8,uint8", f",{wrong},uint8"))
    with pytest.raises(TargetError, match=r"format|granularity"):
        LatencyTable.read(path)


def test_calibrations_of_bits_are_read(tmp_path: Path) -> None:
    error = PredictionError(0.1, 0.2, 0.5, 0.9, 10)
    made = Calibration(1.0, {"Conv2d int8xint8": 2.0, "Add float": 0.5}, 0.0, error, error)
    path = tmp_path / "t.calibration.json"
    made.write(path)
    content = json.loads(path.read_text())
    content["format"] = 1
    content["calibration"]["corrections"] = {"Conv2d 8x8": 2.0, "Add 32": 0.5}
    assert read_calibration(path, conditions={}) == made
    path.write_text(json.dumps(content))
    assert read_calibration(path, conditions={}) == made
