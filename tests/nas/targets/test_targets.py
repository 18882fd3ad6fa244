"""The shipped targets keep the contract; rooflines equal numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from nas.targets import HardwareTarget, available, load_target
from nas.targets.capability import Capability, Support
from nas.targets.numerics import of_bits, parse_numerics
from nas.targets.operator_names import operator_types
from nas.targets.roofline import Energy, OnChip, Roofline
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.testing.target import TableTargetContract, TargetContract
from search_spaces.formats import Int
from search_spaces.kernels import Kernel
from search_spaces.mobilenet import mobilenet
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Input,
    Linear,
    Op,
)
from search_spaces.policy import Policy
from search_spaces.quant import PerTensor, Quant
from search_spaces.residual import residual
from search_spaces.space import SearchSpace

KERNEL = Kernel(Conv2d(16, 3, stride=2), (BatchNorm2d(), Activation("relu")), ((8, 10, 10),))
MACS = 16 * 8 * 9 * 5 * 5
WEIGHTS, ELEMENTS = 16 * 8 * 9, 8 * 100 + 16 * 25


class TestEdgeNpu(TargetContract):
    @pytest.fixture
    def target(self) -> HardwareTarget:
        return load_target("edge-npu")

    def test_three_bits_cost_what_four_bits_cost(self, target: HardwareTarget) -> None:
        cost = [target.kernel_cost(_at(weight, 4)) for weight in (2, 3, 4, 8)]
        assert cost[0] == cost[1] == cost[2] < cost[3]

    def test_full_precision_runs_slowly(self, target: HardwareTarget) -> None:
        assert target.kernel_cost(_at(8, 8)) < target.kernel_cost(_at(None, None)) < math.inf


class TestBitSerial(TargetContract):
    @pytest.fixture
    def target(self) -> HardwareTarget:
        return load_target("bit-serial")

    def test_every_bit_counts(self, target: HardwareTarget) -> None:
        cost = [target.kernel_cost(_at(weight, 8)) for weight in (2, 3, 4, 5, 6, 7, 8)]
        assert cost == sorted(set(cost))

    def test_full_precision_is_refused(self, target: HardwareTarget) -> None:
        assert target.kernel_cost(_at(None, None)) == math.inf

    def test_one_peak_is_scaled_by_the_bits(self, target: HardwareTarget) -> None:
        assert isinstance(target.model, Roofline)
        peaks = target.model.gmacs_per_s
        assert peaks[of_bits(2, 4)] == pytest.approx(8 * peaks[of_bits(8, 8)])
        assert target.model.energy is not None
        assert target.model.energy.pj_per_mac[of_bits(4, 4)] == pytest.approx(66.5 / 4)


class TestMicrocontroller(TargetContract):
    @pytest.fixture
    def target(self) -> HardwareTarget:
        return load_target("microcontroller")

    def test_the_network_its_rate_comes_from_takes_as_long(self, target: HardwareTarget) -> None:
        """CMSIS-NN (Lai et al. 2018), table 1: three convolutions and a linear layer, 99.1 ms."""
        bits = {"weight": Quant(Int(8)), "activation": Quant(Int(8, symmetric=False))}
        layers = [
            Kernel(Conv2d(32, 5, **bits), (), ((3, 32, 32),)),
            Kernel(Conv2d(32, 5, **bits), (), ((32, 16, 16),)),
            Kernel(Conv2d(64, 5, **bits), (), ((32, 8, 8),)),
            Kernel(Linear(10, **bits), (), ((64 * 4 * 4,),)),
        ]
        assert sum(map(target.kernel_cost, layers)) == pytest.approx(99.1, rel=0.02)

    def test_limits_are_those_of_its_memories(self, target: HardwareTarget) -> None:
        assert target.limits == {"model_bytes": 1 << 20, "peak_activation_bytes": 320 * 1024}
        assert not target.rules.packed


class TestTinyMcu(TargetContract):
    @pytest.fixture
    def target(self) -> HardwareTarget:
        return load_target("tiny-mcu")

    def test_the_channels_its_rate_comes_from_take_as_long(self, target: HardwareTarget) -> None:
        """BitNetMCU's 64-wide CNN takes 57.01 ms, the 16-wide one 16.36 ms."""
        bits = {"weight": Quant(Int(8)), "activation": Quant(Int(8, symmetric=False))}
        layers = [
            Kernel(DepthwiseConv2d(3, **bits), (), ((48, 14, 14),)),
            Kernel(DepthwiseConv2d(3, **bits), (), ((48, 12, 12),)),
            Kernel(DepthwiseConv2d(3, **bits), (), ((48, 4, 4),)),
            Kernel(Linear(96, **bits), (), ((48, 2, 2),)),
        ]
        measured = 57.01 - 16.36
        assert sum(map(target.kernel_cost, layers)) == pytest.approx(measured, rel=0.02)

    def test_narrow_weights_take_less_room_and_more_time(self, target: HardwareTarget) -> None:
        space = residual(
            inputs=(Input("image", (1, 8, 8)),),
            output=(10,),
            widths=((8,), (16,)),
            depths=((1,),),
            policy=Policy(weight_bits=(2, 3, 4, 7, 8), activation_bits=(8,)),
        )
        rows, costs = space.every_row(), target.compile(space)
        room, time = (costs[name](rows) for name in ("model_bytes", "latency_ms"))
        assert room[0] < room[1] == room[2] < room[3] == room[4]
        assert time[0] > time[1] == time[2] > time[3] == time[4]

    def test_limits_are_those_of_its_memories(self, target: HardwareTarget) -> None:
        assert target.limits == {"model_bytes": 12 * 1024, "peak_activation_bytes": 3.5 * 1024}


