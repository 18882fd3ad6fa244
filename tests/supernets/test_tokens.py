"""Operators that are no convolution keep the contract, and compute what torch's functions do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.testing.operator import Form, OperatorContract
from search_spaces.ops import (
    Activation,
    Concat,
    Flatten,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    Linear,
    Nonlinearity,
    Op,
    Permute,
    Reshape,
    Standardize,
)
from supernets.elastic import compute

TOKENS = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(4))


class TestLinearOfTokens(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        shapes = [(7, (5, 6)), (7, (3, 2)), (3, (5, 4)), (2, (4, 3, 5))]
        return [(Linear(out), (shape,)) for out, shape in shapes]


class TestLayerNorm(OperatorContract):
    @pytest.fixture(params=[1e-5, 1e-2])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [(LayerNorm(request.param), (shape,)) for shape in [(5, 8), (4,), (2, 3, 6)]]


class TestGroupNorm(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        shapes = [(4, (8, 3, 3)), (1, (6, 5)), (2, (4, 2, 2))]
        return [(GroupNorm(groups), (shape,)) for groups, shape in shapes]


class TestStandardize(OperatorContract):
    @pytest.fixture(params=[(0, (4, 3, 5)), (-1, (4, 3, 5)), (0, (6,))])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        axis, shape = request.param
        return [(Standardize(axis), (shape,))]


def test_an_axis_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"axis 1, which the shape \(6,\)"):
        Standardize(1).infer((6,))


class TestFunctions(OperatorContract):
    @pytest.fixture(params=["gelu", "silu", "sigmoid", "tanh"])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        function: Nonlinearity = request.param
        return [(Activation(function), ((5, 4),))]

    def inputs_of(self, op: Op, inputs: tuple[tuple[int, ...], ...]) -> list[Tensor]:
        return [4 * x for x in super().inputs_of(op, inputs)]


class TestLeakyReLU(OperatorContract):
    @pytest.fixture(params=[0.0, 0.2])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [(LeakyReLU(request.param), ((3, 4, 4),))]


class TestConcat(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [
            (Concat(), ((3, 4, 4), (5, 4, 4))),
            (Concat(3), ((2, 4), (1, 4), (3, 4))),
            (Concat(2), ((2,), (3,))),
        ]


class TestFlatten(OperatorContract):
    @pytest.fixture(params=[0, 1, 2])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [(Flatten(request.param), (shape,)) for shape in [(4, 3, 2), (2, 3, 2)]]


class TestReshape(OperatorContract):
    @pytest.fixture(params=[(4, 6), (-1, 6), (2, 3, -1), (24,)], ids=str)
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [(Reshape(request.param), ((4, 3, 2),))]


class TestPermute(OperatorContract):
    @pytest.fixture(params=[(2, 0, 1), (0, 1, 2), (1, 0, 2)], ids=str)
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [(Permute(request.param), ((4, 3, 2),))]


def test_tokens_are_not_mixed() -> None:
    """Every token is multiplied by itself: the weight has as many columns as it has features."""
    weight, bias = torch.randn(3, 6), torch.randn(3)
    found = compute(Linear(3), {"weight": weight, "bias": bias}, TOKENS)
    torch.testing.assert_close(found[:, 1], TOKENS[:, 1] @ weight.T + bias)


def test_a_layer_norm_is_of_the_features_of_each_token() -> None:
    tensors = {"scale": torch.full((6,), 2.0), "shift": torch.full((6,), 0.5)}
    found = compute(LayerNorm(), tensors, TOKENS)
    mean, variance = TOKENS.mean(-1, keepdim=True), TOKENS.var(-1, unbiased=False, keepdim=True)
    torch.testing.assert_close(found, (TOKENS - mean) / (variance + 1e-5).sqrt() * 2 + 0.5)


def test_a_narrower_layer_norm_is_of_the_features_that_are_there() -> None:
    tensors = {"scale": torch.ones(4), "shift": torch.zeros(4)}
    found = compute(LayerNorm(), tensors, TOKENS[..., :4])
    torch.testing.assert_close(found, F.layer_norm(TOKENS[..., :4], (4,)))


def test_one_group_of_a_norm_is_the_whole() -> None:
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    tensors = {"scale": torch.ones(4), "shift": torch.zeros(4)}
    found = compute(GroupNorm(1), tensors, x)
    torch.testing.assert_close(found, F.layer_norm(x, (4, 3, 3)))


def test_gelu_is_the_exact_one() -> None:
    """Hendrycks and Gimpel 2016: x times the normal distribution; by tanh it is 3e-4 off."""
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    wanted = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    torch.testing.assert_close(compute(Activation("gelu"), {}, x), wanted)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("silu", lambda x: x / (1 + torch.exp(-x))),
        ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
        ("tanh", lambda x: (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1)),
    ],
)
def test_functions_are_those_of_the_books(function: Nonlinearity, wanted) -> None:
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    torch.testing.assert_close(compute(Activation(function), {}, x), wanted(x))


def test_a_leaky_relu_keeps_a_share_of_what_is_below_zero() -> None:
    x = torch.tensor([[-2.0, 0.0, 3.0]])
    assert compute(LeakyReLU(0.25), {}, x).tolist() == [[-0.5, 0.0, 3.0]]


def test_views_keep_the_order_of_numbers() -> None:
    assert torch.equal(compute(Flatten(), {}, TOKENS), TOKENS.reshape(2, 30))
    assert torch.equal(compute(Reshape((3, -1)), {}, TOKENS), TOKENS.reshape(2, 3, 10))
    assert torch.equal(compute(Permute((1, 0)), {}, TOKENS), TOKENS.transpose(1, 2))


def test_inputs_stand_one_behind_the_other_along_the_channels() -> None:
    parts = TOKENS.split([2, 1, 2], dim=1)
    assert torch.equal(compute(Concat(3), {}, *parts), TOKENS)
