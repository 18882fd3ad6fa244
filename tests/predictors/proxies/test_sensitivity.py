import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from nas.tasks.criteria import Classification
from predictors.proxies.rounding import rounded
from predictors.proxies.sensitivity import (
    SensitivityCost,
    input_forward,
    noise,
    open_precisions,
    sensitivity,
    sqnr,
    weight_forward,
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

BITS = (2, 3, 4, 6, 8)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def float_network() -> fx.GraphModule:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 36, 5),
        )
    return fx.symbolic_trace(network.eval())


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


DISTANCE = Classification().distance


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (weight_forward, {"a": "0", "b": "2", "c": "5"}),
        (input_forward, {"a": "_0", "b": "_2", "c": "_5"}),
    ],
)
def test_the_distance_is_zero_in_full_precision_and_falls_with_bits(make, names) -> None:
    module, images = float_network(), uniform(16, 1, 6, 6)
    layers = {address: (*(Quant(Int(bits)) for bits in BITS), None) for address in names}
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        reference = module(images)
    forward = make(module, images, names)
    values = sensitivity(forward, layers, reference, distance=DISTANCE)
    for address in names:
        row = [values[address, quant] for quant in layers[address]]
        assert row[-1] == 0.0
        assert all(more > less for more, less in itertools.pairwise(row))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


class Joined(nn.Module):
    """Functions that are no layers: an addition, and a concatenation of a list."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x + 1, x], 1)


def test_inputs_of_functions_are_rounded_too() -> None:
    module, x = fx.symbolic_trace(Joined()), uniform(4, 2)
    forward = input_forward(module, x, {"sum": "add", "join": "cat"})
    quant = Quant(Int(3, symmetric=False))
    assert torch.equal(forward({"sum": quant})[:, :2], rounded(x, quant) + 1)
    assert torch.equal(forward({"join": quant})[:, 2:], rounded(x, quant))
    assert torch.equal(forward({}), module(x))


def test_a_node_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['1'\] are not in the network's graph"):
        input_forward(float_network(), uniform(2, 1, 6, 6), {"a": "1"})


def test_a_name_that_stands_for_several_weights_is_refused() -> None:
    module = nn.Sequential(float_network(), nn.Identity())
    forward = weight_forward(module, uniform(2, 1, 6, 6), {"a": "0", "b": "1"})
    for address in ("a", "b"):
        with pytest.raises(ValueError, match="must hold one weight"):
            forward({address: Quant(Int(4))})


def test_divergence_of_a_known_pair_of_distributions() -> None:
    reference = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    quantized = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
    layers = {"a": (Quant(Int(2)),)}
    values = sensitivity(lambda _: quantized, layers, reference, distance=DISTANCE)
    expected = 0.5 * (0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))
    assert values["a", Quant(Int(2))] == pytest.approx(expected)


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


def test_norms_of_the_reference_use_the_statistics_they_keep() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten()).eval()
    module[1].running_mean.fill_(0.5)
    images = uniform(4, 1, 6, 6)
    with torch.no_grad():
        expected = module(images)
    assert torch.equal(weight_forward(module, images, {})({}), expected)


class Summed(nn.Module):
    """A network of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.layer(left) + right


def test_several_inputs_are_given_by_name() -> None:
    module = fx.symbolic_trace(Summed())
    inputs = {"right": uniform(4, 2), "left": uniform(4, 3)}
    quant = Quant(Int(3, symmetric=False))
    by_weight = weight_forward(module, inputs, {"a": "layer"})
    by_input = input_forward(module, inputs, {"a": "layer"})
    assert torch.equal(by_weight({}), module(**inputs))
    rounded_left = {**inputs, "left": rounded(inputs["left"], quant)}
    assert torch.equal(by_input({"a": quant}), module(**rounded_left))
