"""What every hardware target keeps."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import get_args

import numpy as np
import pytest

from nas.targets.target import HardwareTarget, Provenance
from search_spaces.costs import total
from search_spaces.kernels import Kernel
from search_spaces.ops import BatchNorm2d, Conv2d, Image
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, Quant
from search_spaces.residual import residual
from search_spaces.space import SearchSpace, as_genotypes


class TargetContract:
    """Inherit and give the fixture `target`; it must run `space`."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        return residual(
            channels=1,
            classes=10,
            image_sizes=(8,),
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

    def test_compiled_costs_equal_the_sum_over_kernels(
        self, target: HardwareTarget, space: SearchSpace
    ) -> None:
        genotypes = space.sample_array(np.random.default_rng(0), 40)
        graphs = [space.decode(genotype) for genotype in as_genotypes(genotypes)]
        for name, compiled in target.compile(space).items():
            cost = target.kernel_costs[name]
            expected = [total(cost, graph, target.fusion) for graph in graphs]
            np.testing.assert_allclose(compiled(genotypes), expected, rtol=1e-12)
        latencies = [total(target.kernel_cost, graph, target.fusion) for graph in graphs]
        assert np.isfinite(latencies).all()
        assert min(latencies) > 0

    def test_the_image_costs_nothing(self, target: HardwareTarget) -> None:
        assert target.kernel_cost(Kernel(Image(3, 32), (), ())) == 0

    def test_bits_run_in_a_container_that_holds_them_or_not_at_all(
        self, target: HardwareTarget
    ) -> None:
        for weight in (2, 3, 4, 5, 6, 7, 8, None):
            for activation in (2, 3, 4, 5, 6, 7, 8, None):
                op = _convolution(weight, activation)
                bits = target.capability.container(op)
                if bits is not None:
                    assert bits in target.capability.native(op)
                    assert bits.weight is not None
                    assert bits.weight >= (weight or 32)
                    assert bits.activation >= (activation or 32)

    def test_wider_bits_need_no_narrower_container(self, target: HardwareTarget) -> None:
        widths = (2, 3, 4, 5, 6, 7, 8, None)
        for activation in widths:
            found = [target.capability.container(_convolution(w, activation)) for w in widths]
            products = [math.inf if bits is None else bits.product for bits in found]
            assert products == sorted(products)

    def test_a_refused_kernel_costs_infinity(self, target: HardwareTarget) -> None:
        nothing = dataclasses.replace(target.capability, supports={})
        refusing = dataclasses.replace(target, capability=nothing)
        assert refusing.kernel_cost(Kernel(_convolution(8, 8), (), ((8, 8, 8),))) == math.inf

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


def _convolution(weight: int | None, activation: int | None) -> Conv2d:
    return Conv2d(
        8,
        3,
        weight=None if weight is None else Quant(weight, PerChannel()),
        activation=None if activation is None else Quant(activation, symmetric=False),
    )
