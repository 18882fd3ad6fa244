"""The source of plain modules: what it imports, how it nests, that it trains."""

import ast
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from nas.export import FORMS, ExportError
from nas.export.plain.nesting import Attributes, blocks_of, class_names
from nas.export.plain.plain_network import MODEL, load_network
from nas.testing.networks import (
    FAMILIES,
    IMAGES,
    random_networks,
    uniform,
    uniform_network,
)
from search_spaces.graph import Graph, Node
from search_spaces.ops import Activation, Add, Conv2d, Input
from supernets.deployed import values
from supernets.elastic import stock
from supernets.encoded import EncodedTensor


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    deployed = replace(random_networks(request.param, 1, seed=3)[0], metadata={"run": "plain"})
    FORMS["torch"].write(deployed, tmp_path / "net.torch")
    return tmp_path / "net.torch", deployed


def test_the_source_imports_torch_and_safetensors_only(folder):
    path, _ = folder
    tree = ast.parse((path / MODEL).read_text())
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} == {"pathlib", "torch", "safetensors"}


def test_parts_are_named_like_addresses(folder):
    path, deployed = folder
    parts = dict(load_network(path).named_modules())
    for address, held in deployed.parameters.items():
        module = parts[address]
        weight = (module[-1] if isinstance(module, nn.Sequential) else module).weight
        expected = values(held["weight"]).reshape(weight.shape)
        np.testing.assert_array_equal(weight.detach().numpy(), expected)
        if isinstance(held["weight"], EncodedTensor):
            assert len(np.unique(weight.detach().numpy()[0])) <= 2 ** held["weight"].quant.bits


def test_one_network_gives_one_folder(folder, tmp_path):
    path, deployed = folder
    again = tmp_path / "again.torch"
    FORMS["torch"].write(deployed, again)
    assert sorted(p.name for p in again.iterdir()) == ["model.py", "weights.safetensors"]
    for part in again.iterdir():
        assert part.read_bytes() == (path / part.name).read_bytes()


def test_it_trains_and_its_activations_stay_on_their_grids(tmp_path):
    FORMS["torch"].write(uniform_network("residual", uniform(4)), tmp_path / "n.torch")
    network = load_network(tmp_path / "n.torch")
    images, labels = IMAGES[:64], torch.arange(64) % 10
    with torch.no_grad():
        before = network(images)
    assert torch.equal(network(images), before)  # gradients cost no digit
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    quantizer = network.get_submodule("stage0.block0.conv2_input")
    assert len(torch.unique(quantizer(torch.linspace(-100, 100, 9999)))) == 16


def graph_of(addresses):
    """A chain of activations at these addresses."""
    graph = Graph(Input("image", (1, 8, 8)))
    for address in addresses:
        graph.add(address, Activation("relu"))
    return graph


def test_blocks_follow_addresses():
    graph = graph_of(["stem", "stem.relu", "a.b.x", "a.b.y", "a.c.x", "a.c.y", "head"])
    paths = Attributes.of(graph).layers
    assert paths["stem.relu"] == "stem_relu"
    assert (paths["a.b.x"], paths["a.c.y"]) == ("a.b.x", "a.c.y")
    assert class_names(blocks_of(graph)) == {"": "Network", "a": "A", "a.b": "AB", "a.c": "AC"}


def test_nodes_that_are_no_block_keep_long_names():
    graph = graph_of(["a.x", "b.x", "a.y"])  # a comes back after b
    assert [*Attributes.of(graph).layers.values()] == ["a_x", "b_x", "a_y"]
    two = graph_of(["a.x", "a.y"])
    two.add("sum", Add(), "a.x", "a.y")  # a has two outputs
    assert [*Attributes.of(two).layers.values()] == ["a_x", "a_y", "sum"]


@pytest.mark.parametrize("name", ["forward", "class", "2nd", "self", "type", "träge", "a-b"])
def test_any_address_becomes_an_attribute(name):
    paths = Attributes.of(graph_of([name, f"x.{name}.y", f"x.{name}.z"])).layers
    assert len(set(paths.values())) == len(paths)
    for path in paths.values():
        assert all(
            part.isidentifier() and part not in {"class", "self"} for part in path.split(".")
        )
    assert not hasattr(nn.Module, paths[name])


@dataclass(frozen=True)
class Foreign(Activation):
    """An activation whose layer torch does not have."""


class ForeignLayer(nn.Identity):
    pass


@stock.register
def _(op: Foreign, tensors, *inputs):
    return ForeignLayer()


def test_a_layer_that_torch_has_not_is_named(tmp_path):
    deployed = uniform_network("residual", uniform(None))
    nodes = {**deployed.graph.nodes, "odd": Node(Foreign("relu"), (deployed.graph.output,))}
    with pytest.raises(ExportError, match="'odd' is a ForeignLayer, which is none of torch"):
        FORMS["torch"].write(replace(deployed, graph=Graph.from_nodes(nodes)), tmp_path / "n.torch")
    assert list(tmp_path.iterdir()) == []


def test_a_channel_count_in_the_source_is_that_of_the_subnet(folder):
    path, deployed = folder
    text = (path / MODEL).read_text()
    shapes = deployed.graph.shapes()
    for node in deployed.graph.nodes.values():
        if isinstance(node.op, Conv2d):
            assert f"nn.Conv2d({shapes[node.inputs[0]][0]}, {node.op.out}, " in text
