"""Number formats bit for bit as torch and ml_dtypes have them, and the granularities of scales."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from search_spaces.choice import choice
from search_spaces.formats import (
    BFLOAT16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    FLOAT16,
    FORMATS,
    Float,
    Format,
    Int,
    format_named,
)
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, Input
from search_spaces.quant import (
    Float16,
    Float32,
    Granularity,
    PerChannel,
    PerGroup,
    PerTensor,
    PowerOfTwo,
    Quant,
    granularity_named,
    precision,
)
from search_spaces.space import SearchSpace
from tests.search_spaces.older_files import with_bits

OF_TORCH = {
    E4M3: torch.float8_e4m3fn,
    E5M2: torch.float8_e5m2,
    FLOAT16: torch.float16,
    BFLOAT16: torch.bfloat16,
}
OF_ML_DTYPES = {
    E4M3: ml_dtypes.float8_e4m3fn,
    E5M2: ml_dtypes.float8_e5m2,
    E3M2: ml_dtypes.float6_e3m2fn,
    E2M3: ml_dtypes.float6_e2m3fn,
    E2M1: ml_dtypes.float4_e2m1fn,
    FLOAT16: np.dtype(np.float16).type,
    BFLOAT16: ml_dtypes.bfloat16,
}


def name(value: Format | Granularity) -> str:
    return value.name


def samples(number_format: Format) -> NDArray[np.float32]:
    """Random numbers of every size, each number of the format, and each tie between two."""
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(5000) * 10.0**power for power in range(-8, 6)]
    numbers = number_format.decode(np.arange(2**number_format.bits))
    numbers = np.unique(numbers[np.isfinite(numbers)])
    ties = numbers[1:] / 2 + numbers[:-1] / 2
    return np.concatenate([*drawn, numbers, ties, [0.0, -0.0]]).astype(np.float32)


@pytest.mark.parametrize("number_format", OF_TORCH, ids=name)
def test_every_code_is_the_number_that_torch_says(number_format: Float) -> None:
    codes = np.arange(2**number_format.bits).astype(number_format.code_type)
    theirs = torch.from_numpy(codes).view(OF_TORCH[number_format]).float().numpy()
    assert np.array_equal(number_format.decode(codes), theirs, equal_nan=True)


@pytest.mark.parametrize("number_format", OF_TORCH, ids=name)
def test_every_number_gets_the_code_that_torch_gives(number_format: Float) -> None:
    x = samples(number_format)
    theirs = torch.from_numpy(x).clamp(*number_format.bounds).to(OF_TORCH[number_format])
    whole = torch.uint8 if number_format.bits == 8 else torch.uint16
    assert np.array_equal(number_format.encode(x), theirs.view(whole).numpy())
    assert np.array_equal(number_format.snap(x), theirs.float().numpy())


@pytest.mark.parametrize("number_format", OF_ML_DTYPES, ids=name)
def test_every_number_gets_the_code_that_ml_dtypes_gives(number_format: Float) -> None:
    x = samples(number_format)
    theirs = x.clip(*number_format.bounds).astype(OF_ML_DTYPES[number_format])
    assert np.array_equal(number_format.encode(x), theirs.view(number_format.code_type))
    assert np.array_equal(number_format.snap(x), theirs.astype(np.float32))
    assert number_format.largest == float(ml_dtypes.finfo(OF_ML_DTYPES[number_format]).max)


@pytest.mark.parametrize("number_format", FORMATS.values(), ids=name)
def test_a_format_keeps_its_own_numbers_and_saturates(number_format: Format) -> None:
    x = samples(number_format)
    snapped = number_format.snap(x)
    assert snapped.dtype == np.float32
    assert np.array_equal(number_format.snap(snapped), snapped)
    assert np.array_equal(number_format.decode(number_format.encode(x)), snapped)
    low, high = number_format.bounds
    assert number_format.snap(np.array([-np.inf, np.inf, 0.0])).tolist() == [low, high, 0.0]
    assert len(np.unique(snapped[snapped > 0])) == number_format.positives
    assert 2**number_format.bits > number_format.encode(x).astype(np.int64).max()


@pytest.mark.parametrize("number_format", FORMATS.values(), ids=name)
def test_no_number_of_the_format_is_nearer(number_format: Format) -> None:
    x = samples(number_format)[::7].astype(np.float64)
    numbers = np.unique(number_format.snap(samples(number_format))).astype(np.float64)
    above = np.searchsorted(numbers, x).clip(1, len(numbers) - 1)
    least = np.minimum(np.abs(x - numbers[above - 1]), np.abs(x - numbers[above]))
    assert np.array_equal(np.abs(x - number_format.snap(x)), least)


def test_a_format_has_one_name_and_is_found_by_it() -> None:
    assert len(FORMATS) == 21
    for known in (Int(8), Int(8, symmetric=False), Int(2), E4M3, E2M1, FLOAT16, BFLOAT16):
        assert format_named(known.name) == known
    assert [Quant(f).name for f in (Int(4), Int(4, symmetric=False), E5M2)] == [
        *("int4", "uint4", "e5m2")
    ]
    assert [Quant(f).name for f in (FLOAT16, BFLOAT16)] == ["float16", "bfloat16"]
    assert [Quant(f).bits for f in (Int(4), E5M2, E3M2, E2M1, BFLOAT16)] == [4, 8, 6, 4, 16]
    with pytest.raises(ValueError, match=r"'fp8' is no number format; there are int2, .*bfloat16"):
        format_named("fp8")


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no format Float\(3, 4\); there are Float\(4, 3\)"):
        Float(3, 4)
    with pytest.raises(ValueError, match=r"takes a number format such as Int\(8\).*given 8"):
        Quant(8)  # pyright: ignore[reportArgumentType]
    for granularity in (PerChannel(), PerGroup(4), choice("grain", (PerTensor(), PerChannel()))):
        with pytest.raises(ValueError, match="float16 have no scales, so none are shared; leave"):
            Quant(FLOAT16, granularity)
    with pytest.raises(ValueError, match="NaN has no code in e2m1"):
        E2M1.encode(np.array([np.nan]))


@pytest.mark.parametrize(
    ("granularity", "blocks", "counts"),
    [
        (PerTensor(), (8, 12, 3, 3), (1,)),
        (PerChannel(), (1, 12, 3, 3), (8,)),
        (PerGroup(4), (1, 4, 3, 3), (8, 3, 1, 1)),
    ],
    ids=["tensor", "channel", "group"],
)
def test_blocks_tile_a_weight(granularity: Granularity, blocks, counts) -> None:
    assert granularity.blocks((8, 12, 3, 3)) == blocks
    assert granularity.counts((8, 12, 3, 3)) == counts
    assert granularity_named(granularity.name) == granularity


def test_a_shape_that_groups_do_not_divide_is_refused() -> None:
    for shape in ((8, 10), (8, 1, 3, 3), (8,)):
        with pytest.raises(ValueError, match=r"per-group-4 needs .* multiple of 4, given .*; give"):
            PerGroup(4).blocks(shape)
    graph = Graph(Input("image", (6, 4, 4)))
    graph.add("conv", Conv2d(8, 3, weight=Quant(Int(4), PerGroup(4))))
    with pytest.raises(ValueError, match="node 'conv': per-group-4 needs"):
        graph.shapes()


def test_granularities_are_found_by_name() -> None:
    for known in (PerGroup(16), PerGroup(32, Float16()), PerGroup(32, PowerOfTwo())):
        assert granularity_named(known.name) == known
    assert PerGroup(32, PowerOfTwo()).name == "per-group-32-e8m0"
    for unknown in ("per-row", "per-group", "per-group-", "per-group-x", "per-group-8-e4m3"):
        with pytest.raises(ValueError, match=rf"'{unknown}' is no granularity; there are per-ten"):
            granularity_named(unknown)
    with pytest.raises(ValueError, match="at least one input channel, given size 0"):
        granularity_named("per-group-0")


def test_scales_are_rounded_to_their_format() -> None:
    scales = np.array([1.0, 1.41, 1.42, 3.0, 0.1, 1e-40, 1e30], np.float32)
    powers = PowerOfTwo().snap(scales)
    assert powers[:5].tolist() == [1.0, 1.0, 2.0, 4.0, 0.125]
    assert np.array_equal(np.frexp(powers)[0], np.full(len(scales), 0.5))
    half = Float16().snap(scales)
    assert np.array_equal(half[:5], scales[:5].astype(np.float16).astype(np.float32))
    assert np.isfinite(half).all()
    assert (half > 0).all()
    assert np.array_equal(Float32().snap(scales), scales)


def _space(weight: Quant | None) -> SearchSpace:
    graph = Graph(Input("image", (6, 4, 4)))
    graph.add("conv", Conv2d(8, 3, weight=weight))
    return SearchSpace(graph)


def test_formats_and_bits_are_options_of_one_precision() -> None:
    grains = (PerTensor(), PerChannel())
    made = precision("w", (4, FLOAT16, None), granularities=grains)
    assert [c.name for c in _space(made).choices] == ["w.bits", "w.granularity"]
    assert _space(made).size == 4  # the granularity is closed but for the integers
    assert _space(made).decode((1, 1)).nodes["conv"].op.weight == Quant(FLOAT16)
    assert SearchSpace.from_json(_space(made).to_json()) == _space(made)
    made = precision("w", (4, E4M3, None), symmetries=(True, False))
    space = _space(made)
    assert [c.name for c in space.choices] == ["w.bits", "w.symmetric"]
    assert space.size == 4  # the symmetry is closed but for the integers
    weights = {space.decode(row).nodes["conv"].op.weight for row in ((0, 0), (0, 1), (1, 0))}
    assert weights == {Quant(Int(4)), Quant(Int(4, symmetric=False)), Quant(E4M3)}
    assert SearchSpace.from_json(space.to_json()) == space


def test_a_space_file_of_before_has_its_precisions_as_integers() -> None:
    graph = Graph(Input("image", (8, 4, 4)))
    granularities = (PerTensor(), PerChannel())
    weight = precision("w", (4, 8, None), granularities=granularities, symmetries=(True, False))
    graph.add("conv", Conv2d(8, 3, weight=weight, activation=Quant(Int(8, symmetric=False))))
    space = SearchSpace(graph)
    older = with_bits(json.loads(space.to_json())) | {"format": 2}
    assert older["choices"]["w.bits"][0] == {
        "$spec": "Quant",
        "granularity": {"$choice": "w.granularity"},
        "bits": 4,
        "symmetric": {"$choice": "w.symmetric"},
    }
    assert SearchSpace.from_json(json.dumps(older)) == space


def test_bits_may_be_a_choice_of_their_own() -> None:
    graph = Graph(Input("image", (8, 4, 4)))
    graph.add("conv", Conv2d(8, 3, weight=Quant(Int(choice("bits", (4, 8))))))
    space = SearchSpace(graph)
    older = with_bits(json.loads(space.to_json())) | {"format": 2}
    assert SearchSpace.from_json(json.dumps(older)) == space
