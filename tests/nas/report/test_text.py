import math

import pytest

from nas.report import text
from nas.report.estimates import Estimate
from search_spaces.formats import E4M3, Int
from search_spaces.quant import PerChannel, Quant
from search_spaces.serialize import encode


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("latency_ms", 0.42134, "0.421 ms"),
        ("latency_ms", 12_345.0, "12,345 ms"),
        ("macs", 12_345_678, "12.3 M"),
        ("bitops", 999.0, "999"),
        ("model_bytes", 45_600, "45.6 kB"),
        ("latency_ms", 0.0, "0 ms"),
        ("latency_ms", math.inf, "cannot run"),
        ("wear", 3.14159, "3.14"),
        ("ms", 0.42134, "0.421 ms"),
        ("phone_uj", 7.0, "7.00 µJ"),
        ("weight_mb", 1.5, "1.50 MB"),
        ("buffer_bytes", 45_600, "45.6 kB"),
        ("mflops", 97.5, "97.5 MFLOPs"),
        ("s", 3.0, "3.00"),
        ("weights", 3.0, "3.00"),
    ],
)
def test_quantities_read_with_their_unit(name, value, said):
    assert text.quantity(name, value) == said


@pytest.mark.parametrize(
    ("name", "title", "axis"),
    [
        ("latency_ms", "Latency", "Latency (ms)"),
        ("weight_mb", "weight", "weight (MB)"),
        ("model_bytes", "Model size", "Model size (bytes)"),
        ("ms", "ms", "ms"),
        ("hidden_layers", "hidden layers", "hidden layers"),
    ],
)
def test_the_unit_at_the_end_of_a_name_stands_in_brackets_on_an_axis(name, title, axis):
    assert (text.title(name), text.axis_title(name)) == (title, axis)


def test_limits_keep_all_their_digits_and_have_units():
    given = {"latency_ms": 12.345, "model_bytes": 700, "weights": 2000}
    assert text.limits(given) == "latency_ms ≤ 12.345 ms, model_bytes ≤ 700 B, weights ≤ 2000"
    assert text.limits({}) == "none"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        ("7", "7"),
        ("34992", "34,992"),
        ("123456789", "1.2 \N{MULTIPLICATION SIGN} 10⁸"),
        ("1e47", "1 \N{MULTIPLICATION SIGN} 10⁴⁷"),
        ("many", "many"),
    ],
)
def test_numbers_of_networks_stay_short(count, said):
    assert text.networks(count) == said


def test_a_spread_shares_the_scale_of_its_figure():
    assert text.estimate("model_bytes", Estimate(1_482_000, 12_000)) == "1.48 ± 0.012 MB"
    assert text.estimate("model_bytes", Estimate(1_482_000)) == "1.48 MB"
    assert text.estimate("model_bytes", None) == "—"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(4.21, "4.2 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_read_as_people_say_them(seconds, said):
    assert text.duration(seconds) == said


@pytest.mark.parametrize(
    ("words", "said"), [([], ""), ([3], "3"), (["a", "b"], "a and b"), ("abc", "a, b and c")]
)
def test_words_are_listed_as_in_a_sentence(words, said):
    assert text.listed(words) == said


@pytest.mark.parametrize(
    ("pick", "said"),
    [
        (None, "float"),
        (5, "5"),
        (encode(Quant(Int(4), PerChannel())), "4"),
        (encode(Quant(E4M3)), "e4m3"),
        ({"$spec": "Add"}, "Add"),
    ],
)
def test_a_picked_option_is_told_on_one_line(pick, said):
    assert text.option(pick) == said
