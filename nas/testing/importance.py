"""The contract of a score of importance, by which the channels of a trained network are sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from nas.testing.rewrite import assert_equal_numbers, drawn_tensors, numbers_of
from search_spaces.channel_groups import Coupling
from search_spaces.coupling import coupling
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
)
from search_spaces.space import SearchSpace
from supernets.inputs import Inputs
from supernets.post_training import Reference, float_network
from supernets.slimming import Importance, sorted_by

SIDE, DEAD = 6, 3


class ImportanceContract:
    """Give `importance`, the score under test, and inherit the tests.

    The network of the tests has a residual block, a depthwise convolution and a concatenation. Unit
    3 of the group `inner.width` is always zero, and is read with weights of zero.
    """

    @pytest.fixture
    def importance(self) -> Importance:
        raise NotImplementedError("a subclass gives the score under test")

    @pytest.fixture
    def graph(self) -> Graph:
        graph = Graph(Input("image", (3, SIDE, SIDE)))
        x = graph.add("stem", Conv2d(6, 3))
        graph.add("inner", Conv2d(5, 3, bias=True))
        graph.add("inner.relu", Activation("relu"))
        main = graph.add("outer", Conv2d(6, 3))
        main = graph.add("outer.norm", BatchNorm2d())
        x = graph.add("add", Add(), main, x)
        side = graph.add("side", DepthwiseConv2d(3))
        graph.add("both", Concat(2), x, side)
        graph.add("relu", Activation("relu"))
        graph.add("mixed", Conv2d(4, 1))
        graph.add("mixed.relu", Activation("relu"))
        graph.add("pool", GlobalPool())
        graph.add("flat", Flatten())
        graph.add("head", Linear(3))
        return graph

    @pytest.fixture
    def tensors(self, graph: Graph) -> Mapping[str, Tensor]:
        held = drawn_tensors(SearchSpace(graph))
        for name in ("inner.weight", "inner.bias", "outer.weight"):
            held[name] = held[name].clone()
        held["inner.weight"][DEAD] = held["inner.bias"][DEAD] = 0
        held["outer.weight"][:, DEAD] = 0
        return held

    @pytest.fixture
    def batches(self) -> Sequence[Inputs]:
        drawn = torch.Generator().manual_seed(0)
        return [{"image": torch.randn(6, 3, SIDE, SIDE, generator=drawn)} for _ in range(2)]

    @pytest.fixture
    def reference(
        self, graph: Graph, tensors: Mapping[str, Tensor], batches: Sequence[Inputs]
    ) -> Reference:
        return Reference(float_network(graph, tensors), batches)

    @pytest.fixture
    def found(self, graph: Graph) -> Coupling:
        return coupling(graph)

    def test_every_unit_has_a_finite_score(
        self, importance: Importance, reference: Reference, found: Coupling
    ) -> None:
        scores = importance(reference, found)
        assert scores.keys() <= set(found.free)
        for name, numbers in scores.items():
            assert numbers.shape == (found.groups[name].count,), name
            assert bool(numbers.isfinite().all()), name

    def test_a_unit_that_is_always_zero_is_the_least_important(
        self, importance: Importance, reference: Reference, found: Coupling
    ) -> None:
        assert int(importance(reference, found)["inner.width"].argmin()) == DEAD

    def test_scores_do_not_depend_on_the_order_of_channels(
        self,
        importance: Importance,
        graph: Graph,
        tensors: Mapping[str, Tensor],
        batches: Sequence[Inputs],
    ) -> None:
        found = coupling(graph)
        ordered = sorted_by(importance, graph, tensors=tensors, batches=batches)
        scores = importance(Reference(float_network(graph, ordered), batches), found)
        for name, numbers in scores.items():
            falls = numbers[:-1] - numbers[1:]
            assert bool((falls >= -1e-3 * numbers.abs().max()).all()), name

    def test_sorting_changes_no_output(
        self,
        importance: Importance,
        graph: Graph,
        tensors: Mapping[str, Tensor],
        batches: Sequence[Inputs],
    ) -> None:
        ordered = sorted_by(importance, graph, tensors=tensors, batches=batches)
        with torch.no_grad():
            before, after = (
                float_network(graph, held).module()(**batches[0]) for held in (tensors, ordered)
            )
        torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)

    def test_nothing_that_was_given_changes(
        self, importance: Importance, reference: Reference, found: Coupling
    ) -> None:
        before, drawn = numbers_of(reference.network), torch.get_rng_state()
        held = {name: tensor.clone() for name, tensor in reference.module.state_dict().items()}
        first, again = importance(reference, found), importance(reference, found)
        assert_equal_numbers(before, numbers_of(reference.network))
        assert all(torch.equal(t, held[n]) for n, t in reference.module.state_dict().items())
        assert torch.equal(torch.get_rng_state(), drawn), "draws from torch's global generator"
        for name, numbers in first.items():
            torch.testing.assert_close(again[name], numbers)
