"""Quantizer steps whose gradient changes its sign more often than at random are frozen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.testing.callback import CallbackContract
from nas.testing.training import context_of, points_space
from supernets.training.callbacks.conflict_freezing import ConflictFreezing, is_disordered
from supernets.training.context import Moment

FIRST = 6  # quantized step of the context below


class TestConflictFreezing(CallbackContract):
    kind = ConflictFreezing


class TestOfShortWindows(CallbackContract):
    """The same with windows so short that steps are frozen in the training of the contract."""

    kind = ConflictFreezing

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("supernets.training.callbacks.conflict_freezing._WINDOW", 2)
        monkeypatch.setattr("supernets.training.callbacks.conflict_freezing._ERRORS", 0)


def test_more_turns_than_of_random_signs_are_disorder() -> None:
    rng = np.random.default_rng(0)
    turns = torch.from_numpy(rng.binomial(100, 0.5, 10_000))
    share = is_disordered(turns, torch.full((10_000,), 100.0)).float().mean()
    assert 0.005 < share < 0.03  # of a normal distribution, 2.3 percent lie above
    counts = torch.tensor([0.0, 4.0, 5.0, 100.0, 100.0])
    found = is_disordered(torch.tensor([0.0, 4.0, 5.0, 60.0, 61.0]), counts)
    assert found.tolist() == [False, False, True, False, True]


def test_a_step_with_quarrelling_passes_rests_for_a_window() -> None:
    context = context_of(points_space(), quantized_epochs=60)
    callback = ConflictFreezing(context)
    groups = context.supernet.parameter_groups()
    torn, calm, idle = groups["weight_steps"][:3]

    def step(at: int, *passes: float) -> None:
        """A training step in which passes pull at a step, and momentum moves all steps."""
        moment, genotype = Moment(at, context.plan), context.supernet.space.largest
        torn.grad, calm.grad, idle.grad = torch.zeros_like(torn), torch.zeros_like(calm), None
        callback.before_step(moment)
        for place, pull in enumerate(passes):
            torn.grad += pull
            calm.grad += abs(pull)
            callback.after_pass(moment, place, genotype)
        callback.before_update(moment)
        with torch.no_grad():
            for parameter in (torn, calm, idle):
                parameter.add_(1.0)
        callback.after_update(moment)

    for n in range(FIRST):  # in full precision nothing is counted
        step(n, 1.0, -1.0)
    for n in range(50):
        step(FIRST + n, 1.0, -2.0, 1.5)
    assert float(torn.detach()[0]) == FIRST + 50
    for n in range(50, 100):
        step(FIRST + n, 1.0, 2.0)
        assert torn.grad is not None
        assert calm.grad is not None
        assert not torn.grad.any()
        assert calm.grad.all()
    assert float(torn.detach()[0]) == FIRST + 50, "rested for a window"
    step(FIRST + 100, 1.0, 2.0)
    assert float(torn.detach()[0]) == FIRST + 51
    assert float(calm.detach()[0]) == float(idle.detach()[0]) == FIRST + 101
