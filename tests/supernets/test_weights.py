"""Float weights from outside become the largest network, or are refused with every name told."""

import pytest
import torch

from supernets.supernet import Supernet, set_weights, weights_of
from supernets.weights import WeightsError
from tests.supernets.stripes import Stripes, stripes_space


@pytest.fixture
def given():
    """The weights of another supernet of the space, by name."""
    return {
        name: t.detach().clone()
        for name, t in weights_of(Supernet(stripes_space(), seed=5)).items()
    }


@pytest.fixture
def supernet():
    return Supernet(stripes_space(), seed=1)


def test_the_largest_network_computes_with_the_given_weights(supernet, given):
    other = Supernet(supernet.space, seed=5)
    images, largest = Stripes.drawn().images, supernet.space.largest
    set_weights(supernet, given)
    outputs = [each(images, largest, quantize=False) for each in (supernet, other)]
    assert torch.equal(*outputs)
    assert outputs[0].std() > 0


def test_names_are_addresses_and_parameters_without_quantizer_steps(given):
    assert {
        "stem.weight",
        "stem.norm.scale",
        "stage0.block1.conv2.weight",
        "head.bias",
    } <= given.keys()
    assert not any("step" in name for name in given)


def test_given_tensors_are_copied_into_float32_and_steps_are_kept(supernet, given):
    steps = {n: p.detach().clone() for n, p in supernet.named_parameters() if "log_steps" in n}
    given["head.bias"] = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    set_weights(supernet, given)
    given["head.bias"].zero_()
    held = dict(supernet.named_parameters())
    assert held["nodes.head.tensors.bias"].tolist() == [0.5, -1.0, 2.0]
    assert held["nodes.head.tensors.bias"].dtype == torch.float32
    assert all(torch.equal(held[name], step) for name, step in steps.items())


def test_every_fault_is_told_at_once_and_nothing_is_changed(supernet, given):
    before = {name: tensor.detach().clone() for name, tensor in weights_of(supernet).items()}
    del given["stem.weight"], given["head.bias"]
    given |= {"fc.weight": torch.ones(3, 8), "stem.norm.running_mean": torch.zeros(6)}
    given["head.weight"] = given["head.weight"].T
    given["stem.norm.scale"][1] = torch.nan
    given["stem.norm.shift"] = torch.zeros(6, dtype=torch.int64)
    with pytest.raises(WeightsError) as told:
        set_weights(supernet, given)
    assert "missing: head.bias, stem.weight;" in str(told.value)
    assert "unknown: fc.weight, stem.norm.running_mean;" in str(told.value)
    assert "of another shape: head.weight (8, 3) for (3, 8);" in str(told.value)
    assert "not finite floating-point numbers: stem.norm.scale, stem.norm.shift;" in str(told.value)
    assert all(torch.equal(before[n], tensor) for n, tensor in weights_of(supernet).items())
