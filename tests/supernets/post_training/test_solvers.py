"""The ways to round one weight matrix against the second moment of its inputs."""

import itertools

import numpy as np
import pytest
import torch

from search_spaces.formats import Float, Int
from search_spaces.quant import Float16, Float32, PerChannel, PerGroup, PerTensor, PowerOfTwo, Quant
from supernets.post_training.adaround import adaptive_rounding
from supernets.post_training.descent import descended
from supernets.post_training.error_feedback import damped, error_feedback, output_error
from supernets.post_training.lattice import encoded_again, lattice_of, matrices
from supernets.post_training.nearest import rounded

QUANTS = (
    Quant(Int(2), PerChannel()),
    Quant(Int(3), PerTensor()),
    Quant(Int(3, symmetric=False), PerChannel()),
    Quant(Int(4), PerGroup(4)),
    Quant(Int(3), PerGroup(2, PowerOfTwo())),
    Quant(Float(2, 1), PerGroup(4, Float16())),
)


def _problem(quant, groups=1, seed=0):
    """A weight `(out, in)`, its encoding, its lattice and a second moment of correlated inputs."""
    drawn = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 8, generator=drawn)
    mixing = torch.randn(groups, 8, 8, generator=drawn)
    gram = mixing @ mixing.mT + 0.1 * torch.eye(8)
    encoded = rounded(weight.numpy(), quant)
    return matrices(weight, groups), gram, encoded, lattice_of(encoded, groups)


def _error(difference, gram):
    return float(output_error(difference, gram).sum())


@pytest.mark.parametrize(
    "quant", QUANTS, ids=lambda quant: f"{quant.name}-{quant.granularity.name}"
)
class TestEveryPrecision:
    def test_the_lattice_is_that_of_the_weight(self, quant):
        weight, _, encoded, lattice = _problem(quant)
        near = lattice.near(weight)
        assert np.array_equal(near[0].numpy(), encoded.values())
        again = encoded_again(encoded, near, lattice)
        assert np.array_equal(again.codes, encoded.codes)
        assert np.array_equal(again.scale, encoded.scale)

    def test_neighbours_enclose_what_is_inside_the_bounds(self, quant):
        weight, _, _, lattice = _problem(quant)
        below, above = lattice.neighbours(weight)
        assert bool((below < above).all())
        near = lattice.near(weight)
        assert bool(((near == below) | (near == above)).all())
        assert torch.equal(lattice.near(below), below)
        assert torch.equal(lattice.near(above), above)

    def test_no_row_is_worse_than_rounded_to_nearest(self, quant):
        weight, gram, _, lattice = _problem(quant)
        nearest = output_error(lattice.near(weight) - weight, gram)
        for found in (
            error_feedback(weight, gram, lattice),
            error_feedback(weight, gram, lattice, act_order=False),
            adaptive_rounding(weight, gram, lattice, rounds=50),
        ):
            assert bool((output_error(found - weight, gram) <= nearest).all())
            assert torch.equal(lattice.near(found), found)

    def test_each_pass_of_descent_lowers_the_error(self, quant):
        weight, gram, encoded, lattice = _problem(quant)
        stored = quant.granularity.scale
        found, errors = (lattice.near(weight), lattice), []
        for _ in range(3):
            errors.append(_error(found[0] - weight, gram))
            found = descended(weight, gram, found, stored=stored, passes=1)
            values = encoded_again(encoded, *found).values()
            np.testing.assert_allclose(values, found[0][0].numpy(), rtol=1e-5, atol=1e-6)
        errors.append(_error(found[0] - weight, gram))
        assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(errors))
        assert errors[-1] < errors[0]


