"""The contract of a hardware target."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import get_args

import numpy as np
import pytest

from nas.targets.operator_names import operator_types
from nas.targets.rules import Cast, Memory, Rules
from nas.targets.target import HardwareTarget, Provenance
from nas.testing.network import SlowNetwork
from search_spaces.costs import model_bytes, total
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.ops import BatchNorm2d, Conv2d, Input
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, Quant
from search_spaces.residual import residual
from search_spaces.space import SearchSpace, as_genotypes

RULES: dict[str, Rules | None] = {
    "own": None,
    "branches": Rules(branches="max"),
    "cast": Rules(cast=Cast(overhead_us=2.0, bandwidth_gb_per_s=0.01), packed=False),
    "both": Rules(branches="max", cast=Cast(1.0, 0.05), full_precision_bits=16),
    "same format": Rules(same_format=frozenset({"Add"})),
    "overhead": Rules(overhead_ms=0.25),
    "all": Rules("max", Cast(1.0, 0.05), frozenset({"Add", "Conv2d"}), packed=False),
}


class TargetContract:
    """The tests of a target.

    A subclass gives the fixture `target`, which must be able to run the networks of `space`.
    """

    @pytest.fixture
    def space(self) -> SearchSpace:
        return residual(
            inputs=(Input("image", (1, 8, 8)),),
            output=(10,),
            widths=((8, 16), (8, 16)),
            depths=((1, 2),),
            policy=Policy(weight_bits=(3, 8), activation_bits=(4, 8)),
        )

    def test_tells_where_its_figures_come_from(self, target: HardwareTarget) -> None:
        assert target.provenance in get_args(Provenance)
        assert target.name
        assert target.device
        assert target.runtime

    def test_has_a_latency(self, target: HardwareTarget, space: SearchSpace) -> None:
        assert "latency_ms" in target.compile(space)

    @pytest.fixture(params=RULES.values(), ids=list(RULES))
    def ruled(self, request: pytest.FixtureRequest, target: HardwareTarget) -> HardwareTarget:
        """The target under its own rules, and under others that it might have had."""
        return dataclasses.replace(target, rules=request.param or target.rules)

    def test_compiled_costs_equal_each_network_walked_slowly(
        self, ruled: HardwareTarget, space: SearchSpace
    ) -> None:
        genotypes = space.sample_array(np.random.default_rng(0), 30)
        graphs = [space.decode(genotype) for genotype in as_genotypes(genotypes)]
        compiled = ruled.compile(space)
        assert {"latency_ms", "model_bytes", "peak_activation_bytes"} <= set(compiled)
        walked = [_walked(ruled, graph) for graph in graphs]
        for name, cost in compiled.items():
            expected = [costs[name] for costs in walked]
            np.testing.assert_allclose(cost(genotypes), expected, rtol=1e-12, err_msg=name)
        assert ruled.costs(graphs[0]) == pytest.approx(walked[0], rel=1e-12)

    def test_a_network_that_runs_has_a_latency(
        self, target: HardwareTarget, space: SearchSpace
    ) -> None:
        genotypes = space.sample_array(np.random.default_rng(0), 40)
        latencies = target.compile(space)["latency_ms"](genotypes)
        assert np.isfinite(latencies).all()
        assert latencies.min() > 0

    def test_parallel_branches_take_no_longer_than_one_after_the_other(
        self, target: HardwareTarget, space: SearchSpace
    ) -> None:
        genotypes = space.sample_array(np.random.default_rng(1), 20)
        rules = [dataclasses.replace(target.rules, branches=how) for how in ("max", "sum")]
        least, most = (
            dataclasses.replace(target, rules=rule).compile(space)["latency_ms"](genotypes)
            for rule in rules
        )
        assert (least <= most * (1 + 1e-12)).all()

    def test_its_memory_limits_are_limits_on_costs_that_it_has(
        self, target: HardwareTarget, space: SearchSpace
    ) -> None:
        limited = dataclasses.replace(target, rules=Rules(memory=Memory(1e6, 1e4)))
        assert limited.limits == {"model_bytes": 1e6, "peak_activation_bytes": 1e4}
        assert set(limited.limits) <= set(limited.compile(space))
        assert dataclasses.replace(target, rules=Rules()).limits == {}

    def test_the_image_costs_nothing(self, target: HardwareTarget) -> None:
        assert target.kernel_cost(Kernel(Input("image", (3, 32, 32)), (), ())) == 0

    def test_bits_run_in_a_container_that_holds_them_or_not_at_all(
        self, target: HardwareTarget
    ) -> None:
        for weight in (2, 3, 4, 5, 6, 7, 8, None):
            for activation in (2, 3, 4, 5, 6, 7, 8, None):
                op = _convolution(weight, activation)
                numerics = target.capability.container(op)
                if numerics is not None:
                    assert numerics in target.capability.native(op)
                    assert numerics.weight is not None
                    assert numerics.weight_bits >= (weight or 32)
                    assert numerics.activation_bits >= (activation or 32)

    def test_wider_bits_need_no_narrower_container(self, target: HardwareTarget) -> None:
        widths = (2, 3, 4, 5, 6, 7, 8, None)
        for activation in widths:
            found = [target.capability.container(_convolution(w, activation)) for w in widths]
            products = [math.inf if numerics is None else numerics.product for numerics in found]
            assert products == sorted(products)

    def test_a_refused_kernel_costs_infinity(self, target: HardwareTarget) -> None:
        nothing = dataclasses.replace(target.capability, supports={})
        refusing = dataclasses.replace(target, capability=nothing)
        assert refusing.kernel_cost(Kernel(_convolution(8, 8), (), ((8, 8, 8),))) == math.inf

    def test_a_refused_network_costs_infinity_whatever_is_asked(
        self, target: HardwareTarget, space: SearchSpace
    ) -> None:
        nothing = dataclasses.replace(target.capability, supports={})
        refusing = dataclasses.replace(target, capability=nothing)
        rows = space.sample_array(np.random.default_rng(2), 3)
        for cost in refusing.compile(space).values():
            assert np.isinf(cost(rows)).all()

    def test_survives_pickling(self, target: HardwareTarget, space: SearchSpace) -> None:
        genotypes = space.sample_array(np.random.default_rng(1), 5)
        again = pickle.loads(pickle.dumps(target))
        np.testing.assert_array_equal(
            again.compile(space)["latency_ms"](genotypes),
            target.compile(space)["latency_ms"](genotypes),
        )


class TableTargetContract(TargetContract):
    """For targets whose figures are rows; give `target` and `empty`, the same without rows."""

    def test_missing_rows_are_listed_before_the_search(
        self, empty: HardwareTarget, space: SearchSpace
    ) -> None:
        with pytest.raises(ValueError, match="no row for") as caught:
            empty.compile(space)
        message = str(caught.value)
        assert message.count("\n  ") == 10
        assert "the first 10" in message
        assert "nas profile" in message or "add them" in message

    def test_a_lone_kernel_without_a_row_is_never_a_partial_sum(
        self, empty: HardwareTarget
    ) -> None:
        with pytest.raises(ValueError, match="no row for 1 of 1"):
            empty.kernel_cost(Kernel(_convolution(8, 8), (BatchNorm2d(),), ((8, 8, 8),)))


def _walked(target: HardwareTarget, graph: Graph) -> dict[str, float]:
    """Every cost of a resolved network from the definitions of the rules, without any table."""
    rules = target.rules

    def width(kernel: Kernel) -> int:
        numerics = target.numerics(kernel)
        activation = 0 if numerics is None else numerics.activation_bits
        return rules.full_precision_bits if activation == 32 else activation

    def stored(kernel: Kernel) -> float:
        size = model_bytes(kernel)
        numerics = target.numerics(kernel)
        for op, reads in kernel.members():
            elements = math.prod(op.weight_shape(*reads) or (0,))
            own = 32 if op.weight is None else op.weight.bits
            container = 0 if rules.packed or numerics is None else numerics.weight_bits
            held = container or own
            held = rules.full_precision_bits if held == 32 else held
            size += math.ceil(elements * held / 8) - math.ceil(elements * own / 8)
        return size

    def convert(elements: int, written: int, wanted: int) -> float:
        if rules.cast is None:
            return 1e-300  # counts as a conversion, and as nothing in any sum
        moved = elements * (written + wanted) / 8
        return rules.cast.overhead_us / 1e3 + moved / (rules.cast.bandwidth_gb_per_s * 1e6)

    network = SlowNetwork(
        graph, target.fusion, width=width, time=target.kernel_cost, convert=convert
    )
    costs = {name: total(cost, graph, target.fusion) for name, cost in target.kernel_costs.items()}
    costs["latency_ms"] = (
        network.summed() + network.conversions()
        if rules.branches == "sum"
        else network.longest(converting=rules.cast is not None)
    )
    costs["latency_ms"] += rules.overhead_ms
    costs["model_bytes"] = total(stored, graph, target.fusion)
    costs["peak_activation_bytes"] = network.peak()
    costs["memory_bytes"] = costs["model_bytes"] + costs["peak_activation_bytes"]
    kinds = operator_types()
    refused = network.conversions([kinds[name] for name in rules.same_format])
    return {name: cost + refused if math.isinf(refused) else cost for name, cost in costs.items()}


def _convolution(weight: int | None, activation: int | None) -> Conv2d:
    return Conv2d(
        8,
        3,
        weight=None if weight is None else Quant(Int(weight), PerChannel()),
        activation=None if activation is None else Quant(Int(activation, symmetric=False)),
    )
