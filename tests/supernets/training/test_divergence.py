"""Training that learns nothing is stopped, and the setting to change is named."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from supernets.training.divergence import (
    TrainingDiverged,
    has_forgotten,
    has_learnt,
    is_hopeless,
    is_useless,
    remedy,
)
from supernets.training.schedule import TrainingSettings
from tests.supernets.stripes import SETTINGS, train_stripes

STEPS = [torch.full((3,), -4.0)]


@pytest.mark.parametrize(
    ("settings", "blamed"),
    [
        ({"learning_rate": 1e6, "weight_decay": 0.0}, "lower learning_rate from 1e+06"),
        ({"learning_rate": 1e6}, "lower learning_rate from 1e+06"),
        ({"learning_rate": 100.0}, "lower learning_rate from 100"),
        ({"step_rate": 1e6}, "lower step_rate from 1e+06"),
    ],
)
def test_the_setting_that_caused_it_is_named(
    settings: dict[str, float], blamed: str, tmp_path: Path
) -> None:
    wild = replace(SETTINGS, float_epochs=6, **settings)
    with pytest.raises(TrainingDiverged) as end:
        train_stripes(tmp_path / "state", settings=wild)
    assert blamed in str(end.value)
    assert "train anew" in str(end.value)
    assert re.search(r"went back to step \d+ with a third of the learning rate", str(end.value))


def test_a_setting_that_is_twice_too_high_is_survived(tmp_path: Path) -> None:
    decays = replace(SETTINGS, float_epochs=6, weight_decay=2.7, checkpoint_seconds=1e9)
    _, history = train_stripes(tmp_path / "state", settings=decays)
    assert history.returned is not None
    assert history.losses[-4:].max() < history.guess


@pytest.mark.parametrize(("rate", "decay"), [(0.2, 5.0), (0.2, 1e6), (1.0, 1.0), (0.1, math.inf)])
def test_a_decay_of_more_than_all_is_refused(rate: float, decay: float) -> None:
    with pytest.raises(ValueError, match=r"weight_decay must be below 1 / learning_rate = \d+"):
        TrainingSettings(learning_rate=rate, weight_decay=decay)


@pytest.mark.parametrize(
    ("losses", "growth", "ends", "useless"),
    [
        ([1.0, 1.2], 1.0, True, False),
        ([2.2, 2.4, 2.3], 1.0, True, False),  # as good as a guess: told, but it may be the data
        ([3.0, 3.1, 3.0], 1.0, True, True),
        ([3.0, 3.1, 3.0], 1.0, False, False),  # it may recover
        ([1.0, 5.0], 1.0, True, False),  # two steps say little
        ([30.0, 40.0], 1.0, False, True),
        ([2.2, 2.3], 0.01, True, True),
        ([2.2, 2.3], 100.0, True, True),
        ([0.5, 0.6], 100.0, True, False),
        ([math.inf, 1.0], 1.0, False, True),
    ],
)
def test_what_is_useless(losses: list[float], growth: float, ends: bool, useless: bool) -> None:
    assert is_useless(losses, guess=2.3, untrained=2.5, growth=growth, ends=ends) is useless


def test_hopeless_steps_are_found_within_an_epoch() -> None:
    wild = [26.0] * 20
    assert is_hopeless(wild, guess=2.3, untrained=2.5)
    assert is_hopeless([math.nan] * 20, guess=2.3, untrained=2.5)
    assert not is_hopeless(wild[1:], guess=2.3, untrained=2.5)
    assert not is_hopeless([*wild[1:], 24.0], guess=2.3, untrained=2.5)
    assert not is_hopeless([24.0, *wild[1:]], guess=2.3, untrained=2.5)


def test_an_epoch_has_learnt_if_also_its_last_steps_have() -> None:
    assert has_learnt([2.0, 1.9], guess=2.3)
    assert not has_learnt([2.3, 2.2], guess=2.3)
    assert not has_learnt([1.0] * 100 + [2.3] * 20, guess=2.3)
    assert not has_learnt([1.0, math.nan], guess=2.3)


def test_a_network_has_forgotten_if_it_is_as_bad_as_a_guess() -> None:
    assert has_forgotten([2.3, 2.29, 2.31], guess=2.3)
    assert not has_forgotten([2.1, 2.0, 2.2], guess=2.3)
    assert not has_forgotten([1.5, 3.5], guess=2.3)  # two steps say little


def test_settings_near_their_defaults_are_not_blamed() -> None:
    told = remedy(TrainingSettings(), growth=1.0, steps=STEPS)
    assert "lower learning_rate from 0.2 to 0.067 or raise warmup" in told
    assert "default" not in told
    told = remedy(TrainingSettings(), growth=1.0, steps=STEPS, slower=1 / 3)
    assert "lower learning_rate from 0.2 to 0.022" in told


@pytest.mark.parametrize(
    ("settings", "growth", "log_step", "first"),
    [
        ({"momentum": 0.999}, 50.0, -4.0, "momentum from 0.999"),
        ({"gradient_clip": 1e5}, 2.0, 1e4, "gradient_clip from 100000"),
        ({"step_rate": 50.0, "learning_rate": 2.0}, 2.0, 300.0, "step_rate from 50"),
        ({"step_rate": 50.0, "learning_rate": 20.0}, 1e3, -4.0, "learning_rate from 20"),
        ({"step_rate": 50.0}, 2.0, math.nan, "step_rate from 50"),
        ({"weight_decay": 0.5, "step_rate": 50.0}, 1e-3, -4.0, "weight_decay from 0.5"),
    ],
)
def test_what_moved_decides_which_comes_first(
    settings: dict[str, float], growth: float, log_step: float, first: str
) -> None:
    steps = [*STEPS, torch.full((2,), log_step)]
    told = remedy(TrainingSettings(**settings), growth=growth, steps=steps)
    assert f"lower {first} towards its default" in told
    assert all(name in told for name in settings)
