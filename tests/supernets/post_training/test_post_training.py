"""Deployment without training: networks at any precision, made from what they share."""

import numpy as np
import pytest
import torch

from nas.evaluation.rewrites import DEFAULT, makers, post_training
from nas.parts import PartError
from nas.testing.rewrite import assert_same
from search_spaces.formats import BFLOAT16, E4M3, FLOAT16, Int
from search_spaces.graph import Graph
from search_spaces.opening import Opening, opened
from search_spaces.ops import Add, GlobalPool, Input, MaxPool2d, Pad, Slice
from search_spaces.policy import full_precision
from search_spaces.quant import PerChannel, PerGroup, PerTensor, Quant
from search_spaces.space import SearchSpace
from supernets.deployed import Deployed
from supernets.encoded import ActivationScale, EncodedTensor, IntegerBias
from supernets.post_training import PostTraining, Reference
from supernets.post_training.nearest import rounded, whole_range_steps
from supernets.post_training.observing import Sample
from supernets.post_training.ranges import least_error, percentile, ranges
from supernets.rounding import squared_error_steps

ROUNDED = ("ranges", "nearest", "round-biases")


@pytest.fixture(scope="module")
def deployment(space, tensors, batches):
    return post_training(space, tensors, batches)


def test_full_precision_everywhere_is_the_float_network(space, deployment, batches):
    floats = space.largest  # None is the last option of every precision
    made = deployment(floats)
    assert not made.inputs
    with torch.no_grad():
        assert torch.equal(
            made.module()(**batches[0]), deployment.full_precision(floats)(**batches[0])
        )


def test_a_network_has_the_precisions_of_its_genotype(space, deployment):
    rng = np.random.default_rng(0)
    for _ in range(4):
        genotype = space.sample(rng)
        made = deployment(genotype)
        for address, node in space.decode(genotype).nodes.items():
            quant = node.op.weight
            if quant is not None:
                weight = made.weight(address)
                assert isinstance(weight, EncodedTensor), address
                assert weight.quant == quant
            slots = [(address, slot) in made.inputs for slot in range(len(node.inputs))]
            assert all(slots) if node.op.activation is not None else not any(slots)


def test_what_networks_share_is_made_once_and_order_does_not_matter(space, tensors, batches):
    deployment = post_training(space, tensors, batches, rewrites=ROUNDED)
    one, other = space.smallest, space.canonical((0, 0, 1, *space.smallest[3:]))
    alone = post_training(space, tensors, batches, rewrites=ROUNDED)(one)
    deployment(other)
    again = deployment(one)
    assert_same(alone, again)
    assert deployment(one).weight("stage1.block0.conv1") is again.weight("stage1.block0.conv1")
    assert deployment.reference(one).module is deployment.reference(one).module


def test_integer_biases_where_integers_meet(space, deployment):
    held = deployment(space.smallest).parameters["stage0.block0.conv1"]
    assert isinstance(held["bias"], IntegerBias)


def test_a_list_of_rewrites_without_a_rounding_is_refused(space, tensors, batches):
    made = PostTraining(space, tensors, batches, rewrites=makers(["ranges"]))
    with pytest.raises(ValueError, match=r"leave the weights of .*conv1.* in floats.*nearest"):
        made(space.smallest)
    made = PostTraining(space, tensors, batches, rewrites=makers(["nearest"]))
    with pytest.raises(ValueError, match=r"leave the inputs of .* in floats.*add ranges"):
        made(space.smallest)


def test_an_unknown_rewrite_is_refused_with_all_that_there_are():
    with pytest.raises(PartError, match=r"no rewrite 'magic'; there are ranges, .*round-biases"):
        makers([*DEFAULT, "magic"])


def test_no_batch_is_refused_before_any_work(space, tensors):
    with pytest.raises(ValueError, match="given no batch"):
        post_training(space, tensors, [])


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(), PerGroup(2)])
@pytest.mark.parametrize("number_format", [Int(3), Int(4, symmetric=False), E4M3])
def test_weights_become_the_nearest_numbers(number_format, granularity):
    weight = np.random.default_rng(0).normal(size=(4, 6, 3, 3)).astype(np.float32)
    quant = Quant(number_format, granularity)
    for steps in (squared_error_steps, whole_range_steps):
        made = rounded(weight, quant, steps)
        shape, over = granularity.split(weight.shape)
        position = weight.reshape(shape) / made.scale.reshape(over)
        near = number_format.snap(position + made.zero_point.reshape(over))
        held = (near - made.zero_point.reshape(over)) * made.scale.reshape(over)
        np.testing.assert_allclose(made.values(), held.reshape(weight.shape), atol=1e-5)


@pytest.mark.parametrize("made", [FLOAT16, BFLOAT16], ids=lambda made: made.name)
def test_floats_of_16_bits_are_rounded_as_they_are(made):
    weight = np.random.default_rng(0).normal(size=(4, 6, 3, 3)).astype(np.float32)
    values = torch.randn(100, generator=torch.Generator().manual_seed(0))
    sample = Sample(values, float(values.min()), float(values.max()))
    for steps in (squared_error_steps, whole_range_steps):
        found = rounded(weight, Quant(made), steps)
        assert np.array_equal(found.values(), made.snap(weight))
    for fit in (least_error, percentile):
        assert fit(sample, Quant(made)) == ActivationScale(1.0, 0, Quant(made))


