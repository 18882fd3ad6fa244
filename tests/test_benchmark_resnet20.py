"""The ResNet-20 of the benchmark is the published one, whose shortcuts do not learn."""

import pytest
import torch
from torch.nn.functional import conv2d, pad

from benchmarks import resnet20
from search_spaces.quant import bits_of
from supernets.supernet import weights_of
from tests.shared_data import shared_data


@pytest.fixture(scope="module")
def space():
    return resnet20.resnet20()


def test_every_inner_layer_chooses_its_bits_and_nothing_else_does(space):
    assert len(space.choices) == 2 * 18
    graph = space.decode(resnet20.measured(space)["W2A2"])
    shortcuts = [a for a in graph.nodes if a.endswith(".skip")]
    held = {a: bits_of(n.op.weight) for a, n in graph.nodes.items() if hasattr(n.op, "weight")}
    edges = {held.pop("conv1"), held.pop("linear")}
    assert edges == {8}
    assert {held.pop(address) for address in shortcuts} == {32}
    weighted = [bits for address, bits in held.items() if ".conv" in address]
    assert weighted.count(2) == 18


def test_a_shortcut_takes_every_second_pixel_and_adds_channels_of_zeros():
    x = torch.randn(2, 16, 8, 8)
    made = conv2d(x, resnet20.option_a(16, 32), stride=2)
    assert torch.equal(made, pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8)))


def test_the_published_weights_fit_and_shortcuts_do_not_learn(space, monkeypatch):
    monkeypatch.setattr(resnet20, "ROOT", shared_data("cifar_resnet_weights").parent)
    supernet = resnet20.started(space)
    learned = [t.numel() for t in weights_of(supernet).values() if t.requires_grad]
    assert sum(learned) == 269_722
    frozen = [name for name, p in supernet.named_parameters() if not p.requires_grad]
    assert sorted(frozen) == [f"nodes.layer{s}/0/skip.tensors.weight" for s in (2, 3)]
    images = torch.randn(2, 3, 32, 32)
    supernet(images, space.largest).sum().backward()
    assert supernet.node("layer2.0.skip").tensors["weight"].grad is None
    assert supernet.node("layer2.0.conv1").tensors["weight"].grad is not None


def test_the_table_has_each_policy_beside_its_twin():
    results = {"elastic": {"W8A8": 91.5, "W2A2": 87.0, "mixed 1": 90.0}, "2": {"W2A2": 87.25}}
    assert resnet20.table(results)[2:] == [
        "| W8A8 | 91.50 |  |  |",
        "| W2A2 | 87.00 | 87.25 | -0.25 |",
        "| mixed 1 | 90.00 |  |  |",
    ]
