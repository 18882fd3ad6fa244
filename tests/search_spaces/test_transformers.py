"""Spaces of transformers keep the contract of spaces, and share and refuse what they should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas.testing.space import SpaceContract
from search_spaces.language_model import language_model
from search_spaces.ops import Input, Linear, MatMul, Shape
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace
from search_spaces.transformer_encoder import transformer_encoder
from tests.tiny_transformers import TINY

TOKENS = Input("tokens", (6,), "int64", 11)
ROWS = Input("rows", (6, 5))


def encoder(given: Input = ROWS, **options: Any) -> SearchSpace:
    return transformer_encoder((given,), (4,), **{**TINY, **options})


class TestTransformerEncoder(SpaceContract):
    @pytest.fixture
    def space(self) -> SearchSpace:
        return encoder()


class TestLanguageModel(SpaceContract):
    @pytest.fixture
    def space(self) -> SearchSpace:
        return language_model((TOKENS,), (6, 11), **TINY)


@pytest.mark.parametrize(
    ("given", "options", "tokens"),
    [
        (ROWS, {}, 6),
        (Input("row", (7,)), {}, 7),
        (Input("image", (3, 8, 12)), {"patch": 4}, 6),
        (TOKENS, {}, 6),
    ],
)
def test_an_encoder_reads_tokens_of_every_kind(
    given: Input, options: dict[str, int], tokens: int
) -> None:
    space = encoder(given, **options)
    shapes = space.decode(space.largest).shapes()
    assert shapes["positions"] == shapes["block1.add2"] == (tokens, 12)
    assert shapes["block0.scores"] == (3, tokens, tokens)
    assert shapes["head"] == (4,)


def test_heads_and_their_size_are_chosen_per_block_and_shared_by_all_that_read_them() -> None:
    space = encoder()
    for genotype in space.sample_array(np.random.default_rng(1), 20):
        graph = space.decode(genotype)
        for block in ("block0", "block1"):
            if f"{block}.query" not in graph.nodes:
                continue
            made = [graph.nodes[f"{block}.{name}"].op for name in ("query", "key", "value")]
            out, scores = graph.nodes[f"{block}.out"].op, graph.nodes[f"{block}.scores"].op
            assert made[0] == made[1] == made[2]
            assert isinstance(made[0], Linear)
            assert isinstance(out, Linear)
            assert isinstance(scores, MatMul)
            assert out.heads_read == made[0].heads
            assert scores.scale == pytest.approx(made[0].out ** -0.5)


def test_queries_keys_and_values_have_tied_bits_and_products_bits_of_their_own() -> None:
    space = encoder(policy=Policy(fineness="layer"))
    names = {choice.name for choice in space.choices}
    assert {f"blocks.block0.{layer}.activation.bits" for layer in ("qkv", "scores", "mix")} < names
    assert not {name for name in names if "query" in name or "value" in name}


REFUSED: list[tuple[tuple[Input, ...], Shape, dict[str, int], str]] = [
    ((ROWS, TOKENS), (4,), {}, "reads one input, but the task has 2"),
    ((), (4,), {}, "reads one input, but the task has 0"),
    ((ROWS,), (6, 4), {}, "choose another space"),
    ((ROWS,), (4,), {"patch": 2}, "with the option patch"),
    ((Input("image", (3, 8, 8)),), (4,), {}, "with the option patch"),
    ((TOKENS,), (4,), {"patch": 2}, "11 different values, and patch 2"),
    ((replace(TOKENS, values=None),), (4,), {}, "no different values"),
    ((Input("pairs", (6, 2), "int64", 11),), (4,), {}, r"given 'pairs', int64 \(6, 2\)"),
    ((Input("video", (2, 3, 8, 8)),), (4,), {}, "given 'video'"),
]


@pytest.mark.parametrize(("inputs", "output", "options", "told"), REFUSED)
def test_what_an_encoder_cannot_read_or_give_is_refused(
    inputs: tuple[Input, ...], output: Shape, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        transformer_encoder(inputs, output, **TINY, **options)


@pytest.mark.parametrize(
    ("given", "output"),
    [
        (ROWS, (6, 11)),
        (TOKENS, (11,)),
        (TOKENS, (5, 11)),
        (TOKENS, (6, 12)),
    ],
)
def test_a_language_model_reads_tokens_and_gives_numbers_at_each(
    given: Input, output: Shape
) -> None:
    with pytest.raises(ValueError, match=r"int64 \(tokens,\), and gives \(tokens, vocabulary\)"):
        language_model((given,), output, **TINY)
