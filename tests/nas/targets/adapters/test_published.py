"""Published tables against figures published with them; skipped where they are not at hand."""

from __future__ import annotations

import numpy as np
import pytest

from nas.targets import TargetError, load_target
from nas.targets.adapters import Imported, target, write
from nas.targets.adapters.apq import Apq
from nas.targets.adapters.dpu_blocks import DpuBlocks
from nas.targets.adapters.haq import Haq
from nas.targets.adapters.hat import Hat
from nas.targets.adapters.hawq import Hawq, layers
from nas.targets.adapters.ofa import Ofa, Proxyless
from nas.targets.adapters.tfnas import TfNas
from nas.targets.numerics import of_bits
from nas.targets.table.rows import KernelKey
from search_spaces.costs import macs, parameters, total
from search_spaces.mobilenet import MOBILENET_V2, Stage, mobilenet
from search_spaces.ops import DepthwiseConv2d, Input
from search_spaces.policy import Policy, uniform
from search_spaces.space import SearchSpace

tables = pytest.importorskip("benchmarks.tables")
ROOT = tables.ROOT
needs_tables = pytest.mark.skipif(not ROOT.exists(), reason="the public tables are not here")
BITWIDTH = ROOT / "bitwidth_luts"
FLOAT = Policy(weight_bits=(None,), activation_bits=(None,), edge_bits=None)
BITS = Policy(weight_bits=(4, 6, 8), activation_bits=(4, 6, 8))
APQ_STAGES = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2), (320, 1))


def v2(stages: tuple[Stage, ...], *, classes: int, policy: Policy = BITS, **axes) -> SearchSpace:
    return mobilenet(
        inputs=(Input("image", (3, 224, 224)),),
        output=(classes,),
        stages=stages,
        expand_from="input",
        stem=32,
        first=Stage(16, 1, function="relu6"),
        head=1280,
        function="relu6",
        policy=policy,
        **axes,
    )


def mobilenet_v2(policy: Policy = BITS, classes: int = 100) -> SearchSpace:
    return v2(MOBILENET_V2, classes=classes, policy=policy, kernels=(3,), expansions=(6,))


def test_mobilenet_v2_has_the_published_size() -> None:
    space = mobilenet_v2(FLOAT, classes=1000)
    network = space.decode(space.smallest)
    assert total(macs, network) / 1e6 == pytest.approx(300.8, abs=0.1)
    assert total(parameters, network) / 1e6 == pytest.approx(3.49, abs=0.01)


@needs_tables
@pytest.mark.parametrize(("bits", "published_ms"), [(4, 3.15), (8, 5.34)])
def test_hawq_layers_sum_to_the_published_latency(bits: int, published_ms: float) -> None:
    found = Hawq().read(BITWIDTH / "hawqv3_t4_resnet.csv.gz")
    keys = [KernelKey.of(kernel, of_bits(bits, bits)) for kernel in layers("resnet18")]
    assert sum(found.rows[key].latency_ms for key in keys) * 8 == pytest.approx(
        published_ms, abs=0.005
    )


@needs_tables
def test_haq_layers_are_mobilenet_v2s() -> None:
    found = Haq(clock_mhz=200).read(BITWIDTH / "haq_mobilenetv2_b16.csv.gz")
    rates = [
        found.kernels[key].macs / row.latency_ms
        for key, row in found.rows.items()
        if isinstance(found.kernels[key].op, DepthwiseConv2d) and key.weight == "int8"
        if key.activation == "int8"
    ]
    # Depthwise layers are bound by computing there: one out of place would be off by a factor.
    assert len(rates) == 10
    np.testing.assert_allclose(rates, np.mean(rates), rtol=0.15)


@needs_tables
def test_haq_prices_mobilenet_v2_at_any_bits(tmp_path) -> None:
    found = Haq(clock_mhz=200).read(BITWIDTH / "haq_mobilenetv2_b16.csv.gz")
    space = mobilenet_v2()
    cost = load_target(write(found, "haq", tmp_path)).compile(space)["latency_ms"]
    rows = np.array([uniform(space, bits, space.smallest) for bits in (4, 6, 8)])
    assert (np.diff(cost(rows)) > 0).all()
    with pytest.raises(TargetError, match="no row"):
        target(found, "haq").compile(mobilenet_v2(classes=1000))


@pytest.fixture(scope="module")
def bitfusion() -> Imported:
    fixed = BITWIDTH / "apq_bitfusion_b1_fixed.json"
    return Apq(fixed=fixed).read(BITWIDTH / "apq_bitfusion_b1.csv.gz")


