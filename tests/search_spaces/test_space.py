import numpy as np
import pytest

from nas.testing.searcher import alternatives
from nas.testing.space import SpaceContract, count_by_enumeration
from search_spaces.choice import choice
from search_spaces.costs import bitops, compile_cost, macs, total
from search_spaces.graph import Graph
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Activation, Conv2d, Flatten, GlobalPool, Input, Linear, deeper_than
from search_spaces.policy import Policy, full_precision, uniform
from search_spaces.quant import PerChannel, PerTensor, Quant, bits_of
from search_spaces.residual import residual
from search_spaces.space import SearchSpace

RICH = Policy(
    weight_bits=(2, 3, 4, 6, 8, None),
    activation_bits=(4, 8, None),
    weight_granularities=(PerTensor(), PerChannel()),
    weight_symmetries=(True, False),
    fineness="layer",
)


def small_residual(policy: Policy = RICH) -> SearchSpace:
    return residual(
        inputs=(Input("image", (3, 16, 16)),),
        output=(5,),
        image_sizes=(12, 16),
        widths=((8, 16), (8, 16), (16, 24)),
        depths=((1, 2), (1, 3)),
        kernels=(3, 5),
        policy=policy,
    )


def small_mobilenet(policy: Policy = RICH) -> SearchSpace:
    return mobilenet(
        inputs=(Input("image", (3, 24, 24)),),
        output=(5,),
        image_sizes=(16, 24),
        stages=(Stage(8, 1), Stage(16, 2, squeeze_excite="choice", function="hardswish")),
        depths=(1, 2),
        kernels=(3, 5),
        expansions=(2, 3),
        width_multipliers=(1.0, 1.5),
        stem=8,
        stem_stride=1,
        head=32,
        policy=policy,
    )


@pytest.mark.parametrize("family", [residual, mobilenet])
@pytest.mark.parametrize(
    ("inputs", "output", "told"),
    [
        ((Input("rows", (7,)),), (3,), "reads one image, .*, given rows float32 .7,.; choose"),
        ((Input("tokens", (3, 4, 4), "int64"),), (3,), "given tokens int64"),
        ((Input("a", (1, 8, 8)), Input("b", (1, 8, 8))), (3,), "given a float32 .*, b float32"),
        ((), (3,), "given no input; choose another space for this task"),
        ((Input("image", (1, 8, 8)),), (3, 8, 8), r"a vector per sample.*shape \(3, 8, 8\)"),
    ],
)
def test_tasks_that_image_classifiers_cannot_do_are_refused(family, inputs, output, told):
    options = {"widths": ((8,), (8,)), "depths": ((1,),)} if family is residual else {}
    with pytest.raises(ValueError, match=f"the space '{family.__name__}'.*{told}"):
        family(inputs, output, **options)


def test_an_image_of_the_only_size_is_not_resized():
    options = {"widths": ((8,), (8,)), "depths": ((1,),)}
    for image_sizes, nodes in (((8,), False), (None, False), ((6,), True), ((6, 8), True)):
        space = residual((Input("image", (1, 8, 8)),), (3,), image_sizes=image_sizes, **options)
        assert ("resize" in space.graph.nodes) == nodes
    wide = residual((Input("image", (1, 8, 12)),), (3,), **options)
    assert wide.decode(wide.largest).shapes()["stem"] == (8, 8, 12)


class TestResidual(SpaceContract):
    @pytest.fixture
    def space(self):
        return small_residual()


class TestMobileNet(SpaceContract):
    @pytest.fixture
    def space(self):
        return small_mobilenet()


class TestRestricted(SpaceContract):
    @pytest.fixture
    def space(self):
        return small_mobilenet().restrict(
            lambda _, option: not isinstance(option, Quant) or option.bits >= 4
        )

    def test_no_dropped_option_is_left(self, space):
        picked = [option for c in space.choices for option in c.options]
        assert min(bits_of(o) for o in picked if isinstance(o, Quant)) == 4


