"""What operator specs tell, and what they refuse."""

import json

import pytest

from search_spaces.choice import choice, resolve
from search_spaces.costs import SpaceKernels
from search_spaces.graph import Graph, Node
from search_spaces.ops import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    GroupNorm,
    Input,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Permute,
    Reshape,
    Resize,
    group_count,
)
from search_spaces.space import SearchSpace
from search_spaces.tabular import among
from tests.search_spaces.older_files import with_bits
from tests.search_spaces.test_space import small_mobilenet, small_residual

IMAGE = (4, 6, 5)
REFUSED = [
    (Conv2d(6, 3, groups=3), [IMAGE], "3 groups, which do not divide the 4 channels .* and the 6"),
    (Conv2d(5, 3, groups=2), [IMAGE], "2 groups, which do not divide the 4 channels .* and the 5"),
    (Conv2d(5, 3), [(4, 6)], r"Conv2d reads images, .* given the shape \(4, 6\); put a Reshape"),
    (Conv2d(5, 8, padding=0), [IMAGE], r"a window of \(8, 8\) .* does not fit an image of 6x5"),
    (Conv2d(5, 3, padding=0, dilation=3), [IMAGE], r"with dilation \(3, 3\) does not fit"),
    (Conv2d(5, 3, padding=(1, 2, 3)), [IMAGE], "padding is 'same', one number"),  # pyright: ignore[reportArgumentType]
    (DepthwiseConv2d(3), [(7,)], "DepthwiseConv2d reads images"),
    (MaxPool2d(3, 1, 3), [IMAGE], "would lie outside of the image; pad less"),
    (AvgPool2d((2, 3), 1, (0, 0, 2, 0)), [IMAGE], "would lie outside of the image; pad less"),
    (MaxPool2d(2, 2), [(4, 6)], "MaxPool2d reads images"),
    (AvgPool2d(7, 1), [IMAGE], r"a window of \(7, 7\) .* does not fit an image of 6x5"),
    (GlobalPool(), [(4, 6)], "GlobalPool reads images"),
    (BatchNorm2d(), [(4,)], "BatchNorm2d reads images"),
    (GroupNorm(3), [IMAGE], "3 groups, which do not divide the 4 channels"),
    (GroupNorm(1), [(4,)], "reads .channels, places...., given the shape .4,.; use LayerNorm"),
    (LayerNorm(), [()], "given a single number per sample"),
    (Linear(3), [()], r"given a single number per sample; put a Reshape\(\(1,\)\)"),
    (Concat(), [IMAGE, (4, 6, 6)], r"differ along axis 0 only, given the shapes \(\(4, 6, 5\), "),
    (Concat(), [IMAGE, (4,)], "differ along axis 0 only"),
    (Flatten(3), [IMAGE], r"begins at axis 3 of the shape \(4, 6, 5\), which has 3"),
    (Reshape((7, -1)), [IMAGE], r"cannot give \(4, 6, 5\), 120 numbers, the shape \(7, -1\)"),
    (Reshape((-1, -1)), [IMAGE], "one of which may be -1"),
    (Reshape((4, 31)), [IMAGE], "lengths whose product is that number"),
    (Reshape((0, -1)), [IMAGE], "lengths whose product is that number"),
    (Permute((0, 1)), [IMAGE], r"has the order \(0, 1\), given the shape \(4, 6, 5\); name each"),
    (Permute((0, 1, 1)), [IMAGE], "name each of its 3 axes once"),
]


@pytest.mark.parametrize(("op", "reads", "told"), REFUSED, ids=lambda value: repr(value)[:40])
def test_what_does_not_fit_is_refused(op, reads, told) -> None:
    with pytest.raises(ValueError, match=told):
        op.infer(*reads)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Conv2d(4, 2), "Conv2d has the kernel 2, which is even"),
        (lambda: Conv2d(4, (3, 4)), r"Conv2d has the kernel \(3, 4\), which is even"),
        (lambda: DepthwiseConv2d(choice("kernel", (3, 4))), "which is even, so that padding"),
        (lambda: MaxPool2d(2, 2, "same"), "MaxPool2d has the kernel 2"),
        (lambda: Activation("swish"), "no activation function 'swish'; known are relu, "),
        (lambda: group_count(12, 8), "12 channels are no whole number of groups of 8"),
    ],
)
def test_what_means_nothing_is_not_made(make, told) -> None:
    with pytest.raises(ValueError, match=told):
        make()


