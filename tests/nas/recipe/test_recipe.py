"""Recipes: what they become, what overrides do, and how problems are told."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from nas.recipe.recipe import (
    Recipe,
    RecipeError,
    load_recipe,
    validate_recipe,
)
from nas.recipe.table_recipe import load_any_recipe
from search_spaces.documents import UnreadableFile
from search_spaces.formats import BFLOAT16, E2M1, E4M3, FLOAT16, Int
from search_spaces.mobilenet import Stage
from search_spaces.quant import PerChannel, PerGroup, PerTensor, PowerOfTwo
from tests.nas.runs import TINY

RUNS = sorted((Path(__file__).parents[3] / "runs").glob("*.toml"))


def made(**changes: object) -> Recipe:
    return validate_recipe({"name": "tiny", **tomllib.loads(TINY), **changes})


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_after_their_files(path):
    recipe = load_any_recipe(path)
    assert recipe.name == path.stem
    assert recipe.targets


def test_a_recipe_comes_back_from_its_json():
    recipe = made()
    assert validate_recipe(json.loads(recipe.model_dump_json())) == recipe


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("search.budget=400", lambda r: r.search.budget == 400),
        (" search.budget = 400 ", lambda r: r.search.budget == 400),
        ("search.searcher=nsga2", lambda r: r.search.searcher == "nsga2"),
        ('search.searcher="nsga2"', lambda r: r.search.searcher == "nsga2"),
        ("targets.0.objective=macs", lambda r: r.targets[0].objective == ("macs",)),
        (
            'targets.0.objective=["latency_ms", "model_bytes"]',
            lambda r: r.targets[0].objective == ("latency_ms", "model_bytes"),
        ),
        ("targets.1.limits.macs=1e5", lambda r: r.targets[1].limits == {"macs": 1e5}),
        ("targets=[{name='a.toml'}]", lambda r: [t.name for t in r.targets] == ["a.toml"]),
        ("compute.ray_address=auto", lambda r: r.compute.ray_address == "auto"),
        ("name=other", lambda r: r.name == "other"),
        (
            "space.policy.weight_bits=[4, 'float']",
            lambda r: r.space.policy.weight_bits == (4, None),
        ),
        ("space.policy.weight_bits=[4, 32]", lambda r: r.space.policy.weight_bits == (4, None)),
        ("space.policy.edge_bits=32", lambda r: r.space.policy.edge_bits is None),
        ("task.augment.shift=1", lambda r: r.task.augment.shift == 1),
    ],
)
def test_an_override_sets_one_value(recipe, override, read):
    assert read(load_recipe(recipe, [override]))


def test_the_last_override_wins_and_earlier_ones_may_make_sections(recipe):
    both = ["task={kind='arrays', path='a.npz'}", "task.limit=50", "task.limit=60"]
    assert load_recipe(recipe, both).task.limit == 60


def test_a_policy_is_what_the_language_knows():
    recipe = made(
        space={
            "family": "residual",
            "widths": [[4], [4]],
            "depths": [[1]],
            "policy": {
                "weight_granularities": ["per-tensor", "per-channel"],
                "activation_symmetries": [True, False],
                "edge_bits": "float",
            },
        }
    )
    policy = recipe.space.policy
    assert policy.weight_granularities == (PerTensor(), PerChannel())
    assert policy.activation_symmetries == (True, False)
    assert policy.edge_bits is None


def test_a_policy_takes_formats_and_groups_by_name():
    options = {
        "weight_bits": [4, 8, "e4m3", "bfloat16", "float16", "float"],
        "weight_granularities": ["per-channel", "per-group-32", "per-group-16-e8m0"],
        "edge_bits": ["e2m1", "uint8"],
        "edge_granularities": ["per-channel"],
    }
    space = {"family": "residual", "widths": [[32], [32]], "depths": [[1]], "policy": options}
    recipe = made(space=space)
    policy = recipe.space.policy
    assert policy.weight_bits == (4, 8, E4M3, BFLOAT16, FLOAT16, None)
    assert policy.weight_granularities == (
        *(PerChannel(), PerGroup(32), PerGroup(16, PowerOfTwo())),
    )
    assert policy.edge_bits == (E2M1, Int(8, symmetric=False))
    assert policy.edge_granularities == (PerChannel(),)


def test_a_policy_of_formats_comes_back_from_its_json():
    options = {"weight_bits": [4, "e4m3"], "weight_granularities": ["per-group-4-e8m0"]}
    for edges in ("e5m2", [8, "e5m2"], 8, ["e2m1", "float"]):
        policy = {**options, "edge_bits": edges, "edge_granularities": ["per-channel"]}
        space = {"family": "residual", "widths": [[8], [8]], "depths": [[1]], "policy": policy}
        recipe = made(space=space)
        content = json.loads(json.dumps(recipe.model_dump(mode="json")))
        assert content["space"]["policy"]["weight_bits"] == [4, "e4m3"]
        assert validate_recipe(content) == recipe


def test_a_quantizer_that_there_is_not_is_refused():
    with pytest.raises(RecipeError, match="there is no quantizer 'dorefa'; there are lsq"):
        made(training={"quantizer": "dorefa"})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weight_bits": [4, "fp8"]}, "'fp8' is no number format; there are int2, .*e2m1"),
        ({"weight_bits": [8, 16]}, "2 to 8 bits of integers.* 16 bits are float16 or bfloat16"),
        ({"weight_bits": [1]}, "must be 2 to 8 bits of integers, 'float' .* int2"),
        ({"weight_bits": ["e4m3", 4]}, "no fewer bits after more"),
        ({"weight_bits": [8, "e4m3", 8]}, "each once"),
        ({"edge_bits": "fp8"}, "'fp8' is no number format"),
        ({"weight_granularities": ["per-row"]}, "'per-row' is no granularity; there are per-te"),
        ({"weight_granularities": []}, "at least one, each once"),
    ],
)
def test_what_a_policy_does_not_know_is_refused(options, told):
    space = {"family": "residual", "widths": [[8], [8]], "depths": [[1]], "policy": options}
    with pytest.raises(RecipeError, match=told):
        made(space=space)


def test_a_mobilenet_space_is_built_for_the_task():
    recipe = made(
        space={
            "family": "mobilenet",
            "stages": [{"width": 8, "stride": 1}, {"width": 16, "stride": 2}],
            "depths": [1, 2],
            "stem": 8,
            "stem_stride": 1,
            "head": 32,
            "width_multipliers": [0.5, 1.0],
        }
    )
    assert recipe.space.stages == (Stage(8, 1), Stage(16, 2))
    task = recipe.task.load()
    space = recipe.space.build(task)
    graph = space.decode(space.largest)
    assert (*graph.inputs.values(),) == task.inputs
    assert graph.shapes()[graph.output] == task.output


def test_a_saved_space_is_read_again(finished):
    recipe = made(space={"family": "file", "path": str(finished / "space.json")})
    task = recipe.task.load()
    assert recipe.space.build(task).to_json() == (finished / "space.json").read_text()


def test_a_saved_space_must_fit_the_task(finished, tmp_path):
    text = (finished / "space.json").read_text().replace('"name": "image"', '"name": "picture"')
    (tmp_path / "space.json").write_text(text)
    recipe = made(space={"family": "file", "path": str(tmp_path / "space.json")})
    with pytest.raises(
        RecipeError,
        match=r"task 'digits': .* reads Input\(name='picture'.* has Input\(name='image'",
    ):
        recipe.space.build(recipe.task.load())


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"format": 7}', "{", '{"format": 1}'])
def test_what_is_no_saved_space(tmp_path, text):
    (tmp_path / "space.json").write_text(text)
    recipe = made(space={"family": "file", "path": str(tmp_path / "space.json")})
    with pytest.raises(UnreadableFile, match="give what `to_json` wrote"):
        recipe.space.build(recipe.task.load())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task": {}}, "task.kind: missing; give one of 'arrays', 'diabetes', 'digits', "),
        ({"task": 3}, "task = 3: must be a section"),
        ({"space": {"family": "residual"}}, "space.widths: missing; give a value"),
        ({"sede": 1}, "sede: unknown key; did you mean 'seed'?"),
        ({"targets": [{"name": "a", "limit": 1}]}, "targets.0.limit: unknown key; did you mean"),
        ({"name": "a/b"}, "name = 'a/b': string should match"),
        ({"training": {"momentum": 1.5}}, "momentum must lie in 0 to below 1, given 1.5"),
        ({"search": {"budget": float("nan")}}, "search.budget = nan: input should be a finite"),
    ],
)
def test_a_problem_is_told_with_key_value_and_what_is_allowed(changes, told):
    with pytest.raises(RecipeError) as raised:
        made(**changes)
    assert told in str(raised.value)
