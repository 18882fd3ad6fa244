"""The operators of attention keep the contract, and compute what torch's functions do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.testing.operator import Form, OperatorContract
from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import (
    Input,
    Linear,
    MatMul,
    MeanTokens,
    MergeHeads,
    Op,
    PositionalEmbedding,
    RMSNorm,
    Shape,
    Softmax,
    SplitHeads,
    inverse_root,
)
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.elastic import compute, sliced
from supernets.encoded import EncodedTensor
from supernets.extract import detached
from supernets.supernet import Supernet


class TestLinearIntoHeads(OperatorContract):
    """The largest form has the most heads, and a later one the larger heads."""

    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        made = [(4, 3, 6), (4, 2, 5), (2, 3, 6), (1, 1, 4)]
        return [(Linear(size, heads=heads), ((5, read),)) for heads, size, read in made]


class TestLinearOfHeads(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        made = [(4, 3, 7), (2, 3, 7), (4, 2, 3), (1, 1, 2)]
        return [(Linear(out, heads_read=heads), ((5, heads * size),)) for heads, size, out in made]


class TestLinearFromHeadsToHeads(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [
            (Linear(3, heads=4, heads_read=2), ((5, 6),)),
            (Linear(2, heads=2, heads_read=1), ((5, 2),)),
        ]


class TestSplitHeads(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(SplitHeads(heads), ((5, 12),)) for heads in (3, 1)]


class TestMergeHeads(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(MergeHeads(), (shape,)) for shape in [(3, 5, 4), (1, 5, 2)]]


class TestMatMul(OperatorContract):
    @pytest.fixture(params=[1.0, inverse_root(6)])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        scale = request.param
        return [
            (MatMul(scale=scale), ((2, 5, 6), (2, 6, 4))),
            (MatMul(scale=scale), ((3, 4), (4, 5))),
        ]


class TestMatMulOfKeys(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [
            (MatMul(transposed=True, scale=inverse_root(size)), ((heads, 5, size),) * 2)
            for heads, size in [(3, 8), (2, 4)]
        ]


class TestSoftmax(OperatorContract):
    @pytest.fixture(params=[False, True], ids=["all", "causal"])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [(Softmax(request.param), (shape,)) for shape in [(3, 5, 5), (4, 4)]]


class TestRMSNorm(OperatorContract):
    @pytest.fixture(params=[1e-6, 1e-2])
    def forms(self, request: pytest.FixtureRequest) -> Sequence[Form]:
        return [(RMSNorm(request.param), (shape,)) for shape in [(5, 8), (4,), (2, 3, 6)]]


class TestPositionalEmbedding(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(PositionalEmbedding(), (shape,)) for shape in [(5, 8), (5, 3), (4, 8)]]


class TestMeanTokens(OperatorContract):
    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        return [(MeanTokens(), (shape,)) for shape in [(5, 8), (3, 2)]]


def drawn(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("causal", [False, True])
def test_the_operators_together_are_torchs_multi_head_attention(*, causal: bool) -> None:
    """The sum of `nn.MultiheadAttention` with the same weights, with and without a mask."""
    batch, tokens, heads, size = 2, 5, 3, 4
    width = heads * size
    reference = nn.MultiheadAttention(width, heads, batch_first=True)
    x, into, out = drawn(batch, tokens, width), Linear(size, heads=heads), Linear(width)
    weights, biases = reference.in_proj_weight.chunk(3), drawn(3, width)
    reference.in_proj_bias.data.copy_(biases.flatten())
    query, key, value = (
        compute(SplitHeads(heads), {}, compute(into, {"weight": w, "bias": b}, x))
        for w, b in zip(weights, biases, strict=True)
    )
    scores = compute(MatMul(transposed=True, scale=inverse_root(size)), {}, query, key)
    mixed = compute(MatMul(), {}, compute(Softmax(causal), {}, scores), value)
    ends = {"weight": reference.out_proj.weight, "bias": reference.out_proj.bias}
    found = compute(out, ends, compute(MergeHeads(), {}, mixed))
    later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1) if causal else None
    wanted, _ = reference(x, x, x, attn_mask=later, need_weights=False)
    torch.testing.assert_close(found, wanted)


def test_fewer_and_smaller_heads_are_the_first_features_of_the_first_heads() -> None:
    wide, narrow = Linear(4, heads=3), Linear(2, heads=2)
    weight = torch.arange(12.0).reshape(3, 4, 1).expand(3, 4, 7)
    found = sliced(narrow, {"weight": weight, "bias": weight[..., 0]}, (5, 6))
    assert wide.parameters((5, 7))["weight"].shape == weight.shape
    assert found["weight"].shape == (2, 2, 6)
    assert found["bias"].tolist() == [[0, 1], [4, 5]]
    given = {"weight": found["weight"], "bias": torch.zeros(2, 2)}
    assert compute(narrow, given, torch.ones(1, 5, 6))[0, 0].tolist() == [0, 6, 24, 30]


def test_a_linear_of_heads_runs_on_a_device_as_any_other() -> None:
    assert Linear(4, heads=3, heads_read=2).canonical() == Linear(12)


def test_a_causal_softmax_ignores_all_later_tokens() -> None:
    scores = drawn(2, 4, 4)
    found = compute(Softmax(causal=True), {}, scores)
    assert not found.triu(1).any()
    for last in range(4):
        before = F.softmax(scores[:, last, : last + 1], -1)
        torch.testing.assert_close(found[:, last, : last + 1], before)


def test_an_rms_norm_divides_by_the_root_of_the_mean_square() -> None:
    """Zhang and Sennrich 2019, eq. 4; a narrower norm takes the mean over its own features."""
    x, scale = drawn(2, 5, 4), drawn(4, seed=5)
    wanted = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale
    torch.testing.assert_close(compute(RMSNorm(), {"scale": scale}, x), wanted)
    given = F.rms_norm(x[..., :3], (3,), scale[:3], 1e-6)
    assert torch.equal(compute(RMSNorm(), {"scale": scale[:3]}, x[..., :3]), given)


def test_the_mean_is_over_tokens() -> None:
    x = drawn(2, 5, 3)
    torch.testing.assert_close(compute(MeanTokens(), {}, x), x.sum(1) / 5)


def test_the_scale_of_attention_is_one_over_the_root_of_the_size() -> None:
    assert inverse_root(16) == 0.25


def test_a_channel_has_the_same_step_in_every_subnet() -> None:
    """Steps of a weight with heads are those of the first features of the first heads."""
    heads, size = choice("heads", (2, 3)), choice("size", (2, 4))
    graph = Graph(Input("rows", (5, 6)))
    graph.add("into", Linear(size, Quant(Int(4, symmetric=False), PerChannel()), heads=heads))
    supernet = Supernet(SearchSpace(graph), seed=0)
    initialise_steps(supernet, [drawn(4, 5, 6)])
    steps = dict(supernet.node("into").named_parameters())["weight.log_steps.uint4_per-channel"]
    for genotype in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        made = detached(supernet, genotype)
        held = made.parameters["into"]["weight"]
        assert isinstance(held, EncodedTensor)
        op = made.graph.nodes["into"].op
        assert isinstance(op, Linear)
        first = steps[: op.heads, : op.out]
        np.testing.assert_allclose(held.scale, first.exp().flatten().detach(), rtol=1e-6)
        x = drawn(2, 5, 6)
        assert torch.equal(made.module(x), supernet(x, genotype))


REFUSED: list[tuple[Op, tuple[Shape, ...], str]] = [
    (SplitHeads(5), ((4, 12),), "5 heads, which do not divide the 12"),
    (SplitHeads(2), ((3, 4, 4),), "reads sequences"),
    (MergeHeads(), ((4, 12),), r"reads \(heads, tokens, size\)"),
    (Linear(3, heads_read=5), ((4, 12),), "5 heads, which do not divide the 12"),
    (MatMul(), ((2, 3, 4), (2, 5, 3)), r"by \(\.\.\., k, n\)"),
    (MatMul(), ((2, 3, 4), (3, 4, 5)), "equal other axes"),
    (MatMul(), ((3, 4), (2, 4, 5)), "equal other axes"),
    (MatMul(), ((4,), (4,)), "equal other axes"),
    (MatMul(transposed=True), ((2, 3, 4), (2, 4, 3)), r"by \(\.\.\., n, k\)"),
    (Softmax(), ((),), "single number"),
    (Softmax(causal=True), ((2, 3, 4),), r"tokens, tokens\)"),
    (Softmax(causal=True), ((3,),), r"tokens, tokens\)"),
    (RMSNorm(), ((),), "single number"),
    (PositionalEmbedding(), ((3, 4, 4),), "reads sequences"),
    (MeanTokens(), ((3,),), "reads sequences"),
]


@pytest.mark.parametrize(("op", "inputs", "told"), REFUSED)
def test_shapes_that_an_operator_cannot_read_are_refused(
    op: Op, inputs: tuple[Shape, ...], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        op.infer(*inputs)
