"""Embedding and DepthToSpace: the contract, reference values, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor
from torch.nn import functional as F

from nas.export import export_onnx, read_policy, verify
from nas.targets.numerics import of_bits
from nas.targets.roofline import Roofline
from nas.tasks.criteria import Classification
from nas.testing.deployment import installed
from nas.testing.operator import Form, OperatorContract
from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.ops import (
    Conv2d,
    DepthToSpace,
    Embedding,
    Flatten,
    Input,
    Linear,
    Op,
)
from search_spaces.quant import PerChannel, PerTensor, Quant
from search_spaces.space import SearchSpace
from supernets.deploy import deploy
from supernets.deployed import values
from supernets.elastic import compute
from supernets.extract import extract
from supernets.supernet import Supernet

TOKENS = Input("tokens", (6,), "int64")


class TestEmbedding(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(Embedding(5, out), ((4,),)) for out in (6, 3)]

    def inputs_of(self, op: Op, inputs: tuple[tuple[int, ...], ...]) -> list[Tensor]:
        """Every token, so that each entry of the table has a gradient."""
        return [torch.arange(3 * 4).reshape(3, 4) % 5 for _ in inputs]


class TestDepthToSpace(OperatorContract):
    @pytest.fixture(params=[2, 3])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        block = request.param
        return [(DepthToSpace(block), ((c * block**2, 2, 3),)) for c in (2, 1)]


def test_a_lookup_is_that_of_torch() -> None:
    table, tokens = torch.randn(7, 5), torch.tensor([[1, 6], [0, 0]])
    found = compute(Embedding(7, 5), {"weight": table}, tokens)
    assert torch.equal(found, F.embedding(tokens, table))
    assert torch.equal(found[0, 1], table[6])


def test_channels_are_moved_as_torch_moves_them() -> None:
    image = torch.randn(2, 8, 3, 2)
    assert torch.equal(compute(DepthToSpace(2), {}, image), F.pixel_shuffle(image, 2))
    narrow = compute(DepthToSpace(2), {}, image[:, :4])
    assert torch.equal(narrow, compute(DepthToSpace(2), {}, image)[:, :1])


def test_widths_that_make_no_blocks_are_refused() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("conv", Conv2d(choice("width", (4, 6)), 1))
    graph.add("shuffle", DepthToSpace(2))
    space = SearchSpace(graph)
    assert space.decode((0,)).shapes()["shuffle"] == (1, 8, 8)
    with pytest.raises(ValueError, match=r"'shuffle'.*a multiple of 4 channels, given 6"):
        space.decode((1,)).shapes()


@pytest.mark.parametrize(
    ("op", "read", "told"),
    [
        (Linear(3), TOKENS, "Linear at 'op' reads float32, but 'input' gives int64; tokens are"),
        (Flatten(), TOKENS, "Flatten at 'op' reads float32"),
        (Linear(3, activation=Quant(Int(8))), TOKENS, "by no operator that quantizes"),
        (Embedding(4, 3), Input("rows", (6,)), "Embedding at 'op' reads int64, but 'input' gives"),
    ],
)
def test_tokens_are_read_by_embeddings_only(op: Op, read: Input, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Graph(read).add("op", op)


def test_a_table_with_too_few_entries_is_refused() -> None:
    Graph(Input("tokens", (6,), "int64", 4)).add("table", Embedding(4, 3))
    with pytest.raises(ValueError, match="'table' has 4 entries, but input 'tokens' has 5 diff"):
        Graph(Input("tokens", (6,), "int64", 5)).add("table", Embedding(4, 3))


def test_an_embedding_is_always_there() -> None:
    with pytest.raises(ValueError, match="'table' is conditional, and where it is absent"):
        Graph(TOKENS).add("table", Embedding(4, 3), present=choice("there", (False, True)))


def test_a_lookup_costs_the_entries_that_it_reads() -> None:
    line = Roofline({}, bandwidth_gb_per_s=1.0, overhead_us=0.0)
    work = line.work(Kernel(Embedding(1000, 8), (), ((6,),)), of_bits(8, 32))
    assert work.weight_bytes == 6 * 8
    small = line.work(Kernel(Embedding(4, 8), (), ((6,),)), of_bits(8, 32))
    assert small.weight_bytes == 4 * 8


def classifier(weight: Quant | None) -> SearchSpace:
    graph = Graph(TOKENS)
    graph.add("table", Embedding(9, choice("width", (3, 5)), weight))
    graph.add("flat", Flatten())
    graph.add("head", Linear(4))
    return SearchSpace(graph)


@pytest.mark.parametrize(
    "weight",
    [
        None,
        *(Quant(Int(bits), PerTensor()) for bits in (2, 4, 8)),
        *(Quant(Int(bits, symmetric=s), PerChannel()) for bits in (2, 8) for s in (True, False)),
        Quant(Int(5, symmetric=False), PerTensor()),
    ],
    ids=str,
)
def test_a_table_leaves_with_its_codes(weight: Quant | None, tmp_path: Path) -> None:
    """In every form, and in the same numbers in onnx's own evaluator."""
    supernet = Supernet(classifier(weight), seed=0)
    with torch.no_grad():
        supernet.node("head").tensors["bias"].copy_(torch.arange(4.0))
    tokens = torch.randint(0, 9, (64, 6), generator=torch.Generator().manual_seed(0))
    deployed = deploy(extract(supernet, (1,), [tokens]))
    with torch.no_grad():
        ours = deployed.module()(tokens)
    for form in installed():
        name, path = form.name, tmp_path / f"net{form.suffix}"
        form.write(deployed, path)
        found = verify(
            path, deployed, {"tokens": tokens}, ours.argmax(1), criterion=Classification()
        )
        assert found.largest_difference < 1e-5, name
    held = read_policy(tmp_path / "net.onnx")["table"]
    table = deployed.weight("table")
    assert table is not None
    assert (held.weight is None) == (weight is None)
    if held.weight is not None and weight is not None:
        assert held.weight.bits <= weight.bits
        assert held.weight.scales == (1 if weight.granularity.single else 9)
    graph = onnx.load(tmp_path / "net.onnx")
    (theirs,) = ReferenceEvaluator(graph).run(["output"], {"tokens": tokens.numpy()})
    np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-5)
    first = torch.from_numpy(values(table))[tokens[0, 0]]
    assert torch.allclose(deployed.module().get_submodule("at_table")(tokens)[0, 0], first)


def test_a_narrower_table_has_the_first_numbers(tmp_path: Path) -> None:
    supernet = Supernet(classifier(None), seed=0)
    tokens = torch.arange(6).reshape(1, 6)
    wide, narrow = (deploy(extract(supernet, (i,), [tokens])).weight("table") for i in (1, 0))
    assert isinstance(wide, np.ndarray)
    assert isinstance(narrow, np.ndarray)
    assert np.array_equal(narrow, wide[:, :3])
    report = export_onnx(deploy(extract(supernet, (0,), [tokens])), tmp_path / "net.onnx")
    assert report.nodes["Gather"] == 1
