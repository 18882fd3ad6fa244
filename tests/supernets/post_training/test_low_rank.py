"""Low-rank branches filled with what rounded weights have lost."""

import numpy as np
import pytest
import torch

from nas.evaluation.rewrites import makers
from nas.testing.rewrite import RewriteContract, drawn_tensors
from search_spaces.compensation import compensated
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, BatchNorm2d, Conv2d, GlobalPool, Input
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import SearchSpace
from supernets.deployed import values
from supernets.post_training import PostTraining, Reference, float_network
from supernets.post_training.low_rank import best_of_rank, eora, lorc, with_branches
from supernets.post_training.nearest import nearest

TWO = Quant(Int(2), PerChannel())


def _space(ranks=(0, 2, 6)):
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("first", Conv2d(6, 3, weight=TWO))
    graph.add("first.norm", BatchNorm2d())
    graph.add("relu", Activation("relu"))
    graph.add("second", Conv2d(6, 1, weight=TWO))
    graph.add("pool", GlobalPool())
    return SearchSpace(compensated(graph, ranks))


@pytest.fixture(scope="module")
def batches():
    drawn = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 3, generator=drawn)
    return [{"image": torch.randn(16, 8, 8, 3, generator=drawn).matmul(mixing).permute(0, 3, 1, 2)}]


@pytest.fixture(scope="module")
def tensors():
    space = _space()
    plain = drawn_tensors(space)
    return with_branches(space, {n: t for n, t in plain.items() if ".rank." not in n})


def _off(space, tensors, batches, picks, names):
    """The squared error of a rounded network's outputs."""
    made = PostTraining(space, tensors, batches, rewrites=makers(names))
    genotype = tuple(picks for _ in space.choices)
    with torch.no_grad():
        rounded = made(genotype).module()(**batches[0])
        return float((rounded - made.full_precision(genotype)(**batches[0])).square().mean())


@pytest.mark.parametrize("name", ["lorc", "eora"])
def test_a_higher_rank_makes_good_more_of_the_error(name, tensors, batches):
    names = ["ranges", "nearest", "norm-repair", name]
    none, two, six = (_off(_space(), tensors, batches, pick, names) for pick in range(3))
    assert six < two < none
    assert six < 1e-2 * none


def test_branches_give_zeros_in_the_float_network(tensors, batches):
    space = _space()
    found = PostTraining(space, tensors, batches, rewrites=())
    with torch.no_grad():
        one, other = (
            found.full_precision(g)(**batches[0]) for g in (space.smallest, space.largest)
        )
    torch.testing.assert_close(one, other)


def test_the_best_map_of_a_rank_is_that_of_least_squares_on_whitened_inputs():
    drawn = torch.Generator().manual_seed(1)
    x = torch.randn(5, 5, generator=drawn) @ torch.randn(5, 400, generator=drawn)
    missed = torch.randn(4, 5, generator=drawn) @ x + 0.1 * torch.randn(4, 400, generator=drawn)
    gram, cross = x @ x.T / 400, missed @ x.T / 400

    def error(wanted):
        return float((missed - wanted @ x).square().sum())

    up, down = best_of_rank(gram, cross, 2)
    assert (up.shape, down.shape) == ((4, 2), (2, 5))
    best = error(up @ down)
    for seed in range(20):
        moved = torch.Generator().manual_seed(seed)
        near = [h + 0.02 * torch.randn(h.shape, generator=moved) for h in (up, down)]
        assert best <= error(near[0] @ near[1]) * (1 + 1e-3)
    whole = torch.linalg.lstsq(x.T, missed.T).solution.T
    left, sizes, right = torch.linalg.svd(whole)
    plain = (left[:, :2] * sizes[:2]) @ right[:2]  # without regard to the inputs
    assert best < error(plain)


def test_the_error_of_a_weight_is_its_own_best_map_of_full_rank(tensors, batches):
    space = _space()
    network = float_network(space.decode(space.largest), tensors)
    reference = Reference(network, batches)
    made = lorc(reference)(nearest(reference)(network))
    branch = [
        torch.from_numpy(values(made.parameters[f"second.rank.{part}"]["weight"])).flatten(1)
        for part in ("up", "down")
    ]
    weight = made.weight("second").values().reshape(6, 6) + (branch[0] @ branch[1]).numpy()
    np.testing.assert_allclose(weight, network.weight("second").reshape(6, 6), atol=1e-5)


class _Filled(RewriteContract):
    before = makers(["ranges", "nearest"])

    @pytest.fixture
    def space(self):
        return _space((2,))

    @pytest.fixture
    def batches(self):
        drawn = torch.Generator().manual_seed(0)
        return [{"image": torch.randn(6, 3, 8, 8, generator=drawn)} for _ in range(2)]


class TestLorc(_Filled):
    @pytest.fixture
    def maker(self):
        return lorc


class TestEora(_Filled):
    @pytest.fixture
    def maker(self):
        return eora
