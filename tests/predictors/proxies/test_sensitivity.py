import itertools
import math

import numpy as np
import pytest
import torch

from predictors.proxies.rounding import rounded
from predictors.proxies.sensitivity import (
    SensitivityCost,
    noise,
    open_precisions,
    sqnr,
    weight_noise,
)
from search_spaces.costs import SpaceKernels
from search_spaces.formats import E2M1, E4M3, Int
from search_spaces.kernels import kernels
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerGroup, PowerOfTwo, Quant
from search_spaces.residual import residual

torch.set_num_threads(1)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    "quant", [Quant(Int(4)), Quant(Int(4, symmetric=False)), Quant(Int(3), PerChannel())]
)
def test_rounding_stays_on_a_grid_that_holds_zero(quant: Quant) -> None:
    x = uniform(6, 500) + 0.3
    y = rounded(x, quant)
    rows = y if isinstance(quant.granularity, PerChannel) else y.reshape(1, -1)
    low, high = quant.integers.range
    for row in rows:
        values = row.unique()
        step = values.diff().min()
        assert len(values) <= high - low + 1
        torch.testing.assert_close(values / step, torch.round(values / step), rtol=0, atol=1e-3)


@pytest.mark.parametrize("quant", [Quant(E4M3), Quant(E2M1, PerChannel()), Quant(E2M1)])
def test_floats_are_rounded_to_their_own_numbers(quant: Quant) -> None:
    x = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    rows = rounded(x, quant)
    rows = rows.reshape(1, -1) if quant.granularity.single else rows
    numbers = torch.from_numpy(quant.format.decode(np.arange(2**quant.bits)))
    for row in rows:
        scale = row.abs().max() / quant.format.bounds[1]
        assert (
            torch.cdist((row / scale).unsqueeze(1), numbers[numbers.isfinite(), None]).amin(1).max()
            < 1e-3
        )
    assert sqnr(x, quant) > {8: 28, 4: 14}[quant.bits]


def test_a_group_has_the_grid_that_it_had_alone() -> None:
    x = torch.randn(3, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    for number_format in (Int(4), Int(3, symmetric=False), E2M1):
        whole = rounded(x, Quant(number_format, PerGroup(4)))
        for row, start in itertools.product(range(3), (0, 4)):
            part = slice(row, row + 1), slice(start, start + 4)
            assert torch.equal(whole[part], rounded(x[part], Quant(number_format)))
    scale = rounded(x, Quant(Int(4), PerGroup(4, PowerOfTwo())))
    assert torch.equal(scale * 1024, torch.round(scale * 1024))


def test_rounding_beats_the_step_that_clips_nothing() -> None:
    x = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    step = x.abs().max() / 7
    plain = torch.round(x / step) * step
    assert (rounded(x, Quant(Int(4))) - x).square().sum() < 0.7 * (plain - x).square().sum()


def test_rounding_leaves_none_and_zeros_alone() -> None:
    x = uniform(4, 4)
    assert rounded(x, None) is x
    for symmetric in (True, False):
        zeros = rounded(torch.zeros(3, 4), Quant(Int(2, symmetric=symmetric), PerChannel()))
        assert torch.equal(zeros, torch.zeros(3, 4))


def test_channels_of_activations_may_have_their_own_grids() -> None:
    x = uniform(50, 2, 5, 5)
    x[:, 1] *= 1000
    y = rounded(x, Quant(Int(8), PerChannel()), channels=1)
    assert y.shape == x.shape
    assert (y - x)[:, 0].abs().max() < 0.01


def test_every_bit_of_a_uniform_tensor_is_worth_six_decibels() -> None:
    values = [sqnr(uniform(100_000), Quant(Int(bits, symmetric=False))) for bits in range(2, 9)]
    # A grid that holds zero has one cell fewer than codes on a range centred at zero.
    expected = [20 * math.log10(2**bits - 1) for bits in range(2, 9)]
    np.testing.assert_allclose(values, expected, atol=0.2)
    assert values[-1] - values[-2] == pytest.approx(6.02, abs=0.1)


def test_full_precision_has_no_noise() -> None:
    weight = uniform(4, 4)
    assert sqnr(weight, None) == math.inf
    assert noise(weight, None) == 0.0
    assert noise(torch.zeros(2, 2), Quant(Int(2))) == 0.0
    assert sqnr(weight, Quant(Int(4))) == pytest.approx(
        -10 * math.log10(noise(weight, Quant(Int(4))))
    )


def small_space():
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(4,),
        widths=((4,), (4, 8)),
        depths=((1, 2),),
        policy=Policy(weight_bits=(2, 4, None), fineness="layer"),
    )


def test_the_sum_over_a_policy_compiles_to_that_over_its_graph() -> None:
    space = small_space()
    rng = np.random.default_rng(0)
    tables = [
        {
            (address, quant): float(rng.random())
            for address, options in open_precisions(space.graph, tensor).items()
            for quant in options
        }
        for tensor in ("weight", "activation")
    ]
    assert ("stage0.block1.conv2", None) in tables[0]
    assert not any(address == "stem" for address, _ in tables[0])
    cost = SensitivityCost(*tables)
    compiled = SpaceKernels(space).compile_by_address(cost)
    genotypes = space.sample_array(rng, 20)
    expected = [
        sum(cost(address, kernel) for address, kernel in kernels(space.decode(row)))
        for row in genotypes.tolist()
    ]
    np.testing.assert_allclose(compiled(genotypes), expected)
    assert len(set(expected)) > 10


def test_a_precision_that_was_not_measured_is_named() -> None:
    space = small_space()
    cost = SensitivityCost(weights={("stage0.block0.conv1", None): 0.0})
    with pytest.raises(ValueError, match=r"sensitivity of 'stage0.block0.conv1' is known for"):
        SpaceKernels(space).compile_by_address(cost)


def test_weight_noise_covers_every_precision() -> None:
    weights, layers = {"a": uniform(4, 9)}, {"a": (Quant(Int(2)), Quant(Int(4)), None)}
    values = weight_noise(weights, layers)
    assert values["a", Quant(Int(2))] > values["a", Quant(Int(4))] > values["a", None] == 0.0


def test_a_cost_by_address_and_a_plain_one_agree_where_the_address_is_ignored() -> None:
    compiled = SpaceKernels(small_space())
    genotypes = small_space().sample_array(np.random.default_rng(1), 10)
    by_address = compiled.compile_by_address(lambda _, kernel: float(kernel.macs))
    plain = compiled.compile(lambda kernel: float(kernel.macs))
    np.testing.assert_array_equal(by_address(genotypes), plain(genotypes))