@pytest.mark.parametrize("rounding", ["gptq", "adaquant", "brecq"])
def test_rounding_leaves_floats_of_16_bits_without_scales(rounding, space, tensors, batches):
    opening = Opening(weights=(FLOAT16,), activations=(BFLOAT16,))
    half = SearchSpace(opened(full_precision(space.decode(space.smallest)), opening))
    made = post_training(half, tensors, batches, rewrites=("ranges", rounding))(half.smallest)
    exact = post_training(half, tensors, batches, rewrites=("ranges", "nearest"))(half.smallest)
    for address in made.parameters:
        weight, near = made.weight(address), exact.weight(address)
        if isinstance(weight, EncodedTensor) and isinstance(near, EncodedTensor):
            assert np.array_equal(weight.scale, np.ones(1))
            np.testing.assert_allclose(weight.values(), near.values(), rtol=0.1, atol=2e-3)
    assert {scale.scale for scale in made.inputs.values()} == {1.0}


def test_the_whole_range_clips_nothing_and_theleast_error_is_less():
    weight = np.random.default_rng(1).normal(size=(4, 6, 3, 3)).astype(np.float32)
    quant = Quant(Int(3), PerChannel())
    made = [rounded(weight, quant, steps) for steps in (whole_range_steps, squared_error_steps)]
    whole, least = (float(np.square(one.values() - weight).sum()) for one in made)
    assert least < whole
    furthest = np.abs(weight).reshape(4, -1).max(1)
    np.testing.assert_allclose(made[0].scale * 3, furthest, rtol=1e-6)


def test_one_far_value_does_not_decide_the_range():
    """With the range of all values, 4-bit codes of a normal tensor would be 0 and 15 only."""
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    sample = Sample(values, float(values.min()), 100.0)
    quant = Quant(Int(4, symmetric=False))
    for fit in (least_error, percentile):
        scale = fit(sample, quant)
        assert scale.scale < 1.0
        assert 4 <= scale.zero_point <= 11
    assert percentile(sample, Quant(Int(8))).scale == pytest.approx(
        float(values.abs().max()) / 127, rel=0.2
    )


def test_a_tensor_of_zeros_has_a_range():
    sample = Sample(torch.zeros(10), 0.0, 0.0)
    for quant in (Quant(Int(8)), Quant(Int(4, symmetric=False)), Quant(E4M3)):
        for fit in (least_error, percentile):
            assert 0 < fit(sample, quant).scale < np.inf


def test_inputs_of_an_addition_share_a_scale_where_asked(space, tensors, batches):
    inputs = [
        post_training(space, tensors, batches, rewrites=(name, *ROUNDED[1:]))(space.smallest).inputs
        for name in ("shared-ranges", "ranges")
    ]
    add = "stage1.block0.add"
    assert inputs[0][add, 0] == inputs[0][add, 1]
    assert inputs[1][add, 0] != inputs[1][add, 1]
    assert inputs[0]["stem", 0] == inputs[1]["stem", 0]


def test_readers_of_one_tensor_share_its_scale(space, deployment):
    made = deployment(space.smallest)
    block = "stage1.block0"
    assert made.inputs[f"{block}.conv1", 0] == made.inputs[f"{block}.skip", 0]
    assert full_precision(made.graph).nodes[f"{block}.conv1"].op.activation is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_part_of_a_tensor_has_the_scale_of_the_whole_where_that_is_read(whole):
    graph, eight = Graph(Input("image", (1, 8, 8))), Quant(Int(8, symmetric=False))
    part = graph.add("part", Slice(axis=1, start=0, stop=4), "input")
    padded = graph.add("padded", Pad((0, 2, 0), (0, 2, 0)), part)
    rest = graph.add("rest", Pad((0, 4, 0), (0, 0, 0)), graph.add("low", Slice(1, 4, 8), "input"))
    graph.add("sum", Add(eight), padded, "input" if whole else rest)
    shown = torch.linspace(-1, 3, 64).reshape(1, 1, 8, 8)
    network = Deployed(graph, {}, {})
    found = ranges(Reference(network, [shown]))(network).inputs
    assert (found["sum", 0] == found["sum", 1]) == whole


def test_what_a_pooling_gives_is_read_on_the_grid_on_which_the_pooling_reads():
    graph, eight = Graph(Input("image", (1, 8, 8))), Quant(Int(8, symmetric=False))
    graph.add("pool", MaxPool2d(3, 2, activation=eight), "input")
    graph.add("mean", GlobalPool(activation=eight))
    network = Deployed(graph, {}, {})
    shown = torch.linspace(-3, 1, 64).reshape(1, 1, 8, 8)
    found = ranges(Reference(network, [shown]))(network).inputs
    assert found["pool", 0] == found["mean", 0]
