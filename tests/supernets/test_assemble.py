"""Names of foreign origin in code that torch generates: none gets there."""

import ast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.export.plain.source import source_of
from search_spaces.graph import Graph, Node
from search_spaces.ops import Activation, Add, Flatten, Input, Linear
from search_spaces.space import SearchSpace
from supernets.assemble import module_name, scale_name
from supernets.deployed import Deployed
from supernets.supernet import Supernet

HOSTILE = [
    'a" if print("ran") else "a',
    'a"); print("ran"); ("',
    '"""\nprint("ran")\n"""',
    "a'\nprint('ran')\n#",
    "__class__",
    "forward",
    "training",
    "_modules",
]


def named(address: str) -> Graph:
    """A network with a node at any address, past the rule that refuses it."""
    graph = Graph(Input("image", (1, 4, 4)))
    graph.nodes[address] = Node(Activation("relu"), ("input",))
    graph.nodes["flat"] = Node(Flatten(), (address,))
    graph.nodes["head"] = Node(Linear(2), ("flat",))
    return graph


def deployed(graph: Graph) -> Deployed:
    head = {"weight": np.ones((2, 16), np.float32), "bias": np.zeros(2, np.float32)}
    return Deployed(graph, {"head": head}, {})


@pytest.mark.parametrize("address", HOSTILE)
def test_no_address_runs_even_past_the_rule(address, capsys):
    network = deployed(named(address))
    module = network.module()
    assert module(torch.ones(1, 1, 4, 4)).tolist() == [[16.0, 16.0]]
    assert '"' not in module.code.replace('"""', "")
    source = source_of(network, module)
    made: dict[str, object] = {"__file__": "model.py"}
    exec(compile(source, "model.py", "exec"), made)
    assert made["Network"]()(torch.ones(1, 1, 4, 4)).shape == (1, 2)
    assert capsys.readouterr().out == ""


@given(st.text(min_size=1, max_size=40))
def test_source_holds_names_of_ours_only(address):
    network = deployed(named(address) if address not in ("input", "flat", "head") else named("x"))
    source = source_of(network, network.module())
    assert source.isascii()
    ast.parse(source)


@given(st.lists(st.text("a_.-é5f", min_size=1, max_size=6), min_size=2, max_size=2, unique=True))
def test_distinct_addresses_have_distinct_names(addresses):
    one, other = addresses
    names = {module_name(one), module_name(other), scale_name((one, 0)), scale_name((other, 0))}
    assert len(names) == 4
    assert all(name.isidentifier() and name.isascii() for name in names)


@pytest.mark.parametrize("address", ["keys", "training", "pop", "type", "forward", "_modules"])
def test_an_address_may_be_called_like_a_part_of_torch(address):
    graph = Graph(Input("image", (1, 4, 4)))
    graph.add(address, Activation("relu"))
    graph.add("flat", Flatten())
    graph.add("head", Linear(2))
    supernet = Supernet(SearchSpace(graph), seed=0)
    assert supernet(torch.ones(1, 1, 4, 4), ()).shape == (1, 2)
    assert supernet.node(address) is supernet.node(address)


def test_a_network_reads_one_tensor_per_source():
    nodes = {
        "left": Node(Input("left", (2, 3))),
        "right": Node(Input("right", (2, 3))),
        "sum": Node(Add(), ("right", "left")),
    }
    graph = Graph.from_nodes(nodes)
    module = Deployed(graph, {}, {}).module()
    left, right = torch.rand(4, 2, 3), torch.rand(4, 2, 3)
    assert graph.shapes()["sum"] == (2, 3)
    assert torch.equal(module(left, right), left + right)
