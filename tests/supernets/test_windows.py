"""Operators with a window keep the contract, and compute what torch's own functions do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F

from nas.testing.operator import Form, OperatorContract
from search_spaces.ops import AvgPool2d, Conv2d, DepthwiseConv2d, MaxPool2d
from supernets.elastic import compute, stock

IMAGES = torch.randn(2, 4, 7, 6, generator=torch.Generator().manual_seed(5))
WEIGHT = torch.randn(6, 4, 3, 2, generator=torch.Generator().manual_seed(6))


class TestConv2dInGroups(OperatorContract):
    """As many groups as there are fours of channels, or always two of them."""

    @pytest.fixture(params=[False, True], ids=["constant width", "constant number"])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [
            (
                Conv2d(out, 3, groups=2 if request.param else channels // 4, bias=True),
                ((channels, 6, 6),),
            )
            for out, channels in [(24, 16), (12, 8), (8, 8)]
        ]


class TestConv2dWindow(OperatorContract):
    @pytest.fixture(
        params=[
            {"stride": (2, 1)},
            {"dilation": 2},
            {"dilation": (1, 3), "stride": (1, 2)},
            {"padding": 0},
            {"padding": (2, 1)},
            {"padding": (2, 0, 1, 3)},
        ],
        ids=str,
    )
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [
            (Conv2d(out, kernel, **request.param), ((channels, 11, 9),))
            for out, kernel, channels in [(6, (3, 5), 4), (3, (3, 3), 4), (2, (1, 3), 2)]
        ]


class TestConv2dOfEvenKernels(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [
            (Conv2d(out, kernel, padding=(1, 0, 0, 1)), ((channels, 8, 8),))
            for out, kernel, channels in [(5, 4, 4), (5, 2, 4), (2, (2, 4), 1)]
        ]


class TestDepthwiseWindow(OperatorContract):
    @pytest.fixture(
        params=[{"dilation": 2}, {"padding": (1, 0, 2, 1)}, {"stride": (1, 2)}], ids=str
    )
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [
            (DepthwiseConv2d(kernel, **request.param), ((channels, 11, 11),))
            for kernel, channels in [((3, 5), 6), (3, 4), ((1, 3), 2)]
        ]


class TestMaxPool2d(OperatorContract):
    @pytest.fixture(params=[0, 1, (2, 0), (2, 1, 0, 1)], ids=str)
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [
            (MaxPool2d((3, 2), stride, request.param), ((channels, 9, 8),))
            for stride, channels in [(1, 6), ((2, 1), 3)]
        ]


class TestAvgPool2d(OperatorContract):
    @pytest.fixture(params=[0, 1, (2, 0), (2, 1, 0, 1)], ids=str)
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [
            (AvgPool2d((3, 2), stride, request.param), ((channels, 9, 8),))
            for stride, channels in [(1, 6), ((2, 1), 3)]
        ]


def test_groups_see_their_channels_only() -> None:
    weight = WEIGHT[:, :2]
    found = compute(Conv2d(6, (3, 2), padding=1, groups=2), {"weight": weight}, IMAGES)
    halves = [
        F.conv2d(IMAGES[:, part], weight[out], padding=1)
        for part, out in ((slice(0, 2), slice(0, 3)), (slice(2, 4), slice(3, 6)))
    ]
    torch.testing.assert_close(found, torch.cat(halves, 1))


def test_a_narrower_convolution_in_groups_of_a_width_is_the_first_groups_of_a_wider_one() -> None:
    weight = torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(7))
    images = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(8))
    wide = compute(Conv2d(8, 3, groups=4), {"weight": weight}, images)
    narrow = compute(Conv2d(4, 3, groups=2), {"weight": weight[:4]}, images[:, :4])
    torch.testing.assert_close(narrow, wide[:, :4])


def test_padding_on_one_side_is_zeros_there() -> None:
    op = Conv2d(6, (3, 2), padding=(2, 0, 1, 3))
    padded = F.pad(IMAGES, (0, 3, 2, 1))
    torch.testing.assert_close(
        compute(op, {"weight": WEIGHT}, IMAGES), F.conv2d(padded, WEIGHT), rtol=0, atol=0
    )


@pytest.mark.parametrize("padding", [0, 1, (2, 1, 0, 1)], ids=str)
def test_places_of_the_padding_are_never_the_largest(padding: int) -> None:
    """All numbers are negative, so that a zero in the padding would show."""
    found = compute(MaxPool2d(3, 1, padding), {}, IMAGES - 10)
    assert found.max() < 0
    assert torch.isin(found, IMAGES - 10).all()


@pytest.mark.parametrize("padding", [1, (2, 1, 0, 1)], ids=str)
def test_places_of_the_padding_count_as_zeros_in_an_average(padding: int) -> None:
    op = AvgPool2d(3, 2, padding)
    top, left, bottom, right = op.window.padding
    wanted = F.avg_pool2d(F.pad(IMAGES, (left, right, top, bottom)), 3, 2)
    torch.testing.assert_close(compute(op, {}, IMAGES), wanted)
    if padding == 1:  # as torch counts where it is left to
        torch.testing.assert_close(wanted, F.avg_pool2d(IMAGES, 3, 2, 1))


def test_padding_alike_on_opposite_sides_is_one_layer() -> None:
    assert isinstance(stock(MaxPool2d(3, 2, 1), {}), torch.nn.MaxPool2d)
    assert isinstance(stock(AvgPool2d(3, 2, (1, 0)), {}), torch.nn.AvgPool2d)
    assert isinstance(stock(AvgPool2d(3, 2, (1, 0, 0, 0)), {}), torch.nn.Sequential)
