"""The float network computes what the trained network computes, and refuses what is not one."""

import pytest
import torch

from search_spaces.policy import full_precision
from search_spaces.space import SearchSpace
from supernets.assemble import assemble, steps_of
from supernets.elastic import corner, layer_of, sliced
from supernets.inputs import Inputs
from supernets.post_training import Reference, float_network
from supernets.post_training.observing import until
from supernets.weights import WeightsError


def assert_equals_unfolded(space, genotype, tensors, batch):
    """Check a float network against stock layers with norms that are not folded."""
    graph = full_precision(space.decode(genotype))

    def layer(step):
        own = {n.removeprefix(f"{step.address}."): t for n, t in tensors.items()}
        held = sliced(step.op, own, *step.inputs)
        for name in ("mean", "variance") if step.op.folds else ():
            held[name] = corner(own[name], step.op.parameters(*step.inputs)["scale"])
        return layer_of(step.op, held, *step.inputs)

    wanted = assemble(steps_of(graph), layer, {}).eval()
    with torch.no_grad():
        found = float_network(graph, tensors).module()(**batch)
        torch.testing.assert_close(found, wanted(**batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("end", ["smallest", "largest"])
def test_norms_are_folded_and_slices_are_those_of_training(space, tensors, batches, end):
    assert_equals_unfolded(space, getattr(space, end), tensors, batches[0])


def test_precisions_stay_on_operators_and_nothing_is_rounded(space, tensors):
    made = float_network(space.decode(space.smallest), tensors)
    assert made.graph.nodes["stage0.block0.conv1"].op.weight.bits == 2
    assert not made.inputs
    assert made.weight("stage0.block0.conv1").dtype == "float32"


def test_all_missing_tensors_are_named(space, tensors):
    lost = {"stem.weight", "stem.norm.variance"}
    with pytest.raises(WeightsError, match=r"stem\.weight.*stem\.norm\.variance"):
        float_network(space.decode(space.smallest), {n: tensors[n] for n in tensors.keys() - lost})


def test_numbers_that_are_not_finite_are_named(space, tensors):
    broken = {**tensors, "head.bias": torch.full((5,), torch.nan)}
    with pytest.raises(WeightsError, match=r"not finite numbers: head\.bias"):
        float_network(space.decode(space.smallest), broken)


@pytest.fixture
def reference(space: SearchSpace, tensors, batches: list[Inputs]) -> Reference:
    return Reference(float_network(full_precision(space.decode(space.smallest)), tensors), batches)


def test_outputs_and_activations_are_those_of_the_network(reference):
    for batch, output in zip(reference.batches, reference.outputs, strict=True):
        assert torch.equal(output, reference.module(**batch))
    last = reference.network.graph.output
    assert all(map(torch.equal, reference.activations(last), reference.outputs))
    inner = [*reference.activations("stage0.block0.conv1")]
    assert [tuple(one.shape) for one in inner] == [(8, 4, 8, 8)] * 2


def test_a_part_of_a_network_has_only_what_leads_to_its_end(reference):
    part = until(reference.network, "stem.relu")
    assert [*part.graph.nodes] == ["input", "stem", "stem.relu"]
    assert [*part.parameters] == ["stem"]


def test_samples_hold_the_ends_and_values_of_a_tensor(reference):
    sample = reference.samples()["stem.relu"]
    whole = torch.cat([*reference.activations("stem.relu")])
    assert (sample.low, sample.high) == (float(whole.min()), float(whole.max()))
    assert set(sample.values.tolist()) <= set(whole.reshape(-1).tolist())
    assert reference.samples() is reference.samples(reference.network)


def test_views_have_no_sample_of_their_own(reference):
    assert "head.flatten" not in reference.samples()
    assert "pool" in reference.samples()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "given no batch"),
        ([torch.full((2, 3, 8, 8), torch.inf)], "batch 0 has no samples, or numbers"),
        ([torch.zeros(2, 3, 8, 8), torch.zeros(0, 3, 8, 8)], "batch 1"),
        ([torch.zeros(2, 1, 8, 8)], "input 'image' is float32 of the shape"),
    ],
)
def test_batches_that_cannot_calibrate_are_refused(reference, given, told):
    with pytest.raises(ValueError, match=told):
        Reference(reference.network, given)
