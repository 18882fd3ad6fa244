"""The ablation of trainings names every part, and pairs its results by seed."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from benchmarks.training_ablation import DEFAULT, Trial, overrides, rows, variants
from nas.parts import Parts


def _keep(folder, variant, seed, *, accuracy, **other):
    trial = Trial("architecture", "short", "selection", variant, seed)
    held = {"settings": asdict(trial.settings()), "cpu_seconds": 2.0, **other}
    scores = {} if accuracy is None else {"accuracy": [accuracy] * 24 + [accuracy + 5]}
    trial.path(folder).write_text(json.dumps({**held, **scores}))
    return trial


def test_every_part_that_is_no_default_has_a_variant() -> None:
    named = variants()
    assert named[0] == DEFAULT
    for kind in ("sampler", "teacher", "divergence", "mix", "quantizer", "schedule"):
        others = [f"{kind}={name}" for name in Parts(kind)][1:]
        assert [name for name in named if name.startswith(f"{kind}=")] == others
    assert {f"callbacks={name}" for name in Parts("callback")} <= {*named}


def test_a_variant_is_default_settings_with_its_own() -> None:
    assert overrides(DEFAULT) == {}
    trial = Trial("bits", "long", "report", "random_subnets=3,callbacks=one+two,distillation=1", 2)
    settings = trial.settings()
    assert (settings.float_epochs, settings.quantized_epochs, settings.seed) == (24, 16, 2)
    assert (settings.random_subnets, settings.distillation) == (3, 1.0)
    assert settings.callbacks == ("one", "two")
    with pytest.raises(ValueError, match="SETTING=VALUE"):
        overrides("nonsense=3")


def test_differences_are_paired_over_the_seeds_that_both_have(tmp_path) -> None:
    trials = [
        *(_keep(tmp_path, DEFAULT, seed, accuracy=40.0 + seed) for seed in (10, 11, 12)),
        _keep(tmp_path, "random_subnets=3", 10, accuracy=51.0),
        _keep(tmp_path, "random_subnets=3", 11, accuracy=54.0, cpu_seconds=6.0),
        _keep(tmp_path, "mix=constant", 11, accuracy=None, diverged="at step 3"),
        Trial("architecture", "short", "selection", "distillation=1", 10),
    ]
    default, more, diverged = rows(trials, tmp_path)
    assert default.startswith("| default | 51.00 ± 0.58 | 51.00 ± 0.58 | 56.00 ± 0.58 | 1.00 | 3 |")
    assert more.startswith("| random_subnets=3 | +2.00 ± 1.00 | +2.00 ± 1.00 | +2.00 ± 1.00 | 2.00")
    assert "1 of 1 diverged" in diverged


def test_results_of_other_settings_are_refused(tmp_path) -> None:
    trial = _keep(tmp_path, DEFAULT, 10, accuracy=40.0)
    kept = json.loads(trial.path(tmp_path).read_text())
    kept["settings"]["learning_rate"] = 7.0
    trial.path(tmp_path).write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"learning_rate; give another --run folder"):
        trial.result(tmp_path)