class TestMobileNpu(TargetContract):
    @pytest.fixture
    def target(self) -> HardwareTarget:
        return load_target("mobile-npu")

    def test_depthwise_convolutions_gain_little_from_fewer_macs(
        self, target: HardwareTarget
    ) -> None:
        """A reason for the full convolutions of networks made for it (Xiong et al. 2021)."""
        bits = {"weight": Quant(Int(8)), "activation": Quant(Int(8, symmetric=False))}
        reads = ((64, 56, 56),)
        full = Kernel(Conv2d(64, 3, **bits), (), reads)
        depthwise = Kernel(DepthwiseConv2d(3, **bits), (), reads)
        assert full.macs == 64 * depthwise.macs
        assert target.kernel_cost(full) < 10 * target.kernel_cost(depthwise)


class TestDatacentreGpu(TargetContract):
    @pytest.fixture
    def target(self) -> HardwareTarget:
        return load_target("datacentre-gpu")

    def test_peaks_double_as_bits_halve(self, target: HardwareTarget) -> None:
        assert isinstance(target.model, Roofline)
        peaks = target.model.gmacs_per_s
        assert peaks[of_bits(4, 4)] == 2 * peaks[of_bits(8, 8)] == 4 * peaks[of_bits(32, 32)]

    def test_small_kernels_cost_their_launch_at_any_bits(self, target: HardwareTarget) -> None:
        latencies = [target.kernel_cost(_at(bits, bits)) for bits in (4, 8, None)]
        assert latencies == pytest.approx([0.0034] * 3, rel=0.2)


@pytest.mark.parametrize("name", [name for name in available() if name != "this-cpu"])
def test_analytical_targets_run_mobilenets_too(name: str) -> None:
    space = mobilenet(inputs=(Input("image", (3, 32, 32)),), output=(10,))
    rows = space.sample_array(np.random.default_rng(0), 20)
    latency = load_target(name).compile(space)["latency_ms"](rows)
    assert np.isfinite(latency).all()
    assert len(set(latency.round(9))) > 10


class TestThisCpu(TableTargetContract):
    @pytest.fixture
    def empty(self, tmp_path) -> HardwareTarget:
        table = tmp_path / "none.csv"
        return load_target("this-cpu", table=table, unmeasured=True, elsewhere=True)

    @pytest.fixture
    def target(self, empty: HardwareTarget, space: SearchSpace) -> HardwareTarget:
        keys = [KernelKey.of(kernel, bits) for kernel, bits in empty.natively(space)]
        rows = {key: Row(0.001 * n, 0.0, 5) for n, key in enumerate(keys, 1)}
        return dataclasses.replace(empty, model=LatencyTable(rows))

    def test_lists_kernels_at_both_widths(self, empty: HardwareTarget, space: SearchSpace) -> None:
        keys = {KernelKey.of(kernel, bits) for kernel, bits in empty.natively(space)}
        shapes = {dataclasses.replace(key, weight="", activation="float") for key in keys}
        wide = {key for key in keys if key.weight in ("", "float") and key.activation == "float"}
        assert len(wide) == len(shapes)
        narrow = {(key.weight, key.activation) for key in keys - wide}
        assert narrow == {("", "int8"), ("int7", "int8"), ("int8", "int8")}

    def test_a_space_with_the_same_kernels_needs_no_more_rows(self, target: HardwareTarget) -> None:
        narrower = residual(
            inputs=(Input("image", (1, 8, 8)),), output=(10,), widths=((8,), (16,)), depths=((1,),)
        )
        assert target.compile(narrower)["latency_ms"]


