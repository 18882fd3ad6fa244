"""Every operator keeps the contract; slices are the first channels and the centre of kernels."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from nas.testing.operator import Form, OperatorContract
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Linear,
    Multiply,
    Nonlinearity,
    Op,
    Parameter,
    Resize,
)
from supernets.elastic import corner


class TestConv2d(OperatorContract):
    @pytest.fixture(params=[1, 2], ids=["stride1", "stride2"])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [
            (Conv2d(out, kernel, request.param), ((channels, size, size),))
            for out, kernel, channels, size in [
                (6, 5, 4, 8),
                (6, 3, 4, 8),
                (3, 3, 2, 7),
                (1, 1, 1, 5),
            ]
        ]


class TestConv2dWithBias(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(Conv2d(out, 1, bias=True), ((out + 1, 1, 1),)) for out in (5, 3, 1)]


class TestDepthwiseConv2d(OperatorContract):
    @pytest.fixture(params=[1, 2], ids=["stride1", "stride2"])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [
            (DepthwiseConv2d(kernel, request.param), ((channels, 9, 9),))
            for kernel, channels in [(7, 6), (5, 6), (3, 2), (3, 6)]
        ]


class TestLinear(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(Linear(out), ((features,),)) for out, features in [(7, 6), (7, 2), (3, 4)]]


class TestBatchNorm2d(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(BatchNorm2d(), ((channels, 5, 5),)) for channels in (6, 4, 1)]


class TestActivation(OperatorContract):
    @pytest.fixture(params=["relu", "relu6", "hardswish", "hardsigmoid"])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        function: Nonlinearity = request.param
        return [(Activation(function), ((3, 4, 4),))]

    def inputs_of(self, op: Op, inputs: tuple[tuple[int, ...], ...]) -> list[Tensor]:
        return [4 * x for x in super().inputs_of(op, inputs)]


class TestAdd(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(Add(), ((3, 4, 4), (3, 4, 4)))]


class TestMultiply(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(Multiply(), ((3, 4, 4), (3, 1, 1)))]


class TestGlobalPool(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(GlobalPool(), ((channels, size, size),)) for channels, size in [(5, 7), (2, 1)]]


class TestResize(OperatorContract):
    """An image of the right size passes, others are resized."""

    @pytest.fixture(params=[6, 8, (5, 12)])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [(Resize(request.param), ((3, 6, 6),)), (Resize(request.param), ((2, 4, 6),))]


def test_a_corner_is_the_first_channels_and_the_centre_of_the_kernel() -> None:
    shared = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    roles = ("out", "in", "window", "window")
    small = Parameter((1, 2, 3, 3), roles)
    assert torch.equal(corner(shared, small), shared[:1, :2, 1:4, 1:4])
    assert corner(shared, Parameter((2, 3, 5, 5), roles)) is shared
    assert corner(shared, small).data_ptr() == shared[0, 0, 1, 1].data_ptr()


def test_features_are_cut_from_the_front_and_windows_from_the_middle() -> None:
    """The width of a token is its last axis, and yet no window."""
    tokens = torch.arange(12).reshape(2, 6)
    assert torch.equal(corner(tokens, Parameter((2, 4), ("out", "in"))), tokens[:, :4])
    assert torch.equal(corner(tokens, Parameter((2, 4), ("out", "window"))), tokens[:, 1:5])