@pytest.mark.parametrize(
    ("op", "read", "given"),
    [
        (Conv2d(8, 3, 2), IMAGE, (8, 3, 3)),
        (Conv2d(8, (1, 3), (2, 1)), IMAGE, (8, 3, 5)),
        (Conv2d(8, 3, dilation=2), IMAGE, (8, 6, 5)),
        (Conv2d(8, (2, 4), padding=(0, 1, 1, 2)), IMAGE, (8, 6, 5)),
        (Conv2d(8, 3, padding=(0, 1)), IMAGE, (8, 4, 5)),
        (MaxPool2d(2, 2), IMAGE, (4, 3, 2)),
        (AvgPool2d(3, 2, 1), IMAGE, (4, 3, 3)),
        (Linear(7), (3, 5, 6), (3, 5, 7)),
        (Flatten(1), IMAGE, (4, 30)),
        (Reshape((-1, 8)), IMAGE, (15, 8)),
        (Permute((2, 0, 1)), IMAGE, (5, 4, 6)),
    ],
    ids=repr,
)
def test_shapes(op, read, given) -> None:
    assert op.infer(read) == given


def test_a_convolution_in_groups_multiplies_as_much_less() -> None:
    whole, halves = Conv2d(8, 3), Conv2d(8, 3, groups=2)
    assert whole.macs(IMAGE) == 2 * halves.macs(IMAGE) == 8 * 4 * 9 * 30
    assert halves.deployed(IMAGE)["weight"].shape == (8, 2, 3, 3)


def test_norms_have_a_factor_and_a_shift_per_channel() -> None:
    for op, read, channels in ((LayerNorm(), (3, 5), 5), (GroupNorm(2), IMAGE, 4)):
        assert {n: p.shape for n, p in op.deployed(read).items()} == {
            "scale": (channels,),
            "shift": (channels,),
        }
        assert op.weight_shape(read) is None


def test_what_is_never_negative() -> None:
    positive = [Activation("sigmoid"), Activation("relu")]
    mixed = [Activation("gelu"), Activation("silu"), Activation("tanh")]
    same = [LeakyReLU(), MaxPool2d(2, 2), AvgPool2d(2, 2), Flatten(), Reshape((2,)), Permute((0,))]
    yes, no = (True,), (False,)
    assert all(op.never_negative(*no) for op in positive)
    assert not any(op.never_negative(*no) for op in [*mixed, *same])
    assert all(op.never_negative(*yes) for op in same)
    assert Concat().never_negative(*yes, *yes)
    assert not Concat().never_negative(*yes, *no)


def test_groups_follow_a_width() -> None:
    width = choice("width", (8, 16))
    op = Conv2d(width, 3, groups=group_count(width, 4))
    assert [resolve(op, {"width": pick}).groups for pick in (0, 1)] == [2, 4]


def test_devices_that_fill_up_channels_keep_groups_alike() -> None:
    op, (read,) = Conv2d(9, 3, groups=3).padded(4, (6, 5, 5))
    assert (op, read) == (Conv2d(12, 3, groups=3), (12, 5, 5))
    assert Conv2d(9, 3).padded(4, (6, 5, 5)) == (Conv2d(12, 3), ((8, 5, 5),))
    assert Linear(9).padded(4, (6, 5)) == (Linear(12), ((6, 8),))
    assert Add().padded(4, (6, 5), (6, 5)) == (Add(), ((8, 5), (8, 5)))


def test_fields_that_came_later_are_written_where_they_say_something() -> None:
    assert Conv2d(4, 3).written().keys() == {
        *("out", "kernel", "stride", "bias", "weight", "activation")
    }
    assert Conv2d(4, 3, groups=2, padding=1).written()["groups"] == 2
    assert DepthwiseConv2d(3).written().keys() == {"kernel", "stride", "weight", "activation"}


