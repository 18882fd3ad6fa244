"""The repair of narrower networks: exact where it can be, and never worse on what it looked at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.evaluation.rewrites import post_training
from nas.evaluation.slimming import sorted_tensors
from nas.testing.rewrite import RewriteContract, drawn_tensors
from search_spaces.graph import Graph
from search_spaces.opening import Opening, opened
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
)
from search_spaces.slimming import slimmed
from search_spaces.space import SearchSpace
from supernets.encoded import EncodedTensor
from supernets.inputs import Inputs
from supernets.post_training import PostTraining, Reference, float_network
from supernets.slimming.least_squares import LEAST_SQUARES, behind_cuts, least_squares


def network() -> Graph:
    """A residual block between two convolutions, and a head."""
    graph = Graph(Input("image", (3, 6, 6)))
    graph.add("stem", Conv2d(6, 3))
    x = graph.add("stem.relu", Activation("relu"))
    graph.add("conv1", Conv2d(8, 3))
    graph.add("norm1", BatchNorm2d())
    graph.add("relu1", Activation("relu"))
    main = graph.add("conv2", Conv2d(6, 3))
    graph.add("add", Add(), main, x)
    graph.add("relu", Activation("relu"))
    graph.add("last", Conv2d(4, 3, 2))
    graph.add("last.relu", Activation("relu"))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(3))
    return graph


@pytest.fixture(scope="module")
def tensors() -> Mapping[str, Tensor]:
    return drawn_tensors(SearchSpace(network()))


@pytest.fixture(scope="module")
def batches() -> list[Inputs]:
    drawn = torch.Generator().manual_seed(0)
    return [{"image": torch.randn(8, 3, 6, 6, generator=drawn)} for _ in range(3)]


def outputs(module: torch.nn.Module, batches: list[Inputs]) -> Tensor:
    with torch.no_grad():
        return torch.cat([module(**batch) for batch in batches])


class TestContract(RewriteContract):
    @pytest.fixture
    def maker(self):
        return LEAST_SQUARES


def cut(**picks: int | bool) -> Graph:
    """The network with these options picked, and the largest ones of all other choices."""
    space = SearchSpace(slimmed(network(), shares=(0.25, 0.5, 0.75)))
    options = {made.name: made.options for made in space.choices}
    named = {name.replace("_", "."): value for name, value in picks.items()}
    return space.graph.resolve(
        {name: found.index(named.get(name, found[-1])) for name, found in options.items()}
    )


def test_only_what_stands_behind_a_cut_is_repaired() -> None:
    assert behind_cuts(network(), network()) == set()
    behind = behind_cuts(cut(conv1_width=4), network())
    assert {"conv2", "add", "last", "head"} <= behind
    assert behind.isdisjoint({"stem", "conv1"})
    assert "last" in behind_cuts(cut(add_present=False), network())


def test_a_channel_that_others_make_up_for_costs_nothing(
    tensors: Mapping[str, Tensor], batches: list[Inputs]
) -> None:
    doubled = dict(tensors)  # the last four channels are those before them, times two
    for name in ("conv1.weight", *(f"norm1.{n}" for n in ("mean", "variance", "scale", "shift"))):
        first = tensors[name][:4]
        twice = 2 * first if name in ("norm1.scale", "norm1.shift") else first
        doubled[name] = torch.cat([first, twice])
    whole = Reference(float_network(network(), doubled), batches)
    narrow = float_network(cut(conv1_width=4), doubled)
    exact, given = outputs(whole.module, batches), outputs(narrow.module(), batches)
    repaired = outputs(least_squares(whole)(narrow).module(), batches)
    lost, left = (given - exact).square().mean(), (repaired - exact).square().mean()
    assert left < 0.02 * lost


@pytest.mark.parametrize("picks", [{"conv1_width": 4}, {"stem_width": 4}, {"add_present": False}])
def test_outputs_come_nearer_to_those_of_the_whole_network(
    picks: dict[str, int | bool], tensors: Mapping[str, Tensor], batches: list[Inputs]
) -> None:
    whole = Reference(float_network(network(), tensors), batches)
    narrow = float_network(cut(**picks), tensors)
    exact = outputs(whole.module, batches)
    given, repaired = (
        (outputs(made.module(), batches) - exact).square().mean()
        for made in (narrow, least_squares(whole)(narrow))
    )
    assert repaired < 0.7 * given


def test_narrow_networks_are_repaired_before_anything_is_rounded(
    tensors: Mapping[str, Tensor], batches: list[Inputs]
) -> None:
    held = sorted_tensors(network(), tensors, batches)
    space = SearchSpace(slimmed(network(), shares=(0.5,)))
    made = post_training(space, held, batches, rewrites=("least-squares", "round-biases"))
    assert isinstance(made, PostTraining)
    whole = made.reference(space.largest)
    np.testing.assert_array_equal(
        whole.network.parameters["last"]["weight"],
        float_network(network(), held).parameters["last"]["weight"],
    )
    exact = outputs(whole.module, batches)
    without = float_network(space.decode(space.smallest), held)
    given = outputs(without.module(), batches)
    repaired = outputs(made.full_precision(space.smallest), batches)
    assert (repaired - exact).square().mean() < (given - exact).square().mean()
    shipped = outputs(made(space.smallest).module(), batches)
    torch.testing.assert_close(shipped, repaired)


def test_precisions_and_widths_are_chosen_together(
    tensors: Mapping[str, Tensor], batches: list[Inputs]
) -> None:
    narrow = slimmed(network(), shares=(0.5,))
    space = SearchSpace(opened(narrow, Opening(weights=(4, None), activations=(None,))))
    made = post_training(space, tensors, batches, rewrites=("least-squares", "nearest"))
    names = {choice.name for choice in space.choices}
    assert {"conv1.width", "add.present"} <= names
    assert any(name.endswith("weight.bits") for name in names)
    deployed = made(space.smallest)
    assert isinstance(deployed.weight("last"), EncodedTensor)
    assert "conv1" not in deployed.graph.nodes
    assert outputs(deployed.module(), batches).isfinite().all()
