"""A goal that is made by hand keeps the limits of the device."""

import dataclasses

import numpy as np
import pytest

from nas.problem.goals import Goal, within_device
from nas.targets import legal, load_target
from nas.targets.device_costs import DeviceCosts
from search_spaces.ops import Input
from search_spaces.residual import residual


@pytest.fixture(scope="module")
def target():
    return load_target("microcontroller")


@pytest.fixture(scope="module")
def space(target):
    made = residual((Input("image", (1, 8, 8)),), (10,), widths=[[8], [8, 16]], depths=[[1, 2]])
    return legal(made, [target])


@pytest.fixture(scope="module")
def costs(space, target):
    return target.compile(space)


def test_a_goal_knows_the_memory_of_the_device_whose_costs_it_has(target, costs):
    goal = Goal(target.name, costs, ("latency_ms",))
    assert target.limits
    assert goal.limits == target.limits
    assert set(goal.origins) == set(target.limits)
    answered = dataclasses.replace(goal, costs=dict(costs))
    assert answered.limits == target.limits


def test_of_two_limits_the_smaller_holds(target, costs):
    (name, held), *_ = target.limits.items()
    tighter = Goal(target.name, costs, ("latency_ms",), {name: held / 2, "latency_ms": 1.0})
    assert tighter.limits == {**target.limits, name: held / 2, "latency_ms": 1.0}
    assert Goal(target.name, costs, ("latency_ms",), {name: 2 * held}).limits == target.limits


def test_a_network_beyond_the_memory_violates_such_a_goal(space, costs):
    rows = np.array([space.smallest])
    assert Goal("board", costs, ("latency_ms",)).violation(rows)[0] == 0
    tiny = DeviceCosts(costs, dict.fromkeys(costs.limits, 1e-3))
    assert Goal("tiny", tiny, ("latency_ms",)).violation(rows)[0] > 0


def test_limits_name_their_origin():
    ram = "peak_activation_bytes"
    origin = "the device has 5,000 bytes of RAM"
    assert within_device({}, {ram: 5e3}) == ({ram: 5e3}, {ram: origin})
    limits, origins = within_device({ram: 7.0, "b": 1.0}, {ram: 5e3})
    assert limits == {ram: 7.0, "b": 1.0}
    assert origins == {ram: f"{origin}, 7 is asked for"}


def test_goals_and_targets_show_themselves_shortly(target, costs):
    goal = Goal("board", costs, ("latency_ms",), {"latency_ms": 2.0})
    assert repr(goal).startswith("<Goal 'board': least error, latency_ms within latency_ms ≤ 2")
    assert repr(target).startswith("<HardwareTarget 'microcontroller': ")
    assert len(repr(target)) < 250
    assert "<td>latency_ms</td><td>minimised</td><td>2</td>" in goal._repr_html_()
    assert target.device in target._repr_html_()