def test_digests_of_spaces_stay_what_they_were() -> None:
    """These are of the version in which inputs got names."""
    graph = Graph(Input("image", (3, 16, 16)))
    graph.add("resize", Resize(choice("resolution", (8, 16))))
    graph.add("conv", Conv2d(choice("width", (4, 8)), choice("kernel", (3, 5)), 2))
    graph.add("depthwise", DepthwiseConv2d(3))
    graph.add("norm", BatchNorm2d())
    graph.add("relu", Activation("relu"))
    assert SearchSpace(graph, name="digest").fingerprint == "6312772c455a039c"


def space_of_everything() -> SearchSpace:
    width = choice("width", (8, 16))
    graph = Graph(Input("image", (2, 8, 8)))
    graph.add("conv", Conv2d(width, choice("kernel", (3, (3, 5))), groups=2, dilation=(1, 2)))
    graph.add("even", Conv2d(width, 2, padding=(1, 0, 0, 1), groups=group_count(width, 4)))
    graph.add("deep", DepthwiseConv2d((1, 3), (2, 1), (0, 1)))
    graph.add("norm", GroupNorm(2, 1e-3))
    graph.add("leaky", LeakyReLU(0.2))
    left = graph.add("largest", MaxPool2d(2, 2))
    right = graph.add("mean", AvgPool2d(2, 2, (0, 0, 0, 0)), "leaky")
    graph.add("join", Concat(3), left, right, left)
    graph.add("rows", Reshape((-1, 8)))
    graph.add("turned", Permute((1, 0)))
    graph.add("layer", LayerNorm())
    graph.add("silu", Activation("silu"))
    graph.add("flat", Flatten(0))
    graph.add("head", Linear(3))
    return SearchSpace(graph, name="everything")


def test_every_operator_comes_back_from_a_file() -> None:
    space = space_of_everything()
    again = SearchSpace.from_json(space.to_json())
    assert again == space
    assert again.fingerprint == space.fingerprint


def test_a_network_that_does_not_fit_is_told_with_its_node() -> None:
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("conv", Conv2d(choice("width", (8, 12)), 3))
    graph.add("split", Conv2d(8, 3, groups=8))
    with pytest.raises(ValueError, match=r"node 'split': Conv2d has 8 groups, .* the 12 "):
        SpaceKernels(SearchSpace(graph))
    with pytest.raises(ValueError, match=r"node 'split': Conv2d has 8 groups, .* the 12 "):
        graph.resolve({"width": 1}).shapes()


def of_format(number: int, space: SearchSpace) -> str:
    """A space as a version before wrote it: an Image resized what it got."""
    content = with_bits(json.loads(space.to_json()))
    first, *others = content["nodes"]
    size, resize = first["op"]["shape"][1], {"address": "input"}
    if others[0]["op"]["$spec"] == "Resize":
        resize, *others = others
        size = resize["op"]["size"]
    for node in others:
        node["inputs"] = ["input" if n == resize["address"] else n for n in node["inputs"]]
    image = {"$spec": "Image", "channels": first["op"]["shape"][0], "size": size}
    nodes = [{**first, "op": image}, *others]
    return json.dumps({**content, "nodes": nodes, "format": number})


def of_format_1(space: SearchSpace) -> str:
    """A space as the first version wrote it: besides, a Linear flattened what it read."""
    return of_format(1, space)


@pytest.mark.parametrize("family", [small_residual, small_mobilenet])
def test_an_image_of_format_2_is_an_input_with_a_resize(family) -> None:
    """The input is of the largest size, and so are the first options of all other choices."""
    space, read = family(), SearchSpace.from_json(of_format(2, family()))
    (image,), (found,) = space.graph.inputs.values(), read.graph.inputs.values()
    assert found == image
    assert read.choices == space.choices
    assert [*read.graph.nodes] == [
        "input.resize" if address == "resize" else address for address in space.graph.nodes
    ]
    shapes = read.decode(read.smallest).shapes(), space.decode(space.smallest).shapes()
    assert [*shapes[0].values()] == [*shapes[1].values()]


