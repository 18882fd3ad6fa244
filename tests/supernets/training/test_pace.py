"""The parts of a training whose steps differ are timed, and only those that are not over."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from nas.tasks.criteria import Classification
from supernets.supernet import Supernet
from supernets.training.context import TrainingContext
from supernets.training.methods import Methods
from supernets.training.pace import paces, parts
from supernets.training.schedule import schedule
from supernets.training.step import TrainingStep
from supernets.training.train import batch_of
from tests.supernets.stripes import SETTINGS, Stripes, stripes_space


def step(data: Stripes) -> TrainingStep:
    plan = replace(schedule(SETTINGS, len(data)), highest=1e-9)
    batch = partial(batch_of, data, SETTINGS, device=torch.device("cpu"))
    supernet = Supernet(stripes_space(), seed=0)
    context = TrainingContext(supernet, SETTINGS, plan, Classification(), batch)
    return TrainingStep(context, Methods())


def test_every_part_has_a_pace():
    data = Stripes.drawn()
    made = step(data)
    plan = made.context.plan
    found = paces(made, samples=len(data), budget_s=0.0)
    assert [*found] == [*parts(plan)]
    assert [*found][-1] == (plan.float_steps, plan.total)
    assert all(seconds > 0 for seconds in found.values())


def test_a_part_that_is_over_is_not_timed():
    data = Stripes.drawn()
    made = step(data)
    plan = made.context.plan
    found = paces(made, samples=len(data), done=plan.float_steps, budget_s=0.0)
    assert [*found] == [(plan.float_steps, plan.total)]


def test_parts_without_steps_are_left_out():
    whole = schedule(replace(SETTINGS, largest_first=0.0, quantized_epochs=0), 64)
    assert [*parts(whole)] == [(0, whole.total)]
