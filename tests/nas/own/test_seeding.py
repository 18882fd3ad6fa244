"""A search begins with all uniform policies, then with those that lose least by their sums."""

import numpy as np
import pytest
import torch

from nas.evaluation.rewrites import post_training
from nas.own.seeding import first_policies
from nas.own.sensitivities import KINDS, Sensitivities
from nas.own.uniform import uniform_names
from nas.problem.goals import Goal
from nas.targets import legal, load_target
from search_spaces.graph import Graph
from search_spaces.opening import Opening, opened
from search_spaces.ops import Activation, Input, Linear
from search_spaces.space import SearchSpace


@pytest.fixture(scope="module")
def made():
    graph = Graph(Input("x", (6,)))
    for name, width in (("first", 8), ("second", 8), ("third", 3)):
        graph.add(name, Linear(width))
        if width == 8:
            graph.add(f"{name}.relu", Activation("relu"))
    drawn = torch.Generator().manual_seed(0)
    sizes = {"first": (8, 6), "second": (8, 8), "third": (3, 8)}
    tensors = {f"{at}.weight": torch.randn(size, generator=drawn) for at, size in sizes.items()}
    tensors |= {f"{at}.bias": torch.zeros(size[0]) for at, size in sizes.items()}
    target = load_target("edge-npu")
    opening = Opening(weights=(4, 8, None), activations=(4, 8, None))
    space = legal(SearchSpace(opened(graph, opening)), [target])
    samples = [{"x": torch.randn(32, 6, generator=drawn)}]
    return space, target, post_training(space, tensors, samples, rewrites=("ranges", "nearest"))


def test_sensitivities_are_measured_once_and_go_on_where_they_were(made, tmp_path):
    space, _, network = made
    told = []
    kept = Sensitivities(tmp_path / "kept.json", "one")
    found = kept.of(space, network, lambda done, total: told.append((done, total)))
    assert [*found] == [*KINDS]
    assert told[-1] == (told[-1][1],) * 2
    count = len(told)
    again = kept.of(space, network, lambda done, total: told.append((done, total)))
    assert len(told) == count
    assert again["output-distance"].weights == found["output-distance"].weights
    Sensitivities(tmp_path / "kept.json", "other").of(space, network, lambda *at: told.append(at))
    assert len(told) == 2 * count


def test_fewer_bits_never_lose_less(made, tmp_path):
    space, _, network = made
    found = Sensitivities(tmp_path / "kept.json", "one").of(space, network, lambda *_: None)
    for cost in found.values():
        for values in (cost.weights, cost.activations):
            for (address, quant), value in values.items():
                if quant is not None and quant.bits == 4:
                    eight = next(
                        v for (a, q), v in values.items() if a == address and q and q.bits == 8
                    )
                    assert value >= eight


def test_all_uniform_policies_come_first_then_allocated_ones(made, tmp_path):
    space, target, network = made
    found = Sensitivities(tmp_path / "kept.json", "one").of(space, network, lambda *_: None)
    goal = Goal(target.name, target.compile(space), ("latency_ms",))
    uniform = [*uniform_names(space)]
    first = first_policies(space, [goal], uniform=uniform, sensitivities=found, most=5)
    assert first[: len(uniform)] == uniform
    further = first[len(uniform) :]
    assert 0 < len(further) <= 5
    assert len({*first}) == len(first)
    spent = goal.values(np.array(uniform))[:, 0]
    within = goal.values(np.array(further))[:, 0]
    assert (within <= spent.max()).all()
    assert first_policies(space, [goal], uniform=uniform, sensitivities={}, most=5) == uniform
