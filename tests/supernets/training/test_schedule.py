"""The learning rate falls as its schedule says, and epochs are split as the law says."""

import math
from dataclasses import replace

import pytest

from search_spaces.costs import model_bytes, total
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from supernets.training.rates import cooldown, cosine
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.split import quantized_share, split

SETTINGS = TrainingSettings(
    float_epochs=6, quantized_epochs=4, batch_size=10, warmup=0.1, learning_rate=0.4
)


def rates(settings, rate):
    plan = schedule(settings, 100, rate=rate)
    return [plan.learning_rate(step) for step in range(plan.total)]


def test_a_cooldown_stays_at_its_height_until_quantization_and_then_falls_once():
    found = rates(SETTINGS, cooldown)
    assert found[10:60] == [0.4] * 50
    expected = [0.4 * (1 + math.cos(math.pi * k / 40)) / 2 for k in range(40)]
    assert found[60:] == pytest.approx(expected, abs=1e-12)
    assert found[:10] == pytest.approx([0.4 * (k + 1) / 11 for k in range(10)])


def test_a_cooldown_without_float_epochs_is_the_cosine():
    settings = replace(SETTINGS, float_epochs=0)
    assert rates(settings, cooldown) == pytest.approx(rates(settings, cosine))


def test_a_cooldown_without_quantized_epochs_falls_over_the_last_two_fifths():
    found = rates(replace(SETTINGS, float_epochs=10, quantized_epochs=0, warmup=0.0), cooldown)
    assert found[:60] == [0.4] * 60
    expected = [0.4 * (1 + math.cos(math.pi * k / 40)) / 2 for k in range(40)]
    assert found[60:] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("per_byte", "percent"),
    [(10, 5), (30, 14), (100, 23), (300, 31), (1000, 38), (5000, 45), (1e5, 56)],
)
def test_the_law_gives_the_shares_of_its_authors(per_byte, percent):
    assert round(100 * quantized_share(per_byte)) == percent
    s = math.log(per_byte)
    assert quantized_share(per_byte) == pytest.approx(math.exp(s - 6.7297 / s) / per_byte)


def test_the_law_ends_at_zero_for_few_samples():
    assert quantized_share(1.0001) < 1e-6
    assert quantized_share(1.0) == quantized_share(0.2) == 0.0


@pytest.fixture(scope="module")
def space():
    return residual(
        inputs=(Input("image", (1, 6, 6)),),
        output=(3,),
        widths=[(4, 6), (4, 8)],
        depths=[(1,)],
        policy=Policy(weight_bits=(2, 8), activation_bits=(4, 8)),
    )


def test_epochs_are_split_by_the_bytes_of_the_smallest_subnet(space):
    smallest = total(model_bytes, space.decode(space.smallest))
    settings = TrainingSettings(epochs=40, learning_rate=0.3)
    made = split(settings, space, samples=round(25 * smallest))  # S = 1000
    assert (made.float_epochs, made.quantized_epochs, made.epochs) == (25, 15, None)
    assert replace(made, float_epochs=30, quantized_epochs=20, epochs=40) == settings
    few = split(settings, space, samples=1)
    assert (few.float_epochs, few.quantized_epochs) == (39, 1)


def test_settings_with_both_parts_are_not_split(space):
    assert split(SETTINGS, space, samples=100) is SETTINGS


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"float_epochs": 3}, "given float_epochs = 3 too; give either epochs, or float_epochs"),
        ({"float_epochs": 3, "quantized_epochs": 0}, "float_epochs = 3 and quantized_epochs = 0"),
        ({"epochs": 0}, "epochs must be at least 1, given 0"),
    ],
)
def test_epochs_beside_their_parts_are_refused(given, told):
    with pytest.raises(ValueError, match=told):
        TrainingSettings(**{"epochs": 9, **given})


def test_epochs_that_are_not_split_make_no_schedule():
    with pytest.raises(ValueError, match="must be split first"):
        schedule(TrainingSettings(epochs=9), 100)