def _brain_surgeon(weight, inverse, lattice):
    """Optimal brain quantization in a fixed order, by the formula that updates the inverse."""
    left, inverse = weight.double().clone(), inverse.clone()
    for column in range(weight.shape[1]):
        near = lattice.columns(slice(column, column + 1)).near(left[None, :, column, None].float())
        off = (left[:, column] - near[0, :, 0]) / inverse[column, column]
        left[:, column:] -= off[:, None] * inverse[column, column:]
        left[:, column] = near[0, :, 0]
        inverse = inverse - inverse[:, column, None] * inverse[column] / inverse[column, column]
        inverse[column, :] = inverse[:, column] = 0
        inverse[column, column] = 1  # no longer read
    return left.float()


def test_error_feedback_is_optimal_brain_quantization_in_a_fixed_order():
    weight, gram, _, lattice = _problem(Quant(Int(3), PerChannel()), seed=3)
    expected = _brain_surgeon(weight[0], torch.linalg.inv(damped(gram))[0], lattice)
    found = error_feedback(weight, gram, lattice, act_order=False)[0]
    better = output_error(expected[None] - weight, gram) <= output_error(
        lattice.near(weight) - weight, gram
    )
    assert bool(better.any())
    assert torch.equal(found[better[0]], expected[better[0]])


def test_uncorrelated_inputs_leave_nothing_to_feed_back():
    weight, _, _, lattice = _problem(Quant(Int(3), PerChannel()))
    found = error_feedback(weight, torch.diag_embed(torch.rand(1, 8) + 0.1), lattice)
    assert torch.equal(found, lattice.near(weight))


@pytest.mark.parametrize("solver", ["descent", "adaround"])
def test_two_columns_are_rounded_up_or_down_as_trying_all_finds(solver):
    drawn = torch.Generator().manual_seed(5)
    weight = torch.randn(1, 8, 2, generator=drawn)
    gram = torch.tensor([[[1.0, 0.9], [0.9, 1.0]]])
    lattice = lattice_of(rounded(weight[0].numpy(), Quant(Int(3), PerTensor())), 1)
    below, above = lattice.neighbours(weight)
    tried = [
        torch.stack([(below, above)[a][..., 0], (below, above)[b][..., 1]], dim=-1)
        for a, b in itertools.product((0, 1), repeat=2)
    ]
    least = torch.stack([output_error(one - weight, gram) for one in tried]).amin(0)
    if solver == "adaround":
        found = adaptive_rounding(weight, gram, lattice)
    else:
        found, _ = descended(weight, gram, (error_feedback(weight, gram, lattice), lattice))
    reached = output_error(found - weight, gram)
    assert bool((reached <= least * (1 + 1e-5) + 1e-9).float().mean() >= 0.75)


def test_groups_of_channels_are_matrices_of_their_own():
    weight, gram, _, lattice = _problem(Quant(Int(3), PerChannel()), groups=2)
    both = error_feedback(weight, gram, lattice)
    for group in range(2):
        part = slice(group, group + 1)
        alone = lattice_of(rounded(weight[group].numpy(), Quant(Int(3), PerChannel())), 1)
        assert torch.equal(both[part], error_feedback(weight[part], gram[part], alone))


def test_inputs_that_are_always_zero_keep_their_weights():
    weight, gram, _, lattice = _problem(Quant(Int(4), PerChannel()))
    gram[:, 3] = gram[:, :, 3] = 0
    found = error_feedback(weight, gram, lattice)
    assert torch.equal(found[..., 3], lattice.near(weight)[..., 3])
    moved, _ = descended(weight, gram, (lattice.near(weight), lattice), passes=1)
    assert torch.equal(moved[..., 3], lattice.near(weight)[..., 3])


def test_steps_of_least_output_error_are_found_for_given_numbers():
    weight, gram, _, lattice = _problem(Quant(Int(4), PerChannel()))
    scaled = lattice.near(weight)  # what is wanted lies on a lattice of other steps
    start = 0.8 * lattice.step
    other = type(lattice)(lattice.format, start, lattice.zero, lattice.starts, lattice.shared)
    found, better = descended(scaled, gram, (0.8 * scaled, other), stored=Float32(), passes=3)
    assert _error(found - scaled, gram) < 1e-9
    torch.testing.assert_close(better.step, lattice.step)
