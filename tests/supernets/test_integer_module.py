"""A module of integer codes computes what the module of their values does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces.space import as_genotypes
from supernets.assemble import module_name
from supernets.deploy import deploy
from supernets.deployed import Deployed
from supernets.encoded import EncodedTensor
from supernets.extract import extract
from supernets.integer_module import OfCodes, integer_module
from supernets.supernet import Supernet


@pytest.fixture
def networks(supernet: Supernet, images: Tensor) -> list[Deployed]:
    rows = supernet.space.sample_array(np.random.default_rng(0), 8)
    return [deploy(extract(supernet, genotype, [images])) for genotype in as_genotypes(rows)]


def test_it_gives_the_same_numbers_bit_for_bit(networks: list[Deployed], images: Tensor) -> None:
    for deployed in networks:
        with torch.no_grad():
            assert torch.equal(integer_module(deployed)(images), deployed.module()(images))


def test_it_holds_the_codes_in_8_bits(networks: list[Deployed]) -> None:
    for deployed in networks:
        module = integer_module(deployed)
        for address in deployed.parameters:
            held, layer = deployed.weight(address), module.get_submodule(module_name(address))
            if not isinstance(held, EncodedTensor):
                assert not isinstance(layer, OfCodes)
                continue
            codes = layer.get_buffer("weight")
            assert codes.dtype == (torch.int8 if held.quant.integers.symmetric else torch.uint8)
            assert np.array_equal(codes.numpy(), held.codes)
            assert not list(layer.parameters())


def test_norms_that_are_not_folded_keep_their_statistics(
    supernet: Supernet, images: Tensor
) -> None:
    """A network before its rewrites runs, too."""
    deployed = extract(supernet, supernet.space.largest, [images]).deployed()
    with torch.no_grad():
        assert torch.equal(integer_module(deployed)(images), deployed.module()(images))
