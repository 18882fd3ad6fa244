"""A training that diverges goes back to its last good state once, and on at a lower rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.testing.callback import Stopped, assert_same, stop_at
from nas.testing.training import context_of, points_space, trained
from supernets.checkpoint import CheckpointError
from supernets.training.callbacks import Callback
from supernets.training.context import Moment, TrainingContext
from supernets.training.methods import Methods
from supernets.training.state import SLOWER, Return, TrainingState
from supernets.training.step import TrainingStep
from supernets.training.train import History, TrainingDiverged
from supernets.training.watch import is_sound, trouble_of

LONG: dict[str, Any] = {"float_epochs": 8, "quantized_epochs": 4}
SPIKE = 32  # of 36 steps, 24 of which are in full precision


class Spikes(Callback):
    """Gradients that are not finite in some steps, each but once in a process."""

    def __init__(self, context: TrainingContext, steps: list[int]) -> None:
        super().__init__(context)
        self.left = steps

    def before_update(self, moment: Moment) -> None:
        if moment.step in self.left:
            self.left.remove(moment.step)
            for parameter in self.context.supernet.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(torch.nan)


def spiked(path: Path, *steps: int, **changed: Any) -> tuple[Any, History]:
    left = [*steps]
    methods = Methods(callbacks={"spikes": lambda context: Spikes(context, left)})
    return trained(path, methods=methods, **LONG | changed)


@pytest.fixture(scope="module")
def returned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, History, list[str]]:
    """A training that diverged once and went back: supernet, history, and what was said."""
    said: list[str] = []
    path = tmp_path_factory.mktemp("returned") / "state"
    return *spiked(path, SPIKE, say=said.append), said


def test_it_goes_back_to_the_last_epoch_that_learnt(returned: Any) -> None:
    _, history, (said,) = returned
    assert history.returned is not None
    assert history.returned.found == SPIKE
    assert history.returned.step % 3 == 0
    assert 0 < history.returned.step < SPIKE
    assert np.isfinite(history.losses).all()
    assert f"training diverged at step {SPIKE} of 36" in said
    assert f"went back to step {history.returned.step} with a third of the learning rate" in said


def test_it_goes_on_from_there_at_a_third_of_the_rate(returned: Any, tmp_path: Path) -> None:
    supernet, history, _ = returned
    path = tmp_path / "state"
    with pytest.raises(Stopped):
        spiked(path, progress=stop_at(history.returned.step))
    state = state_of()
    state.load(path)
    before = state.moment.plan.learning_rate(state.step)
    state.returned = history.returned
    assert state.moment.plan.learning_rate(state.step) == pytest.approx(before / 3)
    state.save(path)
    resumed, again = spiked(path)
    assert np.array_equal(history.losses, again.losses)
    assert_same(supernet.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("stops", [(30,), (3, 34)])
def test_stopped_and_resumed_it_ends_the_same(
    returned: Any, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    supernet, history, _ = returned
    path = tmp_path / "state"
    for stop in stops:
        with pytest.raises(Stopped):  # step 34 is reached after the return alone
            spiked(path, SPIKE, progress=stop_at(stop))
    left = () if stops[-1] > SPIKE else (SPIKE,)
    resumed, again = spiked(path, *left)
    assert np.array_equal(history.losses, again.losses)
    assert again.returned == history.returned
    assert_same(supernet.state_dict(), resumed.state_dict())


def test_before_anything_is_learnt_it_begins_anew(tmp_path: Path) -> None:
    supernet, history = spiked(tmp_path / "state", 2)
    assert history.returned == Return(2, 0)
    slower, _ = spiked(tmp_path / "slower", learning_rate=0.2 * SLOWER)
    assert_same(supernet.state_dict(), slower.state_dict())


def test_the_second_time_it_ends(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingDiverged, match=r"at step 4 of.* at step 2 before, .*back to step 0"
    ):
        spiked(tmp_path / "state", 2, 4)


def state_of() -> TrainingState:
    context = context_of(points_space(), **LONG)
    methods = Methods(callbacks={"spikes": lambda made: Spikes(made, [])})
    return TrainingState(TrainingStep(context, methods), samples=24)


def recorded(*losses: float) -> TrainingState:
    """The state of a training with the mean losses of its first epochs, of which none has moved."""
    state = state_of()
    for loss in losses:
        for _ in range(3):
            state.record([loss, loss / 2, loss])
        if is_sound(state, 1.0):
            state.trust()
    return state


@pytest.mark.parametrize(
    ("losses", "wrong"),
    [
        ((1.0, 0.5, 1.0), True),  # forgot
        ((1.0, 1.0, 1.0), False),  # has not learnt so far
        ((1.0, 0.5, 0.9), False),
        ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0), False),  # the first quantized epoch
        ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0), True),
        ((1.0, 11.0), True),
    ],
)
def test_a_training_that_forgets_all_is_in_trouble(losses: tuple[float, ...], wrong: bool) -> None:
    assert (trouble_of(recorded(*losses), 1.0) is not None) is wrong


def test_the_last_epoch_that_learnt_is_trusted() -> None:
    assert recorded(0.99, 0.98).good == 0
    assert recorded(0.8, 0.5, 0.95).good == 6
    state = state_of()
    with torch.no_grad():
        next(state.supernet.parameters()).fill_(torch.inf)
    for _ in range(3):
        state.record([0.5, 0.5, 0.5])
    assert not is_sound(state, 1.0)


def test_a_good_state_ahead_of_the_checkpoint_is_damage(tmp_path: Path) -> None:
    state = recorded(0.8)
    state.good = 4
    state.save(tmp_path / "state")
    with pytest.raises(CheckpointError, match=r"of step '3' with a good state of step 4.*delete"):
        state_of().load(tmp_path / "state")
