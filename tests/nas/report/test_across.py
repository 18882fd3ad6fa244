"""The devices side by side: what each got, and what that would cost on the others."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from nas.report.across import alike, comparison
from nas.report.html import html
from nas.report.layers import in_words
from tests.nas.report.two import FAST, SLOW, device, of


def rows(results) -> list[list[str]]:
    cells = [re.split("</t[dh]>", row) for row in comparison(results).split("</tr>")]
    return [[re.sub("<[^>]*>", "", cell) for cell in row[:-1]] for row in cells]


def two(**slow):
    fast = device("fast", 1, FAST, layers=2)
    return of(fast, device("slow", 2, SLOW, layers=2, limits={"latency_ms": 50.0}, **slow))


def test_every_chosen_subnet_stands_on_every_device_with_the_limits_it_breaks():
    found = rows(two())
    assert ["", "on fast", "on slow"] in found
    assert ["Subnet of fast", "8.00 ms, 800 B", "80.0 ms, 8.00 kB; over the limit on latency"] in (
        found
    )
    assert ["Subnet of slow", "4.00 ms, 400 B", "40.0 ms, 4.00 kB"] in found
    assert "<b>8.00 ms, 800 B</b>" in comparison(two())
    assert "<b>80.0 ms" not in comparison(two())


def test_a_subnet_that_another_device_cannot_run_is_said_so():
    refused = {name: (np.inf, np.inf, *values[2:]) for name, values in SLOW.items()}
    results = of(device("fast", 1, FAST), device("slow", 2, refused))
    assert ["Subnet of fast", "8.00 ms, 800 B", "cannot run"] in rows(results)


def test_kinds_and_picks_are_told_by_device():
    found = rows(two())
    assert ["fast", "2 layers of 8 channels, kernel 3, weights of 8 bits", "0"] in found
    assert ["depth", "1", "2"] in found


def test_the_section_is_linked_and_missing_where_there_is_nothing_to_compare():
    assert 'href="#devices"' in html(two())
    alone = of(device("fast", 1, FAST), replace(device("slow", 2, SLOW), chosen=None))
    assert comparison(alone) == ""
    assert "#devices" not in html(alone)


def test_devices_that_got_the_same_subnet_are_told():
    results = of(*(device(name, 1, FAST, layers=2) for name in ("a", "b", "c")))
    assert [*alike(results)] == ["a, b and c got the same subnet."]
    assert "a, b and c got the same subnet." in comparison(results)


def test_devices_that_got_the_same_layers_at_other_precisions_are_told():
    first, second = device("a", 1, FAST, layers=2), device("b", 2, FAST, layers=2, tolerance=0.5)
    assert [*alike(of(first, second))] == []
    layers = tuple(replace(layer, weight="int4") for layer in first.chosen.layers)
    second = replace(second, chosen=replace(second.chosen, layers=layers))
    assert [*alike(of(first, second))] == ["a and b got the same layers at other precisions."]


@pytest.mark.parametrize(
    ("widths", "told"),
    [
        ((4, 8, 8, 10), "4 layers of 4 and 8 channels"),
        ((*range(1, 9), 10), "9 layers of 1 to 8 channels"),
        ((10,), "1 layer,"),
    ],
)
def test_layers_are_told_by_their_widths_but_for_the_last(widths, told):
    (layer, _) = device("a", 1, FAST, layers=2).chosen.layers
    layers = [replace(layer, width=width, kernel=None) for width in widths]
    assert in_words(layers).startswith(told)


def test_full_precision_is_told_as_32_bits():
    (layer, _) = device("a", 1, FAST, layers=2).chosen.layers
    assert in_words([layer, replace(layer, weight="float")]).endswith("weights of 8 and 32 bits")


def test_formats_that_are_no_plain_integers_are_told_by_name():
    (layer, _) = device("a", 1, FAST, layers=2).chosen.layers
    other = [replace(layer, weight=name) for name in ("e4m3", "int4-per-group-32", "float")]
    assert in_words(other).endswith("weights of int4-per-group-32, e4m3 and float")