def shallower() -> SearchSpace:
    """A space of depths 1 to 3 without depth 3, so that a depth is still a choice."""
    deep = residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(2,),
        widths=((8,), (8, 16)),
        depths=((1, 2, 3),),
        policy=RICH,
    )
    return deep.restrict(lambda made, option: not made.name.endswith("depth") or option < 3)


class TestShallower(SpaceContract):
    @pytest.fixture
    def space(self):
        return shallower()

    def test_no_node_is_left_that_no_network_has(self, space):
        assert {a for a in space.graph.nodes if ".block" in a} == {
            a for a in space.decode(space.largest).nodes if ".block" in a
        }
        assert "stage0.block1.conv1" in space.graph.nodes


def test_a_node_of_no_network_is_refused():
    graph = Graph(Input("image", (1, 8, 8)))
    graph.add("stem", Conv2d(4, 3))
    graph.add("extra", Activation("relu"), present=deeper_than(choice("depth", (1, 2)), 2))
    graph.add("pool", GlobalPool())
    with pytest.raises(ValueError, match=r"'extra' is in no network .* leave the node out"):
        SearchSpace(graph)


def tiny(policy: Policy) -> SearchSpace:
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(2,),
        widths=((8,), (8, 16)),
        depths=((1, 2),),
        kernels=(3, 5),
        policy=policy,
    )


@pytest.mark.parametrize("fineness", ["network", "stage", "block", "layer"])
def test_size_equals_enumeration(fineness):
    space = tiny(
        Policy(
            weight_bits=(4, None),
            activation_bits=(8,),
            weight_symmetries=(True, False),
            fineness=fineness,
        )
    )
    assert space.size == count_by_enumeration(space)


def test_every_row_is_each_network_once_in_lexicographic_order():
    policy = Policy(weight_bits=(4, 8), fineness="network")
    space = small_residual(policy)
    rows = space.every_row()
    assert len(rows) == space.size
    assert rows.tolist() == sorted(map(list, {tuple(row) for row in rows.tolist()}))
    np.testing.assert_array_equal(space.canonical_array(rows), rows)


def test_closed_choices_do_not_multiply_what_is_enumerated():
    space = alternatives(12)
    assert space.size == 60
    assert space.counts.prod() == 12 * 5**12
    assert len(space.every_row()) == 60
    assert SearchSpace(Graph(Input("image", (1, 4, 4)))).every_row().shape == (1, 0)


def test_size_of_once_for_all_mobilenet_v3_is_the_published_one():
    # Cai et al. 2020: ((3 x 3)^2 + (3 x 3)^3 + (3 x 3)^4)^5 architectures at one resolution.
    plain = Policy(weight_bits=(8,), activation_bits=(8,))
    space = mobilenet(inputs=(Input("image", (3, 224, 224)),), output=(1000,), policy=plain)
    assert space.size == 7371**5


def test_macs_of_mobilenet_v3_largest_match_a_hand_count():
    plain = Policy(weight_bits=(8,), activation_bits=(8,))
    space = tiny(plain)
    graph = space.decode(space.largest)
    # stem 3x3 1->8, two blocks at width 16 on 8x8 with a 5x5 first kernel, a 1x1 skip, the head
    positions = 64
    stem = 8 * 1 * 9 * positions
    first = (16 * 8 * 25 + 16 * 16 * 9 + 16 * 8) * positions
    second = (16 * 16 * 25 + 16 * 16 * 9) * positions
    head = 16 * 2
    assert total(macs, graph) == stem + first + second + head


def test_policy_fineness_is_the_number_of_precision_choices():
    names = {
        fineness: sum(".bits" in c.name or c.name.endswith("weight.bits") for c in tiny_at.choices)
        for fineness in ("network", "stage", "block", "layer")
        for tiny_at in [tiny(Policy(weight_bits=(4, 8), activation_bits=(8,), fineness=fineness))]
    }
    assert names == {"network": 1, "stage": 1, "block": 2, "layer": 5}


