"""Sorting channels changes no function, and puts those first that matter most to their readers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from search_spaces.choice import choice, derived
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    BatchNorm2d,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    Input,
    Linear,
    deeper_than,
)
from search_spaces.space import SearchSpace
from supernets.channels import coupled, moved, sorted_places
from supernets.supernet import Supernet
from tests.random_graphs import attention, convolutional
from tests.supernets.stripes import stripes_space


def sort(supernet: Supernet) -> None:
    with torch.no_grad():
        for (address, name), places in sorted_places(supernet).items():
            tensor = supernet.node(address).tensors[name]
            tensor.copy_(tensor.reshape(-1)[places])


def drawn(supernet: Supernet, *shape: int) -> torch.Tensor:
    """A batch of images; norms get scales and shifts that tell channels apart."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            if ".tensors." in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return torch.randn(4, *shape, generator=generator)


def flattened_space() -> SearchSpace:
    """A depthwise convolution, a grouped convolution, a concatenation and a flattened image."""
    graph = Graph(Input("image", (3, 4, 4)))
    width = choice("width", (2, 4, 8))
    graph.add("first", Conv2d(width, 3))
    graph.add("depthwise", DepthwiseConv2d(3))
    graph.add("norm", BatchNorm2d())
    graph.add("second", Conv2d(8, 1), "norm")
    graph.add("grouped", Conv2d(8, 3, groups=2), "second")
    left = graph.add("left", Conv2d(choice("left.width", (3, 6)), 1), "grouped")
    right = graph.add("right", Conv2d(4, 1), "grouped")
    graph.add("both", Concat(2), left, right)
    graph.add("third", Conv2d(choice("third.width", (2, 5)), 1), "both")
    graph.add("relu", Activation("relu"))
    graph.add("flat", Flatten())
    graph.add("head", Linear(3))
    return SearchSpace(graph)


def test_the_largest_network_computes_the_same() -> None:
    for space, shape in ((stripes_space(), (1, 6, 6)), (flattened_space(), (3, 4, 4))):
        supernet = Supernet(space, seed=0)
        images = drawn(supernet, *shape)
        before = supernet(images, space.largest, quantize=False)
        smallest = supernet(images, space.smallest, quantize=False)
        sort(supernet)
        after = supernet(images, space.largest, quantize=False)
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(supernet(images, space.smallest, quantize=False), smallest)


def test_channels_are_in_descending_order_of_the_weights_that_read_them() -> None:
    supernet = Supernet(flattened_space(), seed=0)
    drawn(supernet, 3, 4, 4)
    sort(supernet)
    for address, run in (("second", 1), ("head", 16)):
        weight = supernet.node(address).tensors["weight"].detach().abs()
        sizes = weight.movedim(1, 0).reshape(weight.shape[1] // run, -1).sum(1)
        assert (sizes.diff() <= 0).all()
    assert all((places == places.unique().view_as(places)).all() for places in _again(supernet))


def _again(supernet: Supernet) -> list[torch.Tensor]:
    """The places of a second sort, which moves nothing."""
    return list(sorted_places(supernet).values())


def test_inputs_and_outputs_of_the_network_stay() -> None:
    found = coupled(flattened_space())
    assert {name: group.fixed for name, group in found.groups.items() if group.fixed} == {
        "head.width": "they are the output of the network"
    }
    moving = {(along.address, along.name, along.axes) for along in found.alongs}
    assert ("first", "weight", (0,)) in moving
    assert ("first", "weight", (1,)) not in moving
    assert {axes for address, _, axes in moving if address == "head"} == {(1,)}


def test_nodes_with_larger_parameters_in_another_network_stay() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("first", Conv2d(choice("width", (8, 4)), 3))  # the larger option comes first
    graph.add("second", Conv2d(4, 1))
    found = coupled(SearchSpace(graph))
    assert found.groups["first.width"].fixed == "'first' is to be left alone"


@derived
def left_out(pick: int) -> bool:
    """Whether a block is left out."""
    return pick == 0


def replaced_space() -> SearchSpace:
    """A block of two convolutions, or in its absence a shortcut that halves the image."""
    graph, pick = Graph(Input("image", (3, 4, 4))), choice("pick", (0, 1))
    stem = graph.add("stem", Conv2d(5, 3))
    graph.add("shortcut", Conv2d(4, 1, 2), stem, present=left_out(pick))
    skipped = graph.add("shortcut.norm", BatchNorm2d(), present=left_out(pick))
    graph.add("first", Conv2d(6, 3, 2), skipped, present=deeper_than(pick, 0))
    graph.add("last", Conv2d(4, 1), present=deeper_than(pick, 0))
    graph.add("body", Conv2d(7, 1))
    graph.add("head", Conv2d(2, 1))
    return SearchSpace(graph)


def test_a_node_that_the_largest_network_lacks_holds_the_channels_that_meet_its_own() -> None:
    space = replaced_space()
    found = coupled(space)
    assert found.free == ["first.width", "body.width"]
    reason = "'shortcut.norm' is missing in the largest network"
    assert found.groups["last.width"].fixed == reason
    assert found.groups["stem.width"].fixed == reason.replace(".norm", "")
    assert_moving_changes_no_function(space, (3, 4, 4), seed=0)


@pytest.mark.parametrize("seed", range(12))
def test_units_of_any_network_can_change_places(seed: int) -> None:
    make, shape = (convolutional, (3, 8, 8)) if seed % 3 else (attention, (4, 6))
    assert_moving_changes_no_function(SearchSpace(make(seed)), shape, seed=seed)


def assert_moving_changes_no_function(
    space: SearchSpace, shape: tuple[int, ...], *, seed: int
) -> None:
    """The units of free groups can change places, in any network of a space without widths."""
    supernet, generator = Supernet(space, seed=seed), torch.Generator().manual_seed(seed)
    inputs, found = drawn(supernet, *shape), coupled(space)
    assert found.free
    tensors = {
        (along.address, along.name): supernet.node(along.address).tensors[along.name].detach()
        for along in found.alongs
    }
    orders = {
        name: torch.randperm(found.groups[name].count, generator=generator) for name in found.free
    }
    networks = [*np.ndindex(*(len(one.options) for one in space.choices))]
    before = [supernet(inputs, network) for network in networks]
    with torch.no_grad():
        for (address, name), tensor in moved(found, tensors, orders).items():
            supernet.node(address).tensors[name].copy_(tensor)
    after = [supernet(inputs, network) for network in networks]
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