def test_available_names_load() -> None:
    assert available() == [
        "bit-serial",
        "datacentre-gpu",
        "edge-npu",
        "microcontroller",
        "mobile-npu",
        "this-cpu",
        "tiny-mcu",
    ]


def test_roofline_by_hand() -> None:
    bits = of_bits(4, 8)
    slow_memory = Roofline({bits: 2.0}, bandwidth_gb_per_s=0.001, overhead_us=3.0)
    slow_array = Roofline({bits: 0.002}, 10.0, 3.0, utilisation={"Conv2d": 0.5})
    moved = WEIGHTS / 2 + ELEMENTS
    assert slow_memory.work(KERNEL, bits).total_bytes == moved
    assert slow_memory.latency_ms(KERNEL, bits) == pytest.approx(0.003 + moved / 1e6 * 1e3)
    assert slow_array.latency_ms(KERNEL, bits) == pytest.approx(0.003 + MACS / 1e6 * 1e3)
    assert list(slow_array.costs) == ["latency_ms"]


def test_energy_by_hand() -> None:
    bits = of_bits(8, 8)
    energy = Energy({bits: 0.5}, pj_per_byte=10.0)
    figures = Roofline({bits: 2.0}, 1.0, 3.0, energy=energy)
    expected = (MACS * 0.5 + (WEIGHTS + ELEMENTS) * 10.0) * 1e-9
    assert figures.energy_mj(KERNEL, bits) == pytest.approx(expected)
    assert set(figures.costs) == {"latency_ms", "energy_mj"}


def test_a_kernel_that_fits_on_the_chip_moves_only_its_weights_across_its_border() -> None:
    bits = of_bits(8, 8)
    everything = WEIGHTS + ELEMENTS
    energy = Energy({bits: 0.5}, pj_per_byte=10.0, pj_per_on_chip_byte=2.0)
    latency, millijoules = {}, {}
    for size in (everything, everything - 1):
        figures = Roofline({bits: 1e6}, 0.001, 0.0, on_chip=OnChip(size), energy=energy)
        latency[size] = figures.latency_ms(KERNEL, bits)
        millijoules[size] = figures.energy_mj(KERNEL, bits)
    assert list(latency.values()) == pytest.approx([WEIGHTS / 1e3, everything / 1e3])
    computed_and_inside = MACS * 0.5 + everything * 2.0
    assert list(millijoules.values()) == pytest.approx(
        [(computed_and_inside + moved * 10.0) * 1e-9 for moved in (WEIGHTS, everything)]
    )
    slow_inside = Roofline({bits: 1e6}, 1e6, 0.0, on_chip=OnChip(1e9, bandwidth_gb_per_s=0.001))
    assert slow_inside.latency_ms(KERNEL, bits) == pytest.approx(everything / 1e3)


def test_channels_are_padded_for_computing_and_moving() -> None:
    narrow = Kernel(Conv2d(10, 3), (), ((3, 4, 4),))
    wide = Kernel(Conv2d(16, 3), (), ((8, 4, 4),))
    depthwise = Kernel(DepthwiseConv2d(3), (), ((3, 4, 4),))
    bits = of_bits(8, 8)
    padding = Roofline({bits: 1.0}, 1.0, 0.0, channel_multiple={bits: 8})
    plain = Roofline({bits: 1.0}, 1.0, 0.0)
    assert padding.work(narrow, bits) == plain.work(wide, bits)
    assert padding.work(narrow, bits) != plain.work(narrow, bits)
    assert padding.work(depthwise, bits).macs == {"DepthwiseConv2d": 8 * 9 * 16}
    assert padding.work(narrow, of_bits(4, 8)) == plain.work(narrow, of_bits(4, 8))


