"""A space file is read as it was written, or refused with the place that is wrong."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.documents import UnreadableFile
from search_spaces.graph import Graph
from search_spaces.ops import Input, Op, Shape
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from search_spaces.tabular import Decision, tabular_space

SPACE = residual(
    inputs=(Input("image", (1, 8, 8)),),
    output=(2,),
    widths=((4, 8), (8,)),
    depths=((1, 2),),
    kernels=(3, 5),
    policy=Policy(weight_bits=(4, 8), activation_bits=(8,)),
)
TABLE = tabular_space(
    [
        Decision("kind of block", ("conv", "[/x]"), {}),
        Decision("ratio", (0.5, 1.0), {"kind of block": ("conv",)}),
        Decision("edge", ("none", "skip"), {}, edge=(0, 1), cut=("none",)),
    ],
    name="table",
)
CONTENT = json.loads(SPACE.to_json())
SOMETIMES = next(node["present"] for node in CONTENT["nodes"] if node["present"])
CONV = "nodes[1].op"


def quant(**fields: object) -> dict[str, object]:
    return {"$spec": "Quant", "format": {"$spec": "Int", **fields}}


SCALED = "search_spaces.ops:scaled"
FIELDS = [
    ({"out": "8"}, f"{CONV}.out: must be a valid integer, given '8'"),
    ({"out": 8.0}, f"{CONV}.out: must be a valid integer"),
    ({"out": True}, f"{CONV}.out: must be a valid integer"),
    ({"out": None}, f"{CONV}.out: must be a valid integer"),
    ({"out": [8]}, f"{CONV}.out: must be a valid integer"),
    ({"out": 0}, f"{CONV}.out: must be greater than or equal to 1"),
    ({"kernel": 4}, f"{CONV}: Conv2d has the kernel 4, which is even"),
    ({"kernel": [3, 2]}, rf"{CONV}: Conv2d has the kernel .3, 2., which is even"),
    ({"kernel": [3]}, f"{CONV}.kernel: must have 2 parts, given 1"),
    ({"kernel": [3, 0]}, f"{CONV}.kernel: part 1 must be greater"),
    ({"padding": "full"}, f"{CONV}.padding: must be 'same' or int or"),
    ({"padding": -1}, f"{CONV}.padding: must be greater"),
    ({"padding": [1, 2, 3]}, f"{CONV}.padding: must be 'same' or int or"),
    ({"groups": 0}, f"{CONV}.groups: must be greater"),
    ({"stride": -1}, f"{CONV}.stride: must be greater"),
    ({"bias": 1}, f"{CONV}.bias: must be a valid boolean"),
    ({"weight": 8}, f"{CONV}.weight: must be Quant or null, given 8"),
    ({"weight": {"$spec": "PerTensor"}}, f"{CONV}.weight: must be Quant or null"),
    ({"weight": quant(bits="8")}, f"{CONV}.weight.format.bits: must be a valid integer"),
    ({"weight": quant(bits=99)}, f"{CONV}.weight.format: Int bits must lie in"),
    ({"weight": quant()}, f"{CONV}.weight.format: Int has the fields .* 'bits'"),
    ({"weight": {"$spec": "Quant"}}, f"{CONV}.weight: Quant has the fields .* 'format'"),
    ({"weight": {"$spec": "Quant", "bits": 8}}, f"{CONV}.weight: Quant has .* unknown .* 'bits'"),
    ({"slices": 2}, f"{CONV}: Conv2d has the fields .* 'slices'"),
    ({"$spec": "Popen"}, f"{CONV}: spec 'Popen' is not known"),
    ({"out": {"$choice": "nothing"}}, f"{CONV}.out: choice 'nothing' is not among"),
    ({"out": {"$choice": "a", "b": 1}}, f"{CONV}.out: is none of"),
    ({"out": {"$derived": "os:system", "arguments": ["x"]}}, "'os:system' is not known"),
    (
        {"out": {"$derived": SCALED, "arguments": [8, "x"]}},
        "arguments.ratio: must be a valid number",
    ),
    ({"out": {"$derived": SCALED, "arguments": [8]}}, "missing a required argument: 'ratio'"),
    (
        {"out": {"$derived": "search_spaces.ops:deeper_than", "arguments": [2, 1]}},
        f"{CONV}.out: is search_spaces.ops:deeper_than, which gives no int",
    ),
    ({"out": {"$choice": "letters"}}, f"{CONV}.out: option 1 of choice 'letters' must be a valid"),
    ({"out": {"$choice": "round"}}, r"choices.round\[0\]: choice 'round' is among its own options"),
]


def changed(**parts: object) -> dict[str, object]:
    return {**copy.deepcopy(CONTENT), **parts}


@pytest.mark.parametrize(("fields", "told"), FIELDS)
def test_a_field_of_the_wrong_type_is_told_with_its_place(fields, told):
    content = copy.deepcopy(CONTENT)
    content["choices"] |= {"letters": [8, "b"], "round": [{"$choice": "round"}, 8]}
    content["nodes"][1]["op"] |= fields
    with pytest.raises(UnreadableFile, match=told.replace("[1]", r"\[1\]")):
        SearchSpace.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("position", "node", "told"),
    [
        (1, {"address": 'a" if print("x") else "a'}, "address must be letters"),
        (1, {"address": "input"}, "already has a node"),
        (2, {"address": CONTENT["nodes"][1]["address"]}, "already has a node"),
        (1, {"inputs": []}, "nodes.1.: Conv2d at .* reads 1 inputs, given 0"),
        (0, {"inputs": ["input"]}, "nodes.0.: node .input. reads .*not in the graph"),
        (0, {"address": "image"}, "nodes.1.: .*.input.*, which are not in the graph"),
        (0, {"present": [True]}, "nodes.0.: input .image. at .input. is conditional"),
        (1, {"op": CONTENT["nodes"][0]["op"], "inputs": []}, "nodes.1.: .*already in the graph"),
        (1, {"inputs": ["later"]}, "reads .'later'., which are not in the graph"),
        (1, {"inputs": ["input", "input"]}, "reads 1 inputs, given 2"),
        (1, {"inputs": "input"}, r"nodes\[1\].inputs: must be a valid list"),
        (1, {"op": quant(bits=8)}, "nodes.1.: must be Op"),
        (1, {"present": [3]}, "nodes.1.: part 0 must be a valid boolean"),
        (-1, {"present": [False]}, "node 'head' is in no network"),
        (-1, {"present": SOMETIMES}, "the output node .* must always be present"),
        (1, {"more": 1}, r"nodes\[1\].more: is unknown"),
    ],
)
def test_a_node_that_fits_nowhere_is_refused(position, node, told):
    content = copy.deepcopy(CONTENT)
    content["nodes"][position] |= node
    with pytest.raises(UnreadableFile, match=told):
        SearchSpace.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"name": "a\x1b[2J"}, "a search space must be printable"),
        (
            {"choices": {**CONTENT["choices"], "=1+1": [1, 2]}, "name": "x"},
            "choices.=1.1: is a choice that no",
        ),
        ({"nodes": []}, "nodes: must"),
        ({"format": 4}, "format: must be 1, 2 or 3, given 4"),
        ({"extra": 1}, "extra: is unknown"),
        ({"choices": []}, "choices: must be"),
    ],
)
def test_the_whole_is_checked(parts, told):
    with pytest.raises(UnreadableFile, match=told):
        SearchSpace.from_json(json.dumps(changed(**parts)))


def test_choices_nested_without_end_are_refused():
    nested = {f"c{i}": [{"$choice": f"c{i + 1}"}, i] for i in range(100)} | {"c100": [1, 2]}
    twice = {f"c{i}": [[{"$choice": f"c{i + 1}"}] * 2, i] for i in range(40)} | {"c40": [1, 2]}
    for choices in (nested, twice, dict(reversed(nested.items()))):
        content = changed(choices={**CONTENT["choices"], **choices})
        content["nodes"][1]["op"]["out"] = {"$choice": "c0"}
        with pytest.raises(UnreadableFile, match="is used within options of others"):
            SearchSpace.from_json(json.dumps(content))


@pytest.mark.parametrize("space", [SPACE, TABLE])
def test_half_a_file_is_refused(space, tmp_path):
    text = space.to_json()
    (tmp_path / "space.json").write_text(text[: len(text) // 2])
    with pytest.raises(UnreadableFile, match=r"search space .*space\.json, line \d+, column \d+"):
        SearchSpace.read(tmp_path / "space.json")
    (tmp_path / "space.json").write_text(text)
    assert SearchSpace.read(tmp_path / "space.json") == space


def places(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    yield path
    for step, part in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        yield from places(part, (*path, step))


CONTENTS = [CONTENT, json.loads(TABLE.to_json())]
VALUES = st.sampled_from(
    [None, True, 0, -1, 3, 2**62, 1.5, "", "x", "\x1b", [], {}, [[1]], {"$choice": "edge"}]
) | st.sampled_from([{"$spec": "Add"}, {"$derived": SCALED, "arguments": []}, {"$spec": 3}])


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_change_is_read_as_a_space_or_refused(data):
    content = copy.deepcopy(data.draw(st.sampled_from(CONTENTS)))
    *path, last = data.draw(st.sampled_from([p for p in places(content) if p]))
    here = content
    for step in path:
        here = here[step]
    if data.draw(st.booleans()):
        here[last] = data.draw(VALUES)
    else:
        del here[last]
    try:
        space = SearchSpace.from_json(json.dumps(content))
    except UnreadableFile as error:
        refusal = error
    else:
        assert SearchSpace.from_json(space.to_json()) == space
        assert space.decode(space.largest).shapes()
        return
    assert str(refusal).isprintable()


@dataclass(frozen=True)
class Echo(Op):
    """An operator of a user, in a module of the user's own."""

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]


def test_an_operator_of_a_user_is_named_with_its_module():
    graph = Graph(Input("x", (4,)))
    graph.add("echo", Echo())
    space = SearchSpace(graph, name="echoing")
    text = space.to_json()
    assert f'"$spec": "{__name__}:Echo"' in text
    assert '"$spec": "Input"' in text
    assert SearchSpace.from_json(text).to_json() == text
    for absent in (f"{__name__}.absent:Echo", "Echo"):
        with pytest.raises(UnreadableFile, match=r"names its module under python"):
            SearchSpace.from_json(text.replace(f"{__name__}:Echo", absent))