def test_first_and_last_layers_stand_at_eight_bits():
    space = small_mobilenet()
    for genotype in (space.smallest, space.largest):
        graph = space.decode(genotype)
        for name in ("stem", "head"):
            assert bits_of(graph.nodes[name].op.weight) == 8
            assert bits_of(graph.nodes[name].op.activation) == 8


def test_one_name_with_two_sets_of_options_is_refused():
    graph = Graph(Input("image", (1, 8, 8)))
    graph.add("a", Conv2d(choice("width", (4, 8)), 3))
    graph.add("b", Conv2d(choice("width", (4, 16)), 3))
    with pytest.raises(ValueError, match="same name is the same decision"):
        SearchSpace(graph)


def test_restricting_a_depth_removes_the_blocks_that_no_network_has():
    space = small_residual()
    shallow = space.restrict(lambda made, option: not made.name.endswith("depth") or option == 1)
    gone = {
        address
        for address in space.graph.nodes
        if ".block" in address and ".block0." not in address
    }
    assert gone
    assert shallow.graph.nodes.keys() == space.graph.nodes.keys() - gone
    kept = shallow.largest
    whole = space.genotype(shallow.describe(kept))
    assert shallow.decode(kept) == space.decode(whole), "the same networks are left"


def test_restricting_to_one_network_leaves_no_choice():
    space = small_residual()
    genotype = space.sample(np.random.default_rng(1))
    picks = dict(zip(space.column, genotype, strict=True))
    alone = space.restrict(lambda made, option: option == made.options[picks[made.name]])
    assert alone.choices == ()
    assert alone.size == 1
    assert alone.decode(()) == space.decode(genotype)


def test_restricting_everything_away_names_the_choice():
    with pytest.raises(ValueError, match=r"stage0\.block0\.conv1\.weight\.bits"):
        small_residual().restrict(lambda c, _: c.name != "stage0.block0.conv1.weight.bits")


def test_an_unresolved_graph_has_no_shapes():
    with pytest.raises(ValueError, match="still holds a choice"):
        small_residual().graph.shapes()


def test_an_absent_node_hands_on_its_first_input():
    graph = Graph(Input("image", (1, 8, 8)))
    graph.add("stem", Conv2d(4, 3))
    graph.add("extra", Activation("relu"), present=deeper_than(choice("depth", (1, 2)), 1))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(2))
    shallow = SearchSpace(graph).decode((0,))
    assert shallow.nodes["pool"].inputs == ("stem",)
    assert "extra" not in shallow.nodes


def test_a_million_genotypes_cost_what_their_rows_cost():
    space = small_mobilenet()
    compiled = compile_cost(space, bitops)
    rows = space.sample_array(np.random.default_rng(0), 100_000)
    whole = compiled(rows)
    assert (whole[77_000:77_100] == compiled(rows[77_000:77_100])).all()


def test_json_of_another_format_is_refused():
    text = small_residual().to_json().replace('"format": 3', '"format": 99')
    with pytest.raises(ValueError, match="format: must be 1, 2 or 3, given 99"):
        SearchSpace.from_json(text)


def test_json_never_imports_an_unknown_function():
    text = small_residual().to_json().replace("search_spaces.ops:deeper_than", "os:system")
    with pytest.raises(ValueError, match="os:system"):
        SearchSpace.from_json(text)


def test_uniform_sets_every_precision_and_nothing_else():
    space = small_residual()
    genotype = uniform(space, 8, space.smallest)
    graph, before = space.decode(genotype), space.decode(space.smallest)
    assert {bits_of(n.op.weight) for n in graph.nodes.values() if n.op.weight} == {8}
    assert full_precision(graph) == full_precision(before)
    assert uniform(small_residual(Policy(weight_bits=(4, None))), 8, space.smallest) is None


def test_full_precision_costs_32_bits_a_weight():
    space = small_residual()
    graph = full_precision(space.decode(space.largest))
    assert total(bitops, graph) == 32 * 32 * total(macs, graph)
