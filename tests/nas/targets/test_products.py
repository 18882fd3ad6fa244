"""Products of two activations are priced by the bits of both, on every device that runs them."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib.resources import files

import pytest
from pydantic import ValidationError

from nas.targets import load_target
from nas.targets.schema import TargetFile
from search_spaces.costs import bitops
from search_spaces.formats import Int
from search_spaces.kernels import Kernel
from search_spaces.ops import Linear, MatMul, Softmax
from search_spaces.quant import Quant

READ = Quant(Int(8, symmetric=False))
SHAPES = ((4, 64, 32), (4, 32, 64))
PRODUCT = Kernel(MatMul(activation=READ), (), SHAPES)
DEVICES = ["datacentre-gpu", "edge-npu"]


def test_both_factors_of_a_product_count_their_bits() -> None:
    assert PRODUCT.macs == 4 * 64 * 32 * 64
    assert bitops(PRODUCT) == PRODUCT.macs * 8 * 8
    assert bitops(Kernel(MatMul(), (), SHAPES)) == PRODUCT.macs * 32 * 32
    assert bitops(Kernel(Softmax(activation=READ), (), SHAPES[:1])) == 0


@pytest.mark.parametrize("name", DEVICES)
def test_a_product_has_the_rate_of_a_weight_of_its_bits(name: str) -> None:
    """Time grows with the products, at the rate that a linear layer of the same bits has."""
    target = load_target(name)
    latency, bits = target.model.costs["latency_ms"], target.numerics(PRODUCT)
    assert bits is not None
    wide = [Kernel(MatMul(), (), ((1, 512 * n, 2048), (1, 2048, 512))) for n in (4, 8)]
    few, many = (latency(kernel, bits) for kernel in wide)
    op = Linear(512, weight=Quant(Int(8)), activation=READ)
    linear = [Kernel(op, (), ((512 * n, 2048),)) for n in (4, 8)]
    pair = target.numerics(linear[0])
    assert pair is not None
    assert pair == bits.factors
    wanted = latency(linear[1], pair) - latency(linear[0], pair)
    assert many - few == pytest.approx(wanted, rel=1e-6)


def test_a_device_that_multiplies_activations_has_a_rate_for_them() -> None:
    shipped = files("nas.targets").joinpath("devices/edge-npu.toml").read_text()
    content = tomllib.loads(shipped)
    (section,) = (part for part in content["supports"] if "MatMul" in part["operators"])
    section["formats"] = ["6", "32"]
    with pytest.raises(ValidationError, match=r"must hold exactly the native formats .*int6xint6"):
        TargetFile.model_validate(content)


def test_a_product_of_few_bits_runs_in_the_container_of_its_bits() -> None:
    target = load_target("edge-npu")
    few = Kernel(replace(PRODUCT.op, activation=Quant(Int(4, symmetric=False))), (), SHAPES)
    assert target.numerics(few) == target.numerics(PRODUCT)
