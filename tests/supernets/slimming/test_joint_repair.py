"""The repair of all layers together: nearer to the whole network, and never worse."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from nas.testing.rewrite import RewriteContract, assert_same, drawn_tensors
from search_spaces.graph import Graph
from search_spaces.ops import Input, Linear, Outputs
from search_spaces.space import SearchSpace
from supernets.assemble import module_name
from supernets.deployed import values
from supernets.inputs import Inputs
from supernets.post_training import Reference, float_network
from supernets.post_training.post_training import OfLargest
from supernets.slimming.joint_repair import features, joint_repair, varied
from supernets.slimming.least_squares import least_squares
from tests.supernets.slimming.test_least_squares import cut, network


class TestContract(RewriteContract):
    @pytest.fixture
    def maker(self):
        return OfLargest(partial(joint_repair, rounds=2))


@pytest.fixture(scope="module")
def whole() -> Reference:
    drawn = torch.Generator().manual_seed(0)
    batches = [{"image": torch.randn(8, 3, 6, 6, generator=drawn)} for _ in range(3)]
    return Reference(float_network(network(), drawn_numbers()), batches)


def last_features(module: torch.fx.GraphModule, batches: list[Inputs]) -> torch.Tensor:
    layer = module.get_submodule(module_name("head"))
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, read: seen.append(read[0]))
    with torch.no_grad():
        for batch in batches:
            module(**batch)
    hook.remove()
    return torch.cat(seen)


def test_features_come_nearer_than_layer_by_layer(whole: Reference) -> None:
    narrow = float_network(cut(stem_width=4, conv1_width=4), drawn_numbers())
    first = least_squares(whole)(narrow)
    both = joint_repair(whole, rounds=20)(first)
    exact = last_features(whole.module, [*whole.batches])
    errors = [
        float((last_features(made.module(), [*whole.batches]) - exact).square().mean())
        for made in (first, both)
    ]
    assert errors[1] < 0.8 * errors[0]


def drawn_numbers() -> dict[str, torch.Tensor]:
    return drawn_tensors(SearchSpace(network()))


def test_a_network_without_a_cut_stays(whole: Reference) -> None:
    assert joint_repair(whole)(whole.network) is whole.network


def test_a_network_that_comes_no_nearer_stays(
    whole: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supernets.slimming.joint_repair._RATE", 100.0)
    narrow = float_network(cut(conv1_width=4), drawn_numbers())
    assert_same(joint_repair(whole, rounds=2)(narrow), narrow)


def test_the_last_layer_learns_where_features_are_missing(whole: Reference) -> None:
    narrow = float_network(cut(last_width=2), drawn_numbers())
    both = joint_repair(whole, rounds=5)(narrow)
    given, learned = (values(made.parameters["head"]["weight"]) for made in (narrow, both))
    assert not np.array_equal(given, learned)


def test_features_are_the_largest_tensors_before_the_last_layers() -> None:
    assert features(network()) == ["last.relu"]
    graph = Graph(Input("features", (4,)))
    x = graph.add("body", Linear(5))
    one, other = graph.add("one", Linear(2), x), graph.add("other", Linear(3), x)
    graph.add("outputs", Outputs(names=("one", "other")), one, other)
    assert features(graph) == ["body"]


def test_only_images_are_mirrored_and_shifted() -> None:
    images = torch.arange(2 * 16.0 * 16).reshape(2, 1, 16, 16) + 1
    drawn = torch.Generator().manual_seed(1)
    (made,) = varied({"image": images}, drawn).values()
    assert made.shape == images.shape
    assert not torch.equal(made, images)
    assert {*made[0].unique().tolist()} <= {0.0, *images[0].unique().tolist()}
    for batch in ({"tokens": torch.ones(2, 5)}, {"one": images, "other": images}):
        assert varied(batch, drawn) is batch