def test_half_floats_move_half_the_bytes() -> None:
    wide = of_bits(32, 32)
    single, half = (Roofline({wide: 1.0}, 1.0, 0.0, full_precision_bits=b) for b in (32, 16))
    assert single.work(KERNEL, wide).total_bytes == 2 * half.work(KERNEL, wide).total_bytes


def test_an_addition_only_moves_bytes() -> None:
    figures = Roofline({}, bandwidth_gb_per_s=1.0, overhead_us=0.0)
    addition = Kernel(Add(), (), ((4, 8, 8), (4, 8, 8)))
    assert figures.latency_ms(addition, of_bits(None, 8)) == pytest.approx(3 * 256 / 1e6)


def test_unlike_formats_are_refused_and_unknown_operators_too() -> None:
    capability = load_target("edge-npu").capability
    asymmetric = Conv2d(8, 3, weight=Quant(Int(8, symmetric=False)), activation=Quant(Int(8)))
    assert capability.container(asymmetric) is None
    assert "symmetric=False" in capability.refusal(asymmetric)
    only_conv = Capability({"Conv2d": Support((of_bits(8, 8),))}, "refuse")
    assert only_conv.container(DepthwiseConv2d(3)) is None
    assert only_conv.container(Conv2d(8, 3, weight=Quant(Int(4)), activation=Quant(Int(8)))) is None


def test_the_widest_operator_decides_for_a_kernel() -> None:
    edge = load_target("edge-npu")
    wide, narrow = (Conv2d(8, 1, weight=Quant(Int(b)), activation=Quant(Int(b))) for b in (8, 3))
    depthwise = DepthwiseConv2d(3, weight=Quant(Int(4)), activation=Quant(Int(4)))
    shape = (8, 4, 4)
    assert edge.numerics(Kernel(narrow, (depthwise,), (shape,))) == of_bits(4, 4)
    assert edge.numerics(Kernel(narrow, (depthwise, wide), (shape,))) == of_bits(8, 8)
    assert edge.numerics(Kernel(Add(), (), (shape, shape))) == of_bits(None, 32)
    refused = dataclasses.replace(wide, weight=Quant(Int(8, symmetric=False)))
    assert edge.numerics(Kernel(narrow, (refused,), (shape,))) is None
    assert edge.kernel_cost(Kernel(narrow, (refused,), (shape,))) == math.inf


def test_every_operator_of_a_kernel_reaches_its_own_share_of_the_peak() -> None:
    figures = Roofline({of_bits(8, 8): 1.0}, 1e9, 0.0, utilisation={"DepthwiseConv2d": 0.25})
    kernel = Kernel(DepthwiseConv2d(3), (Conv2d(8, 1),), ((8, 4, 4),))
    depthwise, pointwise = 8 * 9 * 16, 8 * 8 * 16
    assert kernel.macs == depthwise + pointwise
    expected = (4 * depthwise + pointwise) / 1e6
    assert figures.latency_ms(kernel, of_bits(8, 8)) == pytest.approx(expected)
    assert figures.work(kernel, of_bits(8, 8)).total_bytes == 8 * 9 + 8 * 8 + 2 * 8 * 16


def test_bits_are_parsed_with_ranges() -> None:
    assert parse_numerics("4x8") == (of_bits(4, 8),)
    assert parse_numerics("8") == (of_bits(None, 8),)
    assert parse_numerics("2..3x8") == (of_bits(2, 8), of_bits(3, 8))
    for text in ("", "x", "8x", "0x8", "8x33", "4x4x4", "8..2", "2...8", "-1", "a", "٣"):
        with pytest.raises(ValueError, match="formats are written"):
            parse_numerics(text)


def _at(weight: int | None, activation: int | None) -> Kernel:
    op = Conv2d(
        64,
        3,
        weight=None if weight is None else Quant(Int(weight), PerTensor()),
        activation=None if activation is None else Quant(Int(activation)),
    )
    return Kernel(op, (), ((64, 2, 2),))


def test_this_machine_runs_every_operator_of_the_engine() -> None:
    ours = {name for name, kind in operator_types().items() if is_ours(kind)}
    assert "LayerNorm" in ours
    ours -= {"Learned", "Outputs"}  # parts of a file, for which nothing runs
    assert ours <= load_target("this-cpu").capability.supports.keys()


def is_ours(kind: type[Op]) -> bool:
    """Whether an operator is one of the engine's, and of no table of others' networks or test."""
    return kind.__module__.startswith("search_spaces.ops.")
