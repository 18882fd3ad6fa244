"""Transformers of every width, head and depth: shared, extracted, deployed and in a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas.export import FORMS
from nas.export.check import check_policy
from nas.testing.deployment import installed
from search_spaces import costs
from search_spaces.language_model import language_model
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from search_spaces.transformer_encoder import transformer_encoder
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.exchange import exchanged
from supernets.extract import detached, extract
from supernets.inputs import inputs_of
from supernets.supernet import Supernet
from tests.tiny_transformers import TINY

BATCH, TOKENS, VOCABULARY = 6, 7, 11
OPTIONS: dict[str, Any] = {
    **TINY,
    "policy": Policy(fineness="layer", edge_bits=(4, 8, None), activation_bits=(4, 8, None)),
}
KINDS = ["encoder", "language model"]


def space_of(kind: str) -> SearchSpace:
    if kind == "encoder":
        return transformer_encoder((Input("rows", (TOKENS, 5)),), (4,), **OPTIONS)
    return language_model((Input("tokens", (TOKENS,), "int64"),), (TOKENS, VOCABULARY), **OPTIONS)


def batch_of(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if kind == "encoder":
        return torch.randn(BATCH, TOKENS, 5, generator=generator)
    return torch.randint(VOCABULARY, (BATCH, TOKENS), generator=generator)


@lru_cache(maxsize=2)
def made(kind: str) -> Supernet:
    """A supernet with random weights, norms and biases; one serves all tests."""
    supernet = Supernet(space_of(kind), seed=0)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in supernet.parameter_groups()["others"]:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    initialise_steps(supernet, [batch_of(kind)])
    return supernet


def drawn(kind: str, count: int, *, seed: int = 0) -> list[Genotype]:
    space = made(kind).space
    return as_genotypes(space.sample_array(np.random.default_rng(seed), count))


@pytest.mark.parametrize("kind", KINDS)
def test_supernet_and_extracted_module_are_equal_bit_for_bit(kind: str) -> None:
    supernet, batch = made(kind), batch_of(kind)
    space = supernet.space
    with torch.no_grad():
        for genotype in {space.smallest, space.largest, *drawn(kind, 100)}:
            module = detached(supernet, genotype).module
            assert torch.equal(module(batch), supernet(batch, genotype))


@pytest.mark.parametrize("kind", KINDS)
def test_macs_are_half_of_torchs_flops(kind: str) -> None:
    supernet, batch = made(kind), batch_of(kind)
    compiled = costs.compile_cost(supernet.space, costs.macs)
    for genotype in drawn(kind, 5, seed=1):
        module = detached(supernet, genotype).module
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(batch)
        (macs,) = compiled(np.array([genotype]))
        assert counter.get_total_flops() == 2 * BATCH * macs


@pytest.mark.parametrize("kind", KINDS)
def test_its_parameters_are_those_of_the_extracted_module(kind: str) -> None:
    supernet = made(kind)
    compiled = costs.compile_cost(supernet.space, costs.parameters)
    for genotype in drawn(kind, 5, seed=2):
        module = detached(supernet, genotype).module
        (count,) = compiled(np.array([genotype]))
        assert sum(parameter.numel() for parameter in module.parameters()) == count


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # ExecuTorch's
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_answers_as_the_deployed_network_does(kind: str, tmp_path: Path) -> None:
    """Forms other than ONNX are tried for one network each, since loading takes as long again."""
    supernet, batch = made(kind), batch_of(kind)
    for number, genotype in enumerate([supernet.space.largest, *drawn(kind, 8, seed=3)]):
        deployed = deploy(extract(supernet, genotype, [batch]))
        with torch.no_grad():
            ours = deployed.module()(batch)
        for form in installed() if not number else [FORMS["onnx"]]:
            path = tmp_path / f"{number}{form.suffix}"
            form.write(deployed, path)
            opened = form.open(path, deployed.graph)
            check_policy(opened.policy, deployed, form)
            theirs = torch.from_numpy(opened.run(inputs_of(deployed.graph, batch)))
            # A tie may be rounded the other way, which moves a few numbers by a step or two.
            assert (theirs - ours).abs().max() < 0.2 * ours.std(), (form.name, number)
            assert torch.isclose(theirs, ours, rtol=1e-3, atol=1e-4).float().mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_effect_of_every_pick_is_estimated(kind: str) -> None:
    """No effect where nothing changes; elsewhere finite, and related to the true one."""
    supernet, batch = made(kind), batch_of(kind)
    (genotype,) = drawn(kind, 1, seed=5)
    others = {genotype}
    for place, options in enumerate(supernet.space.counts):
        picked = [(*genotype[:place], option, *genotype[place + 1 :]) for option in range(options)]
        others |= {supernet.space.canonical(pick) for pick in picked}

    def loss(output: Tensor) -> Tensor:
        return output.square().mean()

    ordered = [genotype, *(others - {genotype})]
    value, estimated = exchanged(supernet, batch, loss, genotype=genotype, others=ordered)
    with torch.no_grad():
        true = [float(loss(supernet(batch, other))) - value for other in ordered]
    assert estimated[0] == 0
    assert np.isfinite(estimated).all()
    assert np.corrcoef(estimated, true)[0, 1] > 0.2


def test_later_tokens_change_nothing_before_them() -> None:
    """A causal network: what it says of a token depends on that token and on those before."""
    supernet, batch = made("language model"), batch_of("language model")
    other = batch.clone()
    other[:, 4:] = (other[:, 4:] + 1) % VOCABULARY
    with torch.no_grad():
        for genotype in drawn("language model", 4, seed=4):
            ours, theirs = supernet(batch, genotype), supernet(other, genotype)
            assert torch.equal(ours[:, :4], theirs[:, :4])
            assert not torch.equal(ours[:, 4:], theirs[:, 4:])


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind: str) -> None:
    supernet = made(kind)
    supernet.zero_grad()
    supernet(batch_of(kind), supernet.space.largest, quantize=False).pow(3).sum().backward()
    for name, parameter in supernet.named_parameters():
        if ".tensors." in name:
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
