"""StatsQ against the contract, the formula in numpy, and what a device is given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nas.testing.quantizer import SHAPE, QuantizerContract
from search_spaces.formats import E4M3, Format, Int
from search_spaces.ops import Parameter
from search_spaces.quant import PerChannel, PerGroup, PerTensor, Quant
from supernets.assemble import module_name
from supernets.extract import detached
from supernets.quantizers import LearnedSteps, StatisticalScales
from supernets.supernet import Supernet
from tests.supernets.stripes import stripes_space
from tests.supernets.test_quantizers import name, weight


class TestStatisticalScales(QuantizerContract):
    kind = StatisticalScales

    @pytest.fixture(
        params=[
            *itertools.starmap(
                lambda bits, granularity: Quant(Int(bits), granularity),
                itertools.product((2, 3, 4, 6, 8), (PerTensor(), PerChannel())),
            ),
            Quant(Int(4), PerGroup(2)),
        ],
        ids=name,
    )
    def quant(self, request: pytest.FixtureRequest) -> Quant:
        return request.param


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_values_are_those_of_the_formula(bits: int) -> None:
    x = torch.randn(5, 20_000, generator=torch.Generator().manual_seed(1))
    quant = Quant(Int(bits), PerChannel())
    values = StatisticalScales([quant], weight(x))(x, quant).numpy()
    n, w = 2 ** (bits - 1), x.numpy().astype(np.float64)
    scale = 2 * np.abs(w).mean(1, keepdims=True)
    wanted = scale * (np.rint(np.clip(w / scale, -1, 1 - 1e-6) * n - 0.5) + 0.5) / n
    near = np.isclose(values, wanted, rtol=1e-5)
    assert near.mean() > 0.999, "all but values on the edge of two levels"
    assert [len(np.unique(row)) for row in values] == 5 * [2**bits]
    assert (values != 0).all()


def test_every_element_has_the_gradient_of_its_value() -> None:
    x = (3 * torch.randn(4, 50, generator=torch.Generator().manual_seed(2))).requires_grad_()
    pull = torch.randn(4, 50, generator=torch.Generator().manual_seed(3))
    quant = Quant(Int(2), PerChannel())
    quantizer = StatisticalScales([quant], weight(x))
    quantizer(x, quant).backward(pull)
    assert torch.equal(x.grad, pull)
    assert not list(quantizer.parameters())


def test_a_narrower_weight_has_statistics_of_its_own() -> None:
    x = torch.randn(4, 60, generator=torch.Generator().manual_seed(4))
    x[:, 30:] *= 10
    quant = Quant(Int(3), PerChannel())
    quantizer = StatisticalScales([quant], weight(x))
    assert torch.equal(quantizer(x[:2], quant), quantizer(x, quant)[:2])
    narrow = quantizer(x[:, :30], quant)
    assert (narrow - x[:, :30]).abs().mean() < (quantizer(x, quant) - x)[:, :30].abs().mean()


def test_what_a_device_loses_shrinks_with_the_bits() -> None:
    x = torch.randn(8, 400, generator=torch.Generator().manual_seed(5))
    lost = []
    for bits in (2, 3, 4, 6, 8):
        quant = Quant(Int(bits), PerChannel())
        quantizer = StatisticalScales([quant], weight(x))
        values = quantizer(x, quant)
        held = torch.from_numpy(quantizer.encode(x, quant, tuple(x.shape)).values())
        lost.append(((values - held).square().sum() / values.square().sum()).item())
    assert lost == sorted(lost, reverse=True)
    assert lost[0] > 0.01
    assert lost[-1] < 1e-4


def test_an_extracted_subnet_computes_what_a_device_computes() -> None:
    space = stripes_space()
    images = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(6))
    for quantizer in (LearnedSteps, StatisticalScales):
        supernet = Supernet(space, seed=0, quantizer=quantizer)
        subnet = detached(supernet, space.smallest)
        with torch.no_grad():
            same = torch.equal(subnet.module.train()(images), supernet(images, space.smallest))
        assert same == quantizer.exact
        held = subnet.parameters["stage0.block0.conv1"]["weight"]
        layer = subnet.module.get_submodule(module_name("stage0.block0.conv1"))
        assert np.array_equal(layer.weight.detach().numpy(), held.values())


def test_inputs_have_learned_steps() -> None:
    quants = [Quant(Int(bits, symmetric=False)) for bits in (4, 8)]
    ours, theirs = StatisticalScales(quants), LearnedSteps(quants)
    x = torch.linspace(-1, 3, 50).unsqueeze(0)
    for quantizer in (ours, theirs):
        quantizer.initialise(x)
    assert all(torch.equal(ours(x, quant), theirs(x, quant)) for quant in quants)


@pytest.mark.parametrize("other", [Int(4, symmetric=False), E4M3], ids=lambda f: f.name)
def test_other_weights_are_refused(other: Format) -> None:
    with pytest.raises(ValueError, match=rf"symmetric integers, given {other.name}; give weights"):
        StatisticalScales([Quant(Int(8)), Quant(other)], Parameter(SHAPE, ("out", "in")))
