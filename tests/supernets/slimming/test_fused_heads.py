"""Heads whose queries, keys and values are made by one layer: each head goes as a whole."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.evaluation.slimming import sorted_tensors
from search_spaces.graph import Graph
from search_spaces.ops import Input, Linear
from search_spaces.slimming import slimmed
from search_spaces.space import SearchSpace
from supernets.extract import detached
from supernets.inputs import Inputs
from supernets.post_training import Reference, float_network
from supernets.slimming import least_squares
from supernets.supernet import Supernet
from supernets.weights import WeightsError
from tests.search_spaces.test_slimming import fused

HEADS, SIZE = 4, 2


@pytest.fixture(scope="module")
def tensors() -> Mapping[str, Tensor]:
    return drawn_numbers(fused())


def drawn_numbers(graph: Graph) -> dict[str, Tensor]:
    """Numbers as a traced network has them: the features of all heads are one axis."""
    drawn, shapes = torch.Generator().manual_seed(0), graph.shapes()
    return {
        f"{address}.{name}": torch.randn(parameter.shape, generator=drawn)
        for address, node in graph.nodes.items()
        for name, parameter in node.op.parameters(*(shapes[r] for r in node.inputs)).items()
    }


@pytest.fixture(scope="module")
def batch() -> Inputs:
    return {"tokens": torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(1))}


def outputs(graph: Graph, tensors: Mapping[str, Tensor], batch: Inputs) -> Tensor:
    with torch.no_grad():
        return float_network(graph, tensors).module()(**batch)


def test_sorting_heads_changes_no_output(tensors: Mapping[str, Tensor], batch: Inputs) -> None:
    ordered = sorted_tensors(fused(), tensors, [batch])
    assert not torch.equal(ordered["qkv.weight"], tensors["qkv.weight"])
    space = SearchSpace(slimmed(fused()))
    for graph in (fused(), space.decode(space.largest)):
        torch.testing.assert_close(
            outputs(graph, ordered, batch), outputs(fused(), tensors, batch), rtol=1e-5, atol=1e-5
        )


def test_a_narrow_network_has_the_first_heads_of_all_sets(
    tensors: Mapping[str, Tensor], batch: Inputs
) -> None:
    space = SearchSpace(slimmed(fused(), shares=(0.5,)))
    silent = {name: tensor.clone() for name, tensor in tensors.items()}
    silent["out.weight"][:, 2 * SIZE :] = 0
    given = outputs(space.decode(space.smallest), tensors, batch)
    torch.testing.assert_close(given, outputs(fused(), silent, batch))
    supernet = Supernet.of(space, tensors)
    with torch.no_grad():
        trained = detached(supernet, space.smallest).module(**batch)
    torch.testing.assert_close(trained, given)


def test_heads_behind_a_cut_are_fitted_to_their_own_outputs() -> None:
    graph = Graph(Input("tokens", (5, 6)))
    graph.add("first", Linear(4))
    graph.add("qkv", Linear(3 * HEADS * SIZE))
    for address, node in [*fused().nodes.items()][3:]:
        graph.append(address, node)
    drawn = torch.Generator().manual_seed(0)
    tensors = drawn_numbers(graph)
    tensors["first.weight"][2:] = tensors["first.weight"][:2]  # nothing is lost with them
    tensors["first.bias"][2:] = tensors["first.bias"][:2]
    batch = {"tokens": torch.randn(40, 5, 6, generator=drawn)}
    space = SearchSpace(slimmed(graph, shares=(0.5,)))
    repair = least_squares(Reference(float_network(graph, tensors), [batch]))
    narrow = repair(float_network(space.decode(space.smallest), tensors)).parameters

    def made(held: Mapping[str, Tensor]) -> Tensor:
        first = F.linear(batch["tokens"], held["first.weight"], held["first.bias"])
        return F.linear(first, held["qkv.weight"], held["qkv.bias"])

    numbers = {
        f"{address}.{name}": torch.from_numpy(narrow[address][name])
        for address in ("first", "qkv")
        for name in ("weight", "bias")
    }
    wanted = made(tensors).unflatten(2, (3, HEADS, SIZE))[..., : HEADS // 2, :].flatten(2)
    assert (made(numbers) - wanted).square().mean() < 0.05 * wanted.var()


def test_weights_of_another_number_of_heads_are_refused(tensors: Mapping[str, Tensor]) -> None:
    space = SearchSpace(slimmed(fused(), shares=(0.5,)))
    wrong = {**tensors, "qkv.weight": torch.zeros(3 * (HEADS + 1) * SIZE, 6)}
    with pytest.raises(WeightsError, match="qkv"):
        Supernet.of(space, wrong)
