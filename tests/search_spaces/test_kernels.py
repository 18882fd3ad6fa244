"""How operators become kernels: chains, regions, and the same answer for a whole space."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces import costs
from search_spaces.choice import choice
from search_spaces.costs import SpaceKernels, total
from search_spaces.formats import Int
from search_spaces.fusion import prepared
from search_spaces.graph import Graph
from search_spaces.kernels import UNFUSED, Fusion, Kernel, groups, kernels
from search_spaces.mobilenet import mobilenet
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
    Reshape,
    Resize,
    deeper_than,
)
from search_spaces.policy import Policy
from search_spaces.quant import Quant
from search_spaces.space import SearchSpace, as_genotypes
from tests.search_spaces.test_space import small_mobilenet, small_residual

BOTTLENECK = (
    (Conv2d, BatchNorm2d, Activation),
    (Conv2d, BatchNorm2d),
    (Conv2d, BatchNorm2d, Add),
    (Conv2d, BatchNorm2d, Add, Activation),
    (DepthwiseConv2d, BatchNorm2d, Activation),
    (DepthwiseConv2d, BatchNorm2d, Activation, Conv2d, BatchNorm2d),
    (DepthwiseConv2d, BatchNorm2d, Activation, Conv2d, BatchNorm2d, Add),
    (Add, Activation),
    (Add, Activation, GlobalPool),
    (BatchNorm2d, Conv2d),
)
BLOCKS = ("stage*.block*",)
COSTS = (costs.macs, costs.bitops, costs.model_bytes, costs.parameters)


def chain() -> Graph:
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("conv", Conv2d(4, 3, 2))
    graph.add("norm", BatchNorm2d())
    graph.add("relu", Activation("relu"))
    graph.add("tail", Conv2d(4, 1))
    return graph


def bottleneck() -> Graph:
    """An inverted residual with a skip."""
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("depthwise", DepthwiseConv2d(3, weight=Quant(Int(8)), activation=Quant(Int(8))))
    graph.add("depthwise.norm", BatchNorm2d())
    graph.add("project", Conv2d(4, 1, weight=Quant(Int(4)), activation=Quant(Int(2))))
    graph.add("add", Add(), "project", "input")
    return graph


def members(graph: Graph, fusion: Fusion) -> list[tuple[str, ...]]:
    return [group.members for group in groups(graph, fusion)]


def test_a_resize_that_alone_reads_an_input_is_preparation() -> None:
    """It is one kernel with the input, for which nothing runs, whatever is fused otherwise."""
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("resize", Resize((4, 6)))
    graph.add("conv", Conv2d(4, 3))
    assert members(graph, UNFUSED) == [("input", "resize"), ("conv",)]
    assert prepared(graph) == {"input", "resize"}
    made = dict(kernels(graph))["resize"]
    assert (made.inputs, made.output, made.runs) == ((), (3, 4, 6), False)


def test_a_resize_runs_where_others_read_what_it_reads() -> None:
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("small", Resize(4))
    graph.add("large", Resize(8), "small")
    graph.add("sum", Add(), "large", "input")
    graph.add("same", Resize((8, 8)))
    assert prepared(graph) == {"input"}
    runs = {address: kernel.runs for address, kernel in kernels(graph)}
    assert runs == {"input": False, "small": True, "large": True, "sum": True, "same": False}


def test_the_longest_chain_is_taken() -> None:
    fusion = Fusion(((Conv2d, BatchNorm2d), (Conv2d, BatchNorm2d, Activation)))
    assert members(chain(), fusion) == [("input",), ("conv", "norm", "relu"), ("tail",)]
    made = dict(kernels(chain(), fusion))["relu"]
    assert made == Kernel(Conv2d(4, 3, 2), (BatchNorm2d(), Activation("relu")), ((3, 8, 8),))
    assert made.output == (4, 4, 4)


def test_a_chain_stops_where_a_value_has_two_readers() -> None:
    graph = chain()
    graph.add("other", Activation("relu"), "norm")
    fusion = Fusion(((Conv2d, BatchNorm2d, Activation), (Conv2d, BatchNorm2d)))
    assert ("conv", "norm") in members(graph, fusion)


def test_the_other_operand_of_an_addition_is_one_more_input() -> None:
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("skip", Conv2d(4, 1), "input")
    graph.add("main", Conv2d(4, 3), "input")
    graph.add("norm", BatchNorm2d())
    graph.add("add", Add(), "norm", "skip")
    fusion = Fusion(((Conv2d, BatchNorm2d, Add), (Conv2d, Add)))
    # The skip begins first and so it takes the addition; the other branch then runs before it.
    assert members(graph, fusion) == [("input",), ("main",), ("norm",), ("skip", "add")]
    fused = dict(kernels(graph, Fusion(((Conv2d, BatchNorm2d, Add),))))["add"]
    assert fused.wiring == ((0,), (2,), (3, 1))
    assert [reads for _, reads in fused.members()][-1] == ((4, 8, 8),) * 2


def test_a_fused_operator_with_a_weight_counts() -> None:
    pattern = (DepthwiseConv2d, BatchNorm2d, Conv2d, Add)
    (_, fused) = [*kernels(bottleneck(), Fusion((pattern,)))][-1]
    assert fused.inputs == ((4, 8, 8),)
    assert fused.macs == 4 * 9 * 64 + 4 * 4 * 64
    assert costs.bitops(fused) == 4 * 9 * 64 * 8 * 8 + 4 * 4 * 64 * 4 * 2
    assert costs.parameters(fused) == 4 * 9 + 4 + 4 * 4 + 4
    assert costs.model_bytes(fused) == 4 * 9 + 4 * 4 + 4 + 4 * 4 / 2 + 4 * 4 + 4
    for cost in COSTS:
        assert total(cost, bottleneck(), Fusion((pattern,))) == total(cost, bottleneck())


def test_a_region_is_one_kernel() -> None:
    space = small_residual()
    graph = space.decode(space.largest)
    found = members(graph, Fusion(regions=BLOCKS))
    blocks = [group for group in found if group[0].startswith("stage")]
    assert len(blocks) == 5
    assert blocks[0] == tuple(a for a in graph.nodes if a.startswith("stage0.block0"))
    by_address = dict(kernels(graph, Fusion(regions=BLOCKS)))
    made = by_address["stage1.block0.relu"]
    assert made.inputs == (graph.shapes()["stage0.block1.relu"],)
    assert made.output == graph.shapes()["stage1.block0.relu"]


def test_two_equal_blocks_are_one_kernel_of_the_space() -> None:
    graph = Graph(Input("image", (4, 8, 8)))
    for block in ("block0", "block1"):
        entry = graph.output
        graph.add(f"{block}.a", Conv2d(4, 3))
        graph.add(f"{block}.b", Conv2d(4, 3), entry)
        graph.add(f"{block}.add", Add(), f"{block}.a", f"{block}.b")
    made = SpaceKernels(SearchSpace(graph), Fusion(regions=("block*",))).distinct()
    assert len(made) == 2  # the image and the block
    assert made[1].wiring == ((0,), (0,), (1, 2))


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("stage0.block1.conv2", None),
        ("stage0", None),
        ("stage0.block0.add", r"must read one tensor from outside, but reads .*add'"),
        ("stage0.block*.conv1", None),
        ("inp*", "must read one tensor from outside, but reads none"),
    ],
)
def test_a_region_has_one_way_in(glob: str, message: str | None) -> None:
    graph = small_residual().decode(small_residual().largest)
    if message is None:
        assert len(members(graph, Fusion(regions=(glob,)))) < len(graph.nodes)
        return
    with pytest.raises(ValueError, match=message):
        members(graph, Fusion(regions=(glob,)))


def test_a_region_has_one_way_out() -> None:
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("block.a", Conv2d(4, 3))
    graph.add("block.b", Conv2d(4, 3))
    graph.add("add", Add(), "block.a", "block.b")
    with pytest.raises(ValueError, match=r"at one node, but is at 'block\.a', 'block\.b'"):
        members(graph, Fusion(regions=("block",)))


def test_what_is_absent_does_not_part_a_chain() -> None:
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("conv", Conv2d(4, 3))
    graph.add("gate", Conv2d(4, 3), present=deeper_than(choice("depth", (1, 2)), 1))
    graph.add("relu", Activation("relu"))
    graph.add("head", Linear(2))
    fusion = Fusion(((Conv2d, Activation),))
    space = SearchSpace(graph)
    assert members(space.decode((0,)), fusion) == [("input",), ("conv", "relu"), ("head",)]
    assert members(space.decode((1,)), fusion)[1:3] == [("conv",), ("gate", "relu")]
    _assert_compiled_as_walked(space, fusion)


VIEWED = Fusion(((GlobalPool, Linear), (Conv2d, BatchNorm2d), (Linear, Activation)))


def test_a_chain_goes_on_across_a_view() -> None:
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("conv", Conv2d(8, 3))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("again", Reshape((-1,)))
    graph.add("head", Linear(5))
    assert members(graph, VIEWED) == [
        ("input",),
        ("conv",),
        ("pool", "flat", "again", "head"),
    ]
    (_, kernel) = [*kernels(graph, VIEWED)][-1]
    assert (kernel.inputs, kernel.output, kernel.macs) == (((8, 8, 8),), (5,), 40)
    _assert_compiled_as_walked(SearchSpace(graph), VIEWED)


def test_a_view_that_others_read_too_parts_a_chain() -> None:
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("left", Linear(5), "flat")
    graph.add("relu", Activation("relu"), "left")
    graph.add("right", Linear(5), "flat")
    graph.add("sum", Add(), "relu", "right")
    assert members(graph, VIEWED) == [
        ("input",),
        ("pool",),
        ("flat",),
        ("left", "relu"),
        ("right",),
        ("sum",),
    ]
    found = {group.members: group.origins for group in groups(graph, VIEWED)}
    assert found["flat",] == ()
    assert found["right",] == ("pool",)


def test_a_view_of_what_others_read_too_parts_a_chain() -> None:
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(4))
    graph.add("back", Reshape((4, 1, 1)))
    graph.add("sum", Add(), "back", "pool")
    assert ("pool",) in members(graph, VIEWED)
    assert ("head",) in members(graph, VIEWED)


def test_a_view_that_is_absent_is_none() -> None:
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("twice", Reshape((2, -1)), present=choice("twice", (False, True)))
    graph.add("head", Linear(4))
    space = SearchSpace(graph)
    assert members(space.decode((0,)), VIEWED)[1] == ("pool", "flat", "head")
    assert members(space.decode((1,)), VIEWED)[1] == ("pool", "flat", "twice", "head")
    _assert_compiled_as_walked(space, VIEWED)


def test_no_pattern_names_a_view() -> None:
    with pytest.raises(ValueError, match="patterns name Flatten, for which a device runs nothing"):
        Fusion(((GlobalPool, Flatten, Linear),))


FUSIONS = {
    "unfused": UNFUSED,
    "chains": Fusion(BOTTLENECK),
    "blocks": Fusion(regions=BLOCKS),
    "both": Fusion(BOTTLENECK, BLOCKS),
    "stages": Fusion(regions=("stage0",)),
    "gates": Fusion(BOTTLENECK, ("*.*.gate.reduce",)),
}
BLOCKWISE = Policy(weight_bits=(4, 8, None), activation_bits=(8,), fineness="block")


@pytest.mark.parametrize("fusion", FUSIONS.values(), ids=FUSIONS)
@pytest.mark.parametrize("family", [small_residual, small_mobilenet])
def test_a_whole_space_has_the_kernels_of_its_networks(family, fusion) -> None:
    _assert_compiled_as_walked(family(BLOCKWISE), fusion)


def _assert_compiled_as_walked(space: SearchSpace, fusion: Fusion) -> None:
    made = SpaceKernels(space, fusion)
    known = set(made.distinct())
    rows = space.sample_array(np.random.default_rng(5), 60)
    graphs = [space.decode(genotype) for genotype in as_genotypes(rows)]
    assert {kernel for graph in graphs for _, kernel in kernels(graph, fusion)} <= known
    for cost in COSTS:
        assert made.compile(cost)(rows).tolist() == [total(cost, g, fusion) for g in graphs]
    # Sensitive to which kernel stands where, not only to sums.
    number = {kernel: place for place, kernel in enumerate(made.distinct())}
    ranked = made.compile_by_address(lambda address, k: float(number[k] * len(address)))(rows)
    walked = [sum(number[k] * len(a) for a, k in kernels(graph, fusion)) for graph in graphs]
    assert ranked.tolist() == walked


def test_blocks_of_once_for_all_stay_few() -> None:
    plain = Policy(weight_bits=(8,), activation_bits=(8,))
    space = mobilenet(
        inputs=(Input("image", (3, 224, 224)),),
        output=(10,),
        image_sizes=(128, 160, 192, 224),
        policy=plain,
    )
    made = SpaceKernels(space, Fusion(regions=BLOCKS))
    blocks = [kernel for kernel in made.distinct() if len(kernel.fused) > 3]
    # Per stage and resolution the first block and the one form of all later ones, 9 forms each;
    # stages 3 and 4 keep the resolution but not the width.
    assert len(blocks) == 5 * 2 * 4 * 9
    assert max(table.values.size for table in made.tables.values()) <= 4 * 3 * 9
