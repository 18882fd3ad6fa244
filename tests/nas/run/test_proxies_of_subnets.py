"""Where supernets and proxies meet: an extracted subnet is a module that every proxy can score."""

import math

import pytest
import torch
import torch.nn.functional as F

from nas.parts import Parts
from nas.tasks.criteria import Classification
from predictors.proxies import score
from predictors.proxies.sensitivity import (
    Site,
    Study,
    measured,
    open_precisions,
    output_distance,
    weight_names,
)
from search_spaces.costs import SpaceKernels, bitops, macs, total
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Input
from supernets.assemble import module_name, node_names
from supernets.calibrate import initialise_steps
from supernets.extract import extract
from supernets.supernet import Supernet

PROXIES = [*Parts("proxy").values()]
PRECISION = [proxy for proxy in PROXIES if proxy.of_precision]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    stages = (Stage(8, 1), Stage(8, 2, squeeze_excite=True, function="hardswish"))
    space = mobilenet(
        inputs=(Input("image", (1, 8, 8)),),
        output=(4,),
        stages=stages,
        depths=(1, 2),
        stem_stride=1,
        head=16,
    )
    made = Supernet(space, seed=0)
    initialise_steps(made, [batch()[0]])
    return made


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.arange(16) % 4


def test_every_proxy_scores_an_extracted_subnet(supernet) -> None:
    space, (images, labels) = supernet.space, batch()
    found = extract(supernet, space.largest, [images])
    values = score(found.module, (images, labels), F.cross_entropy, proxies=PROXIES)
    assert set(values) == {name for proxy in PROXIES for name in proxy.larger_is_better}
    assert all(math.isfinite(value) for value in values.values())
    assert values["macs"] == total(macs, found.graph)
    assert 0.99 < values["bitops"] / total(bitops, found.graph) <= 1.0  # a sample uses fewer values
    # Gradients that stopped at the last rounding would leave the head's alone.
    head = torch.autograd.grad(
        F.cross_entropy(found.module(images), labels),
        found.module.get_parameter(f"{module_name('head')}.weight"),
    )
    assert values["grad_norm"] > 2 * float(head[0].norm())


def test_fewer_bits_of_an_extracted_subnet_are_seen(supernet) -> None:
    space, (images, labels) = supernet.space, batch()
    coarse = list(space.largest)
    for name, column in space.column.items():
        coarse[column] = 0 if name.endswith(".bits") else coarse[column]
    full = extract(supernet, space.largest, [images], quantize=False).module.eval()
    low, high = (
        score(
            full,
            (images, labels),
            F.cross_entropy,
            proxies=PRECISION,
            quantized=extract(supernet, genotype, [images]).module.eval(),
            distance=Classification().distance,
        )
        for genotype in (tuple(coarse), space.largest)
    )
    assert 0 < low["sqnr"] + 10 < high["sqnr"]
    for name in ("output_distance", "empirical_fisher", "hessian"):
        assert 0 < 10 * high[name] < low[name]


def test_sensitivities_of_the_float_subnet_become_a_cost_of_the_space(supernet) -> None:
    space, (images, _) = supernet.space, batch()
    module = extract(supernet, space.largest, [images], quantize=False).module
    weights, reads = (open_precisions(space.graph, tensor) for tensor in ("weight", "activation"))
    study = Study(
        module.eval(),
        [images],
        Classification().distance,
        node_names(module),
        weight_names(module, {address: module_name(address) for address in weights}),
        {Site("weight", address): quants for address, quants in weights.items()}
        | {Site("activation", address): quants for address, quants in reads.items()},
    )
    cost = SpaceKernels(space).compile_by_address(measured(study, output_distance))
    genotypes = torch.tensor([space.largest, space.largest]).numpy()
    for name, column in space.column.items():
        if name.endswith(".bits"):
            genotypes[1, column] = 0
    high, low = cost(genotypes)
    assert 0 < 10 * high < low