@needs_tables
def test_bitfusion_prices_the_space_that_it_spans(bitfusion: Imported, tmp_path) -> None:
    stages = tuple(
        Stage(width, stride, function="relu6", depths=(1,) if width == 320 else ())
        for width, stride in APQ_STAGES
    )
    space = v2(stages, classes=1000, kernels=(3, 5), expansions=(4, 6))
    costs = load_target(write(bitfusion, "bitfusion", tmp_path)).compile(space)
    ends = np.array([space.smallest, space.largest])
    smallest, largest = costs["latency_ms"](ends)
    assert 2.9 < smallest < 3.1 < 12.17 < largest  # the published networks take 6.11 to 12.17 ms
    assert (costs["energy_mj"](ends) > 0).all()


@needs_tables
def test_seven_by_seven_depthwise_at_four_bits_is_refused_or_contained(
    bitfusion: Imported,
) -> None:
    fixed = BITWIDTH / "apq_bitfusion_b1_fixed.json"
    stages = tuple(Stage(width, stride, function="relu6") for width, stride in APQ_STAGES)
    space = v2(stages, classes=1000, depths=(1,), kernels=(7,), expansions=(4,))
    path = BITWIDTH / "apq_bitfusion_b1.csv.gz"
    with pytest.raises(TargetError, match="kernel=7") as refused:
        target(bitfusion, "bitfusion").compile(space)
    assert "no row for 18 of" in str(refused.value)
    contained = target(Apq(fixed=fixed, absent="container").read(path), "bitfusion")
    assert np.isfinite(contained.compile(space)["latency_ms"](np.array([space.smallest]))).all()


@needs_tables
def test_pixel1_prices_the_proxyless_space() -> None:
    found = Proxyless().read(ROOT / "proxyless_pixel1/mobile_trim_lut.csv.gz")
    assert (len(found.rows), len(found.unmapped)) == (72, 0)
    stages = tuple(
        Stage(width, stride, function="relu6", depths=(1,) if width == 320 else ())
        for width, stride in APQ_STAGES
    )
    space = v2(stages, classes=1000, policy=FLOAT, expansions=(3, 6))
    costs = target(found, "pixel1").compile(space)["latency_ms"]
    assert costs(np.array([space.smallest]))[0] == pytest.approx(
        sum(float(row.latency_ms) for row in _smallest(found, space)), rel=1e-12
    )


def _smallest(found, space: SearchSpace):
    from search_spaces.kernels import kernels

    for _, kernel in list(kernels(space.decode(space.smallest), found.fusion))[1:]:
        yield found.rows[KernelKey.of(kernel, of_bits(32, 32))]


@needs_tables
def test_the_fpga_table_spans_the_space_but_for_the_pool() -> None:
    path = ROOT / "fpga_int8_ofa_blocks/ultra96_int8_blocks.csv.gz"
    space = mobilenet(
        inputs=(Input("image", (3, 224, 224)),),
        output=(1000,),
        expand_from="input",
        width_multipliers=(1.2,),
        first=Stage(16, 1),
        feature_mix=1280,
        policy=Policy(weight_bits=(8,), activation_bits=(8,)),
    )
    with pytest.raises(TargetError, match=r"no row for 1 of 96 kernels:\n  GlobalPool"):
        target(DpuBlocks(stem="hardswish").read(path), "ultra96").compile(space)
    whole = target(DpuBlocks(stem="hardswish", pool_ms=0.0).read(path), "ultra96")
    assert whole.compile(space)["latency_ms"](np.array([space.smallest]))[0] > 8


@needs_tables
def test_odd_figures_of_the_published_files_are_found() -> None:
    hat = Hat().read(ROOT / "hat_latency/wmt14ende_cpu_raspberrypi.csv.gz")
    assert len(hat.samples) == 2000
    decoder = [sample.parts_ms["decoder"] for sample in hat.samples]
    assert np.median(decoder) == pytest.approx(5450, abs=10)
    gpu = TfNas().read(ROOT / "tfnas_luts/latency_gpu.csv.gz")
    assert len(gpu.rows) + len(gpu.unmapped) == 36480
    note10 = Ofa().read(ROOT / "ofa_mbv3/note10_lut.csv.gz")
    assert len(note10.rows) == 450
    assert {finding.kind for finding in note10.findings} == {"repeated", "spread"}
