import numpy as np
import pytest

from predictors.related import Related, Translation
from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, Input, deeper_than
from search_spaces.quant import Quant
from search_spaces.space import SearchSpace


def tower(
    *, depth: int, widths: tuple[int, ...], bits: tuple[int | None, ...], prefix: str = "layer"
) -> SearchSpace:
    """Convolutions in a row with a width and a weight precision each."""
    graph = Graph(Input("image", (3, 8, 8)))
    layers = choice("depth", range(1, depth + 1))
    for i in range(depth):
        options = [None if count is None else Quant(Int(count)) for count in bits]
        spec = Conv2d(
            choice(f"{prefix}{i}.width", widths), 3, weight=choice(f"{prefix}{i}.bits", options)
        )
        graph.add(f"layer{i}", spec, present=deeper_than(layers, i) if i else True)
    graph.add("head", Conv2d(10, 1))
    return SearchSpace(graph, name=f"tower{depth}")


SMALL = tower(depth=2, widths=(8, 16), bits=(4, 8))
LARGE = tower(depth=4, widths=(8, 12, 16, 30), bits=(2, 4, 8, None))


def open_picks(space: SearchSpace, row: np.ndarray) -> dict[str, object]:
    picked = zip(space.choices, row.tolist(), space.active(row), strict=True)
    return {made.name: made.options[index] for made, index, is_open in picked if is_open}


def test_equal_values_meet_and_numbers_go_to_the_nearest():
    translate = Translation(LARGE, SMALL, otherwise=np.array(SMALL.smallest))
    asked = {"depth": 2, "layer0.width": 30, "layer0.bits": Quant(Int(8))}
    asked |= {"layer1.width": 12, "layer1.bits": Quant(Int(4))}
    picked = [c.options.index(asked[c.name]) if c.name in asked else 0 for c in LARGE.choices]
    row = LARGE.canonical(picked)
    assert open_picks(SMALL, translate(np.array([row]))[0]) == {
        "depth": 2,
        "layer0.width": 16,
        "layer0.bits": Quant(Int(8)),
        "layer1.width": 8,
        "layer1.bits": Quant(Int(4)),
    }


def test_there_and_back_again_is_where_it_began():
    rows = SMALL.sample_array(np.random.default_rng(0), 200)
    there = Translation(SMALL, LARGE, otherwise=np.array(LARGE.largest))(rows)
    assert [LARGE.canonical(row) for row in there.tolist()] == [*map(tuple, there.tolist())]
    back = Translation(LARGE, SMALL, otherwise=np.array(SMALL.smallest))(there)
    np.testing.assert_array_equal(back, rows)


def test_what_only_the_other_space_decides_is_as_given():
    plain = tower(depth=2, widths=(8, 16), bits=(8,))
    for otherwise in (SMALL.smallest, SMALL.largest):
        translate = Translation(plain, SMALL, otherwise=np.array(otherwise))
        found = open_picks(SMALL, translate(np.array([plain.largest]))[0])
        assert found["layer0.bits"] == open_picks(SMALL, np.array(otherwise))["layer0.bits"]
        assert found["layer0.width"] == 16


def test_losses_of_a_small_space_tell_of_networks_of_a_large_one():
    rng = np.random.default_rng(0)

    def loss(space, rows):
        told = [open_picks(space, row) for row in rows]
        return np.array([50 - told["depth"] - told["layer0.width"] / 4 for told in told])

    seen = np.unique(SMALL.sample_array(rng, 60), axis=0)
    column = Related(LARGE, SMALL, genotypes=seen, losses=loss(SMALL, seen))
    rows = LARGE.sample_array(rng, 200)
    # What the small space tells apart it has seen; the rest of the loss it cannot know.
    known = loss(SMALL, Translation(LARGE, SMALL, otherwise=np.array(SMALL.smallest))(rows))
    assert np.corrcoef(column(rows), known)[0, 1] > 0.95


def test_spaces_without_a_common_decision_are_refused():
    other = tower(depth=2, widths=(8, 16), bits=(4, 8), prefix="stage")
    narrow = other.restrict(lambda made, option: made.name != "depth" or option == 1)
    with pytest.raises(ValueError, match=r"no decision in common.*layer0\.width.*stage0\.width"):
        Translation(SMALL, narrow, otherwise=np.array(narrow.smallest))
