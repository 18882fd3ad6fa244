"""Inputs by name: checked, cut into rows, and read by networks that have several."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Add, Conv2d, Embedding, Flatten, GlobalPool, Input, Linear, Resize
from search_spaces.quant import Quant
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.deploy import Deployment
from supernets.exchange import exchanged
from supernets.extract import detached
from supernets.inputs import InputError, Inputs, batches, count, inputs_of, rows, to_device, zeros
from supernets.supernet import Supernet

BATCH = 6
CODES = {"weight": Quant(Int(8)), "activation": Quant(Int(8, symmetric=False))}


def both() -> SearchSpace:
    """An image and a few tokens, of which both have an elastic width; addresses are not names."""
    graph = Graph()
    graph.add("picture.in", Input("image", (3, 8, 8)))
    graph.add("picture.resize", Resize(choice("resolution", (6, 8))))
    graph.add("picture.conv", Conv2d(choice("width", (2, 4)), 3, **CODES))
    graph.add("picture.pool", GlobalPool())
    graph.add("picture.flat", Flatten())
    left = graph.add("picture.head", Linear(5, **CODES))
    graph.add("words.in", Input("tokens", (4,), "int64", 9))
    graph.add("words.table", Embedding(9, choice("features", (2, 3)), Quant(Int(4))))
    graph.add("words.flat", Flatten())
    right = graph.add("words.head", Linear(5, **CODES))
    graph.add("sum", Add(), left, right)
    return SearchSpace(graph)


@pytest.fixture
def given() -> Inputs:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 9, (BATCH, 4), generator=generator)
    return {"tokens": tokens, "image": torch.randn(BATCH, 3, 8, 8, generator=generator)}


@pytest.fixture
def supernet(given: Inputs) -> Supernet:
    net = Supernet(both(), seed=0)
    initialise_steps(net, [given])
    return net


def test_addresses_and_names_of_inputs_are_two_things() -> None:
    assert [*both().graph.inputs] == ["picture.in", "words.in"]
    assert [op.name for op in both().graph.inputs.values()] == ["image", "tokens"]
    assert [*Graph(Input("rows", (3,))).nodes] == ["input"]
    assert [*Graph(Input("left", (3,)), Input("right", (3,))).nodes] == ["left", "right"]


def test_two_inputs_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="input 'rows' at 'other' is conditional, or is already"):
        Graph(Input("rows", (3,))).add("other", Input("rows", (3,)))


def test_a_conditional_input_is_refused() -> None:
    there = choice("there", (False, True))
    with pytest.raises(ValueError, match="an input is there once and always"):
        Graph(Input("rows", (3,))).add("other", Input("more", (3,)), present=there)


@pytest.mark.parametrize(
    "name", ["", "1st", "a-b", "a.b", "träge", "class", "output", "self", "torch", "_x", "a b"]
)
def test_names_that_files_or_code_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the name of an input must be"):
        Input(name, (3,))


@pytest.mark.parametrize("shape", [(0,), (3, -1), (choice("size", (4, 8)),)])
def test_shapes_that_are_no_numbers_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="put a Resize with a choice of sizes behind"):
        Input("rows", shape)


def test_a_dtype_that_no_operator_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="has the dtype 'float16'; give 'float32', or 'int64'"):
        Input("rows", (3,), "float16")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": None}, "reads image, tokens, given tokens; give one tensor for each"),
        ({"more": torch.zeros(BATCH)}, "given tokens, image, more"),
        ({"image": torch.zeros(BATCH, 3, 8, 8).double()}, "'image' is float32 .*, given float64"),
        ({"image": torch.zeros(BATCH, 3, 6, 8)}, r"\(batch, 3, 8, 8\), given .*\(6, 3, 6, 8\)"),
        ({"tokens": torch.zeros(BATCH, 4)}, "'tokens' is int64 .*, given float32"),
        ({"tokens": torch.zeros(2, 4).long()}, "equal numbers of samples, given 2 of tokens, 6 of"),
    ],
)
def test_wrong_inputs_are_refused(
    supernet: Supernet, given: Inputs, change: dict[str, Tensor | None], told: str
) -> None:
    wrong = {name: x for name, x in {**given, **change}.items() if x is not None}
    with pytest.raises(InputError, match=told):
        supernet(wrong, supernet.space.largest)


def test_a_bare_tensor_is_the_only_input(supernet: Supernet) -> None:
    with pytest.raises(InputError, match="reads 2 inputs, image, tokens, given one tensor without"):
        supernet(torch.zeros(BATCH, 3, 8, 8), supernet.space.largest)
    alone, rows_ = Graph(Input("rows", (3,))), torch.zeros(2, 3)
    assert inputs_of(alone, rows_)["rows"] is rows_


def test_helpers_keep_the_names(given: Inputs) -> None:
    assert count(given) == BATCH
    assert torch.equal(rows(given, torch.tensor([1, 0]))["tokens"], given["tokens"][[1, 0]])
    assert [count(part) for part in batches(given, 4)] == [4, 2]
    assert to_device(given, "cpu").keys() == given.keys()
    found = inputs_of(both().graph, zeros(both().graph, 2))
    assert (found["tokens"].dtype, found["image"].shape) == (torch.int64, (2, 3, 8, 8))


def test_a_network_of_two_inputs_trains_and_leaves_bit_equal(
    supernet: Supernet, given: Inputs
) -> None:
    space = supernet.space
    for genotype in space.every_row().tolist():
        supernet.zero_grad()
        output = supernet(given, genotype)
        output.square().sum().backward()
        for address in ("picture.conv", "words.table", "words.head"):
            gradient = supernet.node(address).tensors["weight"].grad
            assert gradient is not None
            assert gradient.any()
        module = detached(supernet, genotype).module
        with torch.no_grad():
            assert torch.equal(module(**given), output)
            assert torch.equal(module(given["image"], given["tokens"]), output)


def test_a_deployment_calibrates_on_mappings(supernet: Supernet, given: Inputs) -> None:
    deployment = Deployment(supernet, [given, rows(given, slice(0, 2))])
    deployed = deployment(supernet.space.largest)
    module: nn.Module = deployed.module()
    with torch.no_grad():
        shown = module(**given)
        other = module(**{**given, "tokens": given["tokens"].flip(0)})
    assert shown.shape == (BATCH, 5)
    assert not torch.equal(shown, other)


def test_exchanges_are_judged_with_tokens_too(supernet: Supernet, given: Inputs) -> None:
    space = supernet.space
    others = [space.largest, (0, 1, 1), (1, 1, 0)]
    loss, changes = exchanged(
        supernet, given, lambda out: out.square().mean(), genotype=space.largest, others=others
    )
    with torch.no_grad():
        assert loss == pytest.approx(float(supernet(given, space.largest).square().mean()))
    assert changes[0] == 0
    assert changes[1:].all()
