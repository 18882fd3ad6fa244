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
    ],
)
def test_quantities_read_with_their_unit(name, value, said):
    assert text.quantity(name, value) == said


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
