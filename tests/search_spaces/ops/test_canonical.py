"""Operators that a device runs alike have one canonical form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.formats import Int
from search_spaces.ops import AvgPool2d, Conv2d, DepthwiseConv2d, MaxPool2d, Op
from search_spaces.ops.convolution import Convolution
from search_spaces.quant import Quant

lengths = st.integers(1, 3)
extents = lengths | st.tuples(lengths, lengths)
margins = st.integers(0, 1)
paddings = margins | st.tuples(margins, margins) | st.tuples(margins, margins, margins, margins)
windows: dict[str, st.SearchStrategy[Any]] = {
    "kernel": extents,
    "stride": extents,
    "padding": paddings,
}
CONVOLUTIONS = {**windows, "dilation": extents}
KINDS = {
    Conv2d: CONVOLUTIONS,
    DepthwiseConv2d: CONVOLUTIONS,
    MaxPool2d: windows,
    AvgPool2d: windows,
}


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_equal_windows_have_one_form(kind: type[Any], data: st.DataObject) -> None:
    named = {"out": 8} if kind is Conv2d else {}
    one, other = (
        kind(**named, **{name: data.draw(values) for name, values in KINDS[kind].items()})
        for _ in range(2)
    )
    assert one.canonical().window == one.window
    assert one.canonical().canonical() == one.canonical()
    assert (one.canonical() == other.canonical()) == (one.window == other.window)


@pytest.mark.parametrize("kind", [Conv2d, DepthwiseConv2d])
def test_same_padding_in_numbers_is_same(kind: type[Convolution]) -> None:
    named = {"out": 8} if kind is Conv2d else {}
    written = kind(**named, kernel=(3, 3), padding=(2, 2, 2, 2), dilation=2)
    assert written.canonical() == kind(**named, kernel=3, dilation=2)


def test_precisions_stay() -> None:
    op = Conv2d(8, 3, bias=True, weight=Quant(Int(4)), activation=Quant(Int(8)))
    assert op.canonical() == Conv2d(8, 3, weight=Quant(Int(4)), activation=Quant(Int(8)))


def test_an_operator_is_its_own_form_by_default() -> None:
    op = Op()
    assert op.canonical() is op
