"""Operators as rows write them: what is written is read back, and nothing else is read."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.targets.errors import TargetError
from nas.targets.numerics import of_bits
from nas.targets.table.columns import FORMS
from nas.targets.table.csv_file import heading, line, parse
from nas.targets.table.operator_reader import Behind, OperatorReader
from nas.targets.table.operator_text import fields_text, operator_text
from nas.targets.table.rows import KernelKey, Row
from search_spaces.choice import Spec, choice
from search_spaces.formats import Int
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Add, Conv2d, Linear, Op
from search_spaces.quant import Quant


@dataclass(frozen=True)
class Border(Spec):
    """A spec within an operator."""

    size: Any
    mirrored: bool = False


@dataclass(frozen=True)
class OutsidePool(Op):
    """An operator as a user writes it, in a module of their own."""

    window: tuple[int, int]
    border: Border | None = None
    mode: str = "mean"
    share: float = 0.5
    seed: int = 0
    activation: Quant | None = None

    def canonical(self) -> OutsidePool:
        return replace(self, seed=0)


@dataclass(frozen=True)
class OutsideAny(Op):
    """An operator whose field takes anything."""

    first: Any
    second: Any = None


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of fields: leaves, tuples and specs of them."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3).map(tuple) | st.builds(Border, inner),
        max_leaves=6,
    )


unlike = (  # no two of them are equal unless they mean the same; True equals 1
    st.none()
    | st.integers(-(1 << 63), 1 << 63)
    | st.floats(allow_nan=False)
    | st.sampled_from(["relu", "true", "null", "inf", "1", "-1", "", "a b", '"', "\\", "x=1,y=[2]"])
    | st.text()
)
values = nested(unlike | st.booleans())
operators = (
    st.builds(OutsideAny, values, values)
    | st.builds(Conv2d, st.integers(1, 999), st.sampled_from([1, 3, 5]), st.integers(1, 4))
    | st.builds(
        OutsidePool,
        st.tuples(st.integers(), st.integers()).filter(lambda pair: max(map(abs, pair)) < 1 << 63),
        st.none() | st.builds(Border, values, st.booleans()),
        st.text(),
        st.floats(allow_nan=False),
    )
    | st.builds(Activation, st.sampled_from(["relu", "hardswish"]))
    | st.builds(Add)
)
wires = st.lists(st.sampled_from(["in0", "in12", "op0", "op3"]), max_size=2).map(tuple)


@settings(deadline=None)
@given(operators)
def test_any_operator_is_read_as_it_was_written(op: Op) -> None:
    text = fields_text(op)
    read = OperatorReader().operator(type(op).__name__, text)
    assert read == op
    assert fields_text(read) == text
    assert FORMS["fields"][0].fullmatch(text)


@settings(deadline=None)
@given(st.lists(st.builds(Behind, operators, wires), max_size=4).map(tuple))
def test_any_operators_behind_are_read_as_they_were_written(behind: tuple[Behind, ...]) -> None:
    text = "+".join(map(str, behind))
    assert OperatorReader().behind(text) == behind
    assert FORMS["fused"][0].fullmatch(text)


@settings(deadline=None)
@given(operators, st.lists(operators, max_size=3).map(tuple))
def test_any_key_is_read_as_it_was_written(anchor: Op, behind: tuple[Op, ...]) -> None:
    key = KernelKey.of(Kernel(anchor, behind, ((8, 4, 4),)), of_bits(4, 8))
    row = Row(0.5, 0.01, 9)
    assert parse(heading({}) + line(key, row)) == ({key: row}, {}, [])


@settings(deadline=None)
@given(nested(unlike), nested(unlike))
def test_equal_fields_have_equal_texts_and_others_do_not(one: Any, other: Any) -> None:
    texts = {fields_text(OutsideAny(one)), fields_text(OutsideAny(other))}
    assert (len(texts) == 1) == (one == other)


@settings(deadline=None)
@given(st.text() | st.text('OutsideAny(first=1,[]+@"\\u0in -.e'))
def test_any_text_is_operators_or_a_value_error(text: str) -> None:
    reader = OperatorReader()
    for read in (reader.behind, lambda text: reader.operator("OutsideAny", text)):
        found: object = ()
        with contextlib.suppress(ValueError):
            found = read(text)
        assert isinstance(found, tuple | OutsideAny)


def test_a_field_at_its_default_is_left_out() -> None:
    assert fields_text(Conv2d(16, 3)) == fields_text(Conv2d(16, 3, stride=1)) == "out=16,kernel=3"
    assert fields_text(Conv2d(16, 3, stride=2)) == "out=16,kernel=3,stride=2"
    assert operator_text(OutsidePool((2, 3))) == "OutsidePool(window=[2,3])"
    assert operator_text(Add()) == "Add"


def test_a_field_added_with_a_default_leaves_rows_as_they_are() -> None:
    def growing(*younger: tuple[str, Any, Any]) -> Any:
        fields = [("size", int), *younger]
        return make_dataclass("Growing", fields, bases=(Op,), frozen=True)

    written = operator_text(growing()(3))
    newer = growing(("dilation", int, field(default=1)), ("border", tuple, field(default=())))
    assert operator_text(newer(3)) == written
    assert OperatorReader().behind(written) == (Behind(newer(3)),)


def test_precisions_and_what_no_device_sees_are_left_out() -> None:
    assert fields_text(Conv2d(16, (3, 3), padding=1, bias=True)) == "out=16,kernel=3"
    assert fields_text(Conv2d(16, 3, padding=(0, 0, 1, 1))) == "out=16,kernel=3,padding=[0,0,1,1]"
    exact = OutsidePool((2, 2))
    assert fields_text(OutsidePool((2, 2), seed=7, activation=Quant(Int(8)))) == fields_text(exact)
    assert fields_text(Conv2d(16, 3, bias=True, weight=Quant(Int(4)))) == fields_text(Conv2d(16, 3))
    read = OperatorReader().operator("OutsidePool", "window=[2,2]")
    assert read == exact


def test_a_user_may_write_what_has_one_meaning() -> None:
    reader = OperatorReader()
    assert reader.operator("Conv2d", "kernel=3,stride=1,out=16") == Conv2d(16, 3)
    assert reader.behind("Add()+Linear(out=10)") == (Behind(Add()), Behind(Linear(10)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1e300, "1e300"),
        (1e-7, "1e-07"),
        (math.inf, "inf"),
        ("inf", '"inf"'),
        ("half up", '"half up"'),
        ("a,b", '"a\\u002cb"'),
        ("é𝄞", '"\\u00e9\\ud834\\udd1e"'),
        ((), "[]"),
        ((1, (True, None)), "[1,[true,null]]"),
        (Border(3), "Border(size=3)"),
        (Border((1, 2), mirrored=True), "Border(size=[1,2],mirrored=true)"),
    ],
)
def test_every_value_has_one_text(value: object, text: str) -> None:
    assert fields_text(OutsideAny(value)) == f"first={text}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "not equal to itself"),
        (1 << 64, "at most 64 bits"),
        (frozenset({1}), "it is frozenset"),
        ((1, object()), "it is object"),
    ],
)
def test_what_has_no_text_is_refused(value: object, reason: str) -> None:
    with pytest.raises(TargetError, match=rf"OutsideAny.first = .*{reason}; give it a number"):
        fields_text(OutsideAny(value))


def test_what_is_still_open_is_refused() -> None:
    with pytest.raises(TargetError, match="holds a choice that is still open; resolve it first"):
        fields_text(Conv2d(16, choice("kernel", (3, 5))))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("out=16", "Conv2d has no value for kernel; a row gives out, kernel, stride"),
        ("out=16,kernel=3,colour=2", "Conv2d has no field colour; a row gives out, kernel, stride"),
        ("out=16,kernel=3,weight=8", "no field weight; .*bits in columns of their own"),
        ("out=16,kernel=3,out=8", "out stands twice"),
        ("out=16,kernel=three", "kernel .*given 'three'"),
        ("out=16,kernel=0", "kernel must be greater than or equal to 1"),
        ("out=true,kernel=3", "out must be a valid integer"),
        ("out=1.5,kernel=3", "out must be a valid integer"),
        ("out=[16],kernel=3", "out must be"),
        ("out=16,kernel=", "must have a value in place of its end"),
        ("out=16,", "must have a field in place of its end"),
        ("out=16 kernel=3", "' ' has no meaning there"),
        ("out=16;kernel=3", "';' has no meaning there"),
        ("16,3", "must have a field in place of '16'"),
        ("out=16)", "must have nothing in place of '\\)'"),
        ("out=9999999999999999999999,kernel=3", "has no meaning"),
        ("out=Border(size=3),kernel=3", "out must be"),
        ("out=Nothing(size=3),kernel=3", "'Nothing': no such spec; import the module"),
        ("out=" + "[" * 100, "nested more than 64 deep"),
    ],
)
def test_fields_that_an_operator_does_not_have_are_refused(fields: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OperatorReader().operator("Conv2d", fields)


@pytest.mark.parametrize(
    ("fused", "reason"),
    [
        ("relu", "operator = 'relu': no such operator; known are .*Activation"),
        ("Conv2d:24:k1:s1", "':' has no meaning there"),
        ("Conv2d", "Conv2d has no value for out, kernel|no value for kernel, out"),
        ("Add+", "must have an operator in place of its end"),
        ("+Add", "must have an operator in place of '\\+'"),
        ("Add Add", "' ' has no meaning"),
        ("Add@1", "must have in0, op0 or the like"),
        ("Add@left", "must have in0, op0 or the like"),
        ("Activation(function=sine)", "function must be"),
        ("Add(", "must have a field in place of its end"),
    ],
)
def test_what_is_no_operator_behind_is_refused(fused: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OperatorReader().behind(fused)
