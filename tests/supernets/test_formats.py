"""Floats, groups and scales in a format, from the supernet to the codes that a device stores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces.choice import choice
from search_spaces.formats import BFLOAT16, E2M1, E4M3, E5M2, FLOAT16, Format, Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, BatchNorm2d, Conv2d, Flatten, GlobalPool, Input, Linear
from search_spaces.quant import (
    Float16,
    Granularity,
    PerChannel,
    PerGroup,
    PerTensor,
    PowerOfTwo,
    Quant,
)
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.checkpoint import CheckpointError, load, save
from supernets.deploy import deploy
from supernets.encoded import EncodedTensor, IntegerBias
from supernets.extract import detached, extract
from supernets.fold import absorbs, folded_weight, rounded_anew
from supernets.integer_module import integer_module
from supernets.quantizers import LearnedSteps
from supernets.supernet import Supernet

CODES = Quant(Int(8, symmetric=False))
WEIGHTS = [
    *(Quant(E4M3), Quant(E5M2, PerChannel()), Quant(E2M1, PerGroup(2, PowerOfTwo()))),
    *(Quant(Int(4), PerGroup(2)), Quant(Int(4, symmetric=False), PerGroup(2, Float16()))),
]

HALVES = [(Quant(FLOAT16), Quant(FLOAT16)), (Quant(BFLOAT16), CODES)]


def name(quant: Quant) -> str:
    return f"{quant.name}-{quant.granularity.name}"


def space(weight: Quant, activation: Quant = CODES) -> SearchSpace:
    """Two convolutions with norms and a linear layer, all of elastic width."""
    both = {"weight": weight, "activation": activation}
    width = choice("width", (4, 8))
    graph = Graph(Input("image", (4, 6, 6)))
    for number in range(2):
        graph.add(f"conv{number}", Conv2d(width, choice("kernel", (1, 3)), **both))
        graph.add(f"norm{number}", BatchNorm2d())
        graph.add(f"relu{number}", Activation("relu"))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(4, **both))
    return SearchSpace(graph)


def images(seed: int) -> Tensor:
    return torch.randn(16, 4, 6, 6, generator=torch.Generator().manual_seed(seed))


def trained(weight: Quant, activation: Quant = CODES) -> Supernet:
    """A supernet after steps of training, in which negative factors of norms occur."""
    supernet = Supernet(space(weight, activation), seed=0)
    for number in range(2):
        supernet.node(f"norm{number}").tensors["scale"].data[::2] = -0.7
    initialise_steps(supernet, [images(1)])
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.01)
    for genotype in ((1, 1), (0, 0)):
        optimizer.zero_grad()
        supernet(images(2), genotype).square().sum().backward()
        optimizer.step()
    return supernet


@pytest.mark.parametrize(
    ("weight", "activation"),
    [*itertools.product(WEIGHTS, [CODES, Quant(E4M3), Quant(E2M1)]), *HALVES],
    ids=name,
)
def test_extracted_networks_equal_the_supernet(weight: Quant, activation: Quant) -> None:
    supernet = trained(weight, activation)
    for genotype in itertools.product((0, 1), (0, 1)):
        extracted = detached(supernet, genotype)
        found = extracted.module.train()(images(3))
        assert torch.equal(found, supernet(images(3), genotype))
        held = extracted.parameters["conv1"]["weight"]
        assert isinstance(held, EncodedTensor)
        shared = supernet.node("conv1").subnet(_step(supernet, genotype))["weight"]
        assert np.array_equal(held.values(), shared.detach().numpy())


def _step(supernet: Supernet, genotype: tuple[int, ...]):
    from supernets.supernet import subnet_of

    steps = subnet_of(supernet.space, genotype).steps
    return next(step for step in steps if step.address == "conv1")


@pytest.mark.parametrize(
    ("weight", "activation"),
    [*itertools.product(WEIGHTS, [CODES, Quant(E4M3)]), *HALVES],
    ids=name,
)
def test_a_deployed_network_computes_the_same_from_codes(weight: Quant, activation: Quant) -> None:
    extracted = extract(trained(weight, activation), (1, 1), [images(4)])
    deployed = deploy(extracted)
    ours, coded = deployed.module(), integer_module(deployed)
    with torch.no_grad():
        assert torch.equal(coded(images(5)), ours(images(5)))
        before, after = extracted.module.eval()(images(5)), ours(images(5))
    error = (after - before).abs().max() / before.abs().max()
    assert error < (0.02 if absorbs(weight) else 0.5)  # biases and a few ties are rounded anew
    stored = deployed.weight("conv0")
    assert isinstance(stored, EncodedTensor)
    assert rounded_anew(stored) != absorbs(weight)
    scales = weight.scales.snap(stored.scale)
    assert np.array_equal(scales, stored.scale)


def _weight(quant: Quant) -> EncodedTensor:
    rng = np.random.default_rng(0)
    counts = quant.granularity.counts((4, 6))
    numbers = quant.format.snap(rng.uniform(*quant.format.bounds, size=(4, 6)))
    return EncodedTensor(
        codes=quant.format.encode(numbers).astype(np.int32),
        scale=quant.granularity.scale.snap(rng.uniform(0.01, 0.1, counts)),
        zero_point=np.full(counts, 0 if quant.format.symmetric else 3, np.int32),
        quant=quant,
    )


@pytest.mark.parametrize("number_format", [Int(4), Int(4, symmetric=False), E4M3, E2M1])
@pytest.mark.parametrize("granularity", [PerChannel(), PerGroup(3)], ids=lambda g: g.name)
def test_a_factor_goes_into_the_scales_of_groups(
    number_format: Format, granularity: Granularity
) -> None:
    weight = _weight(Quant(number_format, granularity))
    factor = np.array([0.5, -2.0, 0.0, 3.0])  # exact in float32 but for the last
    folded = folded_weight(weight, factor)
    assert isinstance(folded, EncodedTensor)
    assert np.array_equal(folded.values()[:2], weight.values()[:2] * factor[:2, None])
    assert not folded.values()[2].any()
    assert (folded.scale > 0).all()
    np.testing.assert_allclose(folded.values()[3], 3 * weight.values()[3], rtol=3e-7)


@pytest.mark.parametrize("scale", [Float16(), PowerOfTwo()], ids=lambda s: s.name)
def test_a_weight_whose_scales_cannot_hold_a_factor_is_rounded_anew(scale) -> None:
    weight = _weight(Quant(Int(4), PerGroup(3, scale)))
    factor = np.array([0.5, -2.0, 0.3, 3.0])
    folded = folded_weight(weight, factor)
    assert isinstance(folded, EncodedTensor)
    assert np.array_equal(scale.snap(folded.scale), folded.scale)
    wanted = weight.values() * factor[:, None]
    step = folded.scale.repeat(3, axis=1)
    assert (np.abs(folded.values() - wanted) <= 1.01 * step).all()
    assert np.array_equal(folded.values()[:2], wanted[:2])  # a power of two and a sign are exact


@pytest.mark.parametrize(
    ("weight", "activation", "integer"),
    [
        (Quant(Int(4), PerChannel()), CODES, True),
        (Quant(Int(4), PerTensor()), CODES, True),
        (Quant(Int(4), PerGroup(2)), CODES, False),
        (Quant(E4M3, PerChannel()), CODES, False),
        (Quant(Int(4), PerChannel()), Quant(E4M3), False),
        (Quant(E4M3, PerChannel()), Quant(E4M3), False),
    ],
)
def test_a_bias_is_integer_only_where_sums_are(
    weight: Quant, activation: Quant, integer: bool
) -> None:
    supernet = Supernet(space(weight, activation), seed=0)
    initialise_steps(supernet, [images(1)])
    deployed = deploy(extract(supernet, (1, 0), [images(4)]))
    for address in ("conv0", "conv1", "head"):
        assert isinstance(deployed.parameters[address]["bias"], IntegerBias) == integer


def test_an_activation_has_a_single_scale() -> None:
    for granularity in (PerChannel(), PerGroup(2)):
        with pytest.raises(ValueError, match=f"quantizes its input {granularity.name}, which no"):
            Supernet(space(Quant(E4M3), Quant(E4M3, granularity)), seed=0)


class Frozen(LearnedSteps):
    """Steps that are not learned."""

    name = "frozen"

    def __init__(self, quants, weight=None) -> None:
        super().__init__(quants, weight)
        self.requires_grad_(requires_grad=False)


def test_a_supernet_has_the_quantizer_that_it_is_given(tmp_path) -> None:
    supernet = Supernet(space(Quant(Int(4))), seed=0, quantizer=Frozen)
    assert isinstance(supernet.node("conv0").weight, Frozen)
    assert isinstance(supernet.node("conv0").input_quantizer(0), Frozen)
    save(supernet, tmp_path / "net.safetensors")
    found = load(supernet.space, tmp_path / "net.safetensors", quantizer=Frozen)
    assert torch.equal(found(images(1), (1, 1)), supernet(images(1), (1, 1)))
    with pytest.raises(CheckpointError, match="with the quantizer frozen, now asked for lsq"):
        load(supernet.space, tmp_path / "net.safetensors")
