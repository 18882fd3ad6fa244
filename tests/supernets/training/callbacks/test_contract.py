"""The contract of callbacks finds what must not be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas.testing.callback import CallbackContract
from supernets.training.callbacks import Callback
from supernets.training.context import Moment, TrainingContext
from supernets.training.methods import Methods


class Forgetful(Callback):
    """A callback whose memory is not in checkpoints."""

    count = 0

    def before_update(self, moment: Moment) -> None:
        self.count += 1
        for parameter in self.context.supernet.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(1 + self.count)


class Growing(Callback):
    """A callback whose memory grows."""

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self.steps = torch.zeros(0)

    def after_update(self, moment: Moment) -> None:
        self.steps = torch.cat([self.steps, torch.tensor([float(moment.step)])])

    def tensors(self) -> dict[str, Tensor]:
        return {"steps": self.steps}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.steps = tensors["steps"]


class Hasty(Callback):
    """A callback that changes weights before the update."""

    def before_step(self, moment: Moment) -> None:
        with torch.no_grad():
            next(self.context.supernet.parameters()).add_(0.1)


class Dicing(Callback):
    """A callback that draws from torch's global generator."""

    def before_step(self, moment: Moment) -> None:
        torch.rand(1)


def test_a_memory_that_is_not_in_checkpoints_is_found(tmp_path: Path) -> None:
    contract = CallbackContract()
    with pytest.raises(AssertionError):
        contract.test_a_training_that_is_stopped_and_resumed_ends_the_same(
            Methods(callbacks={"tested": Forgetful}), tmp_path
        )


def test_a_memory_of_changing_form_is_found(tmp_path: Path) -> None:
    contract = CallbackContract()
    contract.kind = Growing
    with pytest.raises(AssertionError):
        contract.test_the_memory_keeps_its_form(Methods(), tmp_path)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [(Hasty, "before_step changes"), (Dicing, "draws from torch's global generator")],
)
def test_a_callback_that_changes_more_than_it_may_is_found(
    kind: type[Callback], fault: str, tmp_path: Path
) -> None:
    contract = CallbackContract()
    contract.kind = kind
    with pytest.raises(AssertionError, match=fault):
        contract.test_parameters_change_in_the_update_only_and_keep_their_form(tmp_path)
