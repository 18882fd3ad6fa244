"""Spaces that follow the shapes of a task: of vectors, and from image to image."""

import numpy as np
import pytest

from nas.testing.space import SpaceContract, count_by_enumeration
from search_spaces.costs import macs, total
from search_spaces.mlp import mlp
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.space import as_genotypes
from search_spaces.super_resolution import super_resolution

RICH = Policy(
    weight_bits=(2, 4, 8, None),
    activation_bits=(4, 8, None),
    weight_granularities=(PerTensor(), PerChannel()),
    fineness="layer",
)
PLAIN = Policy(weight_bits=(8,), activation_bits=(8,))
VECTOR = (Input("features", (10,)),)
SMALL = (Input("image", (3, 4, 6)),)


def outputs(space):
    for genotype in as_genotypes(space.sample_array(np.random.default_rng(1), 20)):
        graph = space.decode(genotype)
        yield graph.shapes()[graph.output]


class TestMlp(SpaceContract):
    @pytest.fixture
    def space(self):
        return mlp(VECTOR, (3,), widths=(4, 8), functions=("relu", "gelu"), policy=RICH)

    def test_all_give_the_output(self, space):
        assert {*outputs(space)} == {(3,)}


class TestSuperResolution(SpaceContract):
    @pytest.fixture
    def space(self):
        return super_resolution(SMALL, (3, 8, 12), kernels=(3, 5), policy=RICH)

    def test_all_give_the_output(self, space):
        assert {*outputs(space)} == {(3, 8, 12)}


def test_a_network_of_vectors_has_the_products_of_its_widths():
    space = mlp(VECTOR, (3,), widths=(4, 8), depths=(1, 2), policy=PLAIN)
    assert space.size == count_by_enumeration(space) == 2 + 2 * 2
    assert total(macs, space.decode(space.largest)) == 10 * 8 + 8 * 8 + 8 * 3
    assert total(macs, space.decode(space.smallest)) == 10 * 4 + 4 * 3


def test_inputs_of_any_shape_are_joined_and_outputs_of_any_shape_are_made():
    inputs = (Input("image", (1, 4, 5)), Input("age", (2,)))
    space = mlp(inputs, (7, 2), widths=(4,), depths=(1,), policy=PLAIN)
    assert {*outputs(space)} == {(7, 2)}
    assert total(macs, space.decode(space.largest)) == (20 + 2) * 4 + 4 * 14


def test_an_image_of_the_same_size_needs_no_spreading():
    space = super_resolution(SMALL, (3, 4, 6), widths=(4,), depths=(1,), policy=PLAIN)
    per_pixel = 3 * 4 + 2 * 4 * 4 + 4 * 3  # stem, block, head
    assert total(macs, space.decode(space.largest)) == 4 * 6 * 9 * per_pixel
    assert {"pixels", "grown"}.isdisjoint(space.decode(space.largest).nodes)


@pytest.mark.parametrize(
    ("inputs", "output", "fault"),
    [
        (SMALL, (3, 7, 12), "whole multiple"),
        (SMALL, (3, 8, 18), "whole multiple"),
        (SMALL, (3, 2, 3), "whole multiple"),
        (SMALL, (1, 8, 12), "as many channels"),
        (SMALL, (10,), "whole multiple"),
        (VECTOR, (3, 8, 12), "reads one image"),
        (SMALL + VECTOR, (3, 8, 12), "reads one image"),
    ],
)
def test_what_no_image_grows_to_is_refused(inputs, output, fault):
    with pytest.raises(ValueError, match=fault):
        super_resolution(inputs, output)


def test_vectors_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"'tokens': 'int64'.*that embeds"):
        mlp((*VECTOR, Input("tokens", (4,), "int64")), (2,))
    with pytest.raises(ValueError, match="at least one hidden layer"):
        mlp(VECTOR, (2,), depths=(0, 1))
    with pytest.raises(ValueError, match="at least one block"):
        super_resolution(SMALL, (3, 8, 12), depths=(0, 1))