def test_an_input_of_format_2_gets_a_name() -> None:
    graph = Graph(Input("rows", (4, 6)))
    graph.add("relu", Activation("relu"))
    content = json.loads(SearchSpace(graph).to_json())
    content["nodes"][0]["op"] = {"$spec": "Input", "shape": [4, 6]}
    read = SearchSpace.from_json(json.dumps({**content, "format": 2}))
    assert read.graph.inputs == {"input": Input("input", (4, 6))}


@pytest.mark.parametrize("size", ["8", None, {"$choice": "nothing"}, 0])
def test_an_image_of_format_2_without_a_size_is_refused(size) -> None:
    content = json.loads(of_format(2, small_residual()))
    content["nodes"][0]["op"]["size"] = size
    with pytest.raises(ValueError, match=r"nodes\[0\].*(is not known|must be|has the shape)"):
        SearchSpace.from_json(json.dumps(content))


def test_files_of_format_1_get_the_flatten_that_a_linear_was() -> None:
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("resize", Resize(choice("resolution", (4, 8))))
    graph.add("conv", Conv2d(choice("width", (4, 8)), 3))
    graph.add("pool", GlobalPool())
    graph.add("hidden", Linear(6))
    graph.add("head", Linear(5))
    graph.add("end", Activation("relu"))
    space = SearchSpace.from_json(of_format_1(SearchSpace(graph)))
    assert [*space.graph.nodes] == [
        *("input", "input.resize", "conv", "pool", "hidden.flatten", "hidden", "head", "end")
    ]
    assert space.graph.nodes["hidden.flatten"].op == Flatten()
    assert space.graph.nodes["hidden"].inputs == ("hidden.flatten",)
    assert space.decode(space.largest).shapes()["hidden"] == (6,)
    assert SearchSpace.from_json(space.to_json()) == space


def test_a_flatten_of_format_1_is_there_where_its_linear_is() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    there = choice("deep", (False, True))
    graph.add("pool", GlobalPool())
    graph.add("more", Linear(3), present=there)
    graph.add("end", Activation("relu"))
    space = SearchSpace.from_json(of_format_1(SearchSpace(graph)))
    assert [*space.decode((0,)).nodes] == ["input", "pool", "end"]
    assert [*space.decode((1,)).nodes] == ["input", "pool", "more.flatten", "more", "end"]


def test_a_linear_of_format_1_that_no_end_of_the_space_has_is_refused() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("pool", GlobalPool())
    graph.add("more", Linear(3), present=among(choice("which", ("a", "b", "c")), ("b",)))
    graph.add("end", Activation("relu"))
    with pytest.raises(ValueError, match=r'neither the smallest nor .* write "format": 2'):
        SearchSpace.from_json(of_format_1(SearchSpace(graph)))


@pytest.mark.parametrize("family", [small_residual, small_mobilenet])
def test_a_family_of_format_1_is_the_family_of_today(family) -> None:
    """Those of before had no Flatten, and nothing else was different."""
    space = family()
    nodes = dict(space.graph.nodes)
    (read,) = nodes.pop("head.flatten").inputs
    nodes["head"] = Node(nodes["head"].op, (read,))
    before = SearchSpace(Graph.from_nodes(nodes), name=space.name)
    read = SearchSpace.from_json(of_format_1(before))
    assert read == SearchSpace.from_json(of_format(2, space))


def test_sources_hand_on_what_the_network_reads() -> None:
    assert Input("rows", (4, 6)).infer() == (4, 6)
    assert not Input("rows", (4, 6)).runs
    assert not Flatten().runs
    assert Permute((0,)).runs


def test_an_input_may_count_its_tokens() -> None:
    assert Input("tokens", (4,), "int64", values=256).values == 256
    for dtype, values in (("float32", 2), ("int64", 0)):
        with pytest.raises(ValueError, match=f"{values} different values of the dtype '{dtype}'"):
            Input("tokens", (4,), dtype, values)
