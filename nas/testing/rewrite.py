"""The contract of a rewrite, a step of post-training quantization."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces.ops import Input
from search_spaces.policy import Policy, full_precision
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from supernets.deployed import Deployed, values
from supernets.encoded import EncodedTensor
from supernets.inputs import Inputs
from supernets.post_training import Maker, Reference, float_network
from supernets.supernet import Supernet, weights_of

SIDE, CLASSES = 8, 5


class RewriteContract:
    """Give `maker`, the rewrite under test, and inherit the tests.

    A rewrite that needs others before gives them as `before`, in order, such as a rounding before
    a repair. The network of the tests is a small residual network with weights of 3 and 8 bits and
    inputs of 4 and 8 bits; a rewrite for other networks gives `space` and `batches`.
    """

    before: Sequence[Maker] = ()

    @pytest.fixture
    def maker(self) -> Maker:
        raise NotImplementedError("a subclass gives the rewrite under test")

    @pytest.fixture
    def space(self) -> SearchSpace:
        image, policy = Input("image", (3, SIDE, SIDE)), Policy(weight_bits=(3,))
        return residual(
            (image,),
            (CLASSES,),
            widths=((4,), (4,), (6,)),
            depths=((1,), (1,)),
            policy=policy,
        )

    @pytest.fixture
    def batches(self) -> Sequence[Inputs]:
        drawn = torch.Generator().manual_seed(0)
        return [{"image": torch.randn(6, 3, SIDE, SIDE, generator=drawn)} for _ in range(2)]

    @pytest.fixture
    def network(self, space: SearchSpace) -> Deployed:
        """The float network; precisions stand on its operators."""
        return float_network(space.decode(space.smallest), drawn_tensors(space))

    @pytest.fixture
    def reference(self, network: Deployed, batches: Sequence[Inputs]) -> Reference:
        return Reference(plain(network), batches)

    @pytest.fixture
    def given(self, network: Deployed, reference: Reference) -> Deployed:
        """The network that the rewrite under test is given."""
        rewrites = [make(reference) for make in self.before]
        return reduce(lambda deployed, rewrite: rewrite(deployed), rewrites, network)

    def test_graph_shapes_and_precisions_stay(
        self, maker: Maker, reference: Reference, given: Deployed
    ) -> None:
        made = maker(reference)(given)
        assert made.graph == given.graph
        assert made.metadata == given.metadata
        assert shapes_of(made) == shapes_of(given)
        for address, node in made.graph.nodes.items():
            weight = made.weight(address)
            if isinstance(weight, EncodedTensor):
                assert weight.quant == node.op.weight, address
        for (address, _), scale in made.inputs.items():
            assert scale.quant == made.graph.nodes[address].op.activation, address

    def test_nothing_is_undone(self, maker: Maker, reference: Reference, given: Deployed) -> None:
        made = maker(reference)(given)
        assert made.inputs.keys() >= given.inputs.keys()
        for address in given.parameters:
            if isinstance(given.weight(address), EncodedTensor):
                assert isinstance(made.weight(address), EncodedTensor), address

    def test_the_same_is_made_again(
        self, maker: Maker, reference: Reference, given: Deployed
    ) -> None:
        rewrite = maker(reference)
        once, again = rewrite(given), rewrite(given)
        other = maker(Reference(reference.network, reference.batches))(given)
        assert_same(once, again)
        assert_same(once, other)

    def test_nothing_that_was_given_changes(
        self, maker: Maker, reference: Reference, given: Deployed
    ) -> None:
        before = numbers_of(given), numbers_of(reference.network), dict(given.inputs)
        inputs = [{name: tensor.clone() for name, tensor in x.items()} for x in reference.batches]
        drawn = torch.get_rng_state()
        maker(reference)(given)
        after = numbers_of(given), numbers_of(reference.network), dict(given.inputs)
        assert before[2] == after[2]
        for one, other in zip(before[:2], after[:2], strict=True):
            assert_equal_numbers(one, other)
        for one, other in zip(inputs, reference.batches, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)
        assert torch.equal(torch.get_rng_state(), drawn), "draws from torch's global generator"

    def test_all_numbers_are_finite(
        self, maker: Maker, reference: Reference, given: Deployed
    ) -> None:
        made = maker(reference)(given)
        for (address, name), array in numbers_of(made).items():
            assert np.isfinite(array).all(), (address, name)
        assert all(0 < scale.scale < np.inf for scale in made.inputs.values())
        with torch.no_grad():
            assert bool(made.module()(**reference.batches[0]).isfinite().all())


def drawn_tensors(space: SearchSpace) -> dict[str, Tensor]:
    """The largest parameters of a space and statistics of its norms, drawn at random."""
    supernet, drawn = Supernet(space, seed=1), torch.Generator().manual_seed(2)
    held = {name: tensor.detach() for name, tensor in weights_of(supernet).items()}
    for name, tensor in [*held.items()]:
        if name.endswith((".shift", ".bias")):
            held[name] = 0.3 * torch.randn(tensor.shape, generator=drawn)
        if name.endswith(".scale"):
            where, shape = name.removesuffix(".scale"), tensor.shape
            held[name] = 1 + 0.3 * torch.randn(shape, generator=drawn)
            held[f"{where}.mean"] = 0.3 * torch.randn(shape, generator=drawn)
            held[f"{where}.variance"] = 0.5 + torch.rand(shape, generator=drawn)
    return held


def plain(network: Deployed) -> Deployed:
    """The network without any precision on its operators."""
    return Deployed(full_precision(network.graph), network.parameters, {})


def numbers_of(deployed: Deployed) -> dict[tuple[str, str], np.ndarray]:
    """A copy of every parameter's values, by address and name."""
    return {
        (address, name): values(stored).copy()
        for address, held in deployed.parameters.items()
        for name, stored in held.items()
    }


def shapes_of(deployed: Deployed) -> dict[tuple[str, str], tuple[int, ...]]:
    """The shape of every parameter, by address and name."""
    return {where: array.shape for where, array in numbers_of(deployed).items()}


def assert_same(one: Deployed, other: Deployed) -> None:
    """Check that two networks hold equal numbers in the same forms."""
    assert one.inputs == other.inputs
    forms = [
        {(a, n): type(stored) for a, held in d.parameters.items() for n, stored in held.items()}
        for d in (one, other)
    ]
    assert forms[0] == forms[1]
    assert_equal_numbers(numbers_of(one), numbers_of(other))


def assert_equal_numbers(
    one: dict[tuple[str, str], np.ndarray], other: dict[tuple[str, str], np.ndarray]
) -> None:
    """Check that two sets of parameters are equal, bit for bit."""
    assert one.keys() == other.keys()
    for where, array in one.items():
        assert np.array_equal(array, other[where]), where
