"""Sections of a recipe that are made from the parameters of named parts."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from typing import Literal

import pytest

from nas import parts
from nas.parts import PartError, register
from nas.recipe.recipe import RecipeError, validate_recipe
from nas.recipe.sections import SpaceSection, section
from nas.tasks import TaskError
from nas.tasks.criteria import Classification
from search_spaces.options import Sizes
from search_spaces.policy import Policy
from tests.nas.runs import TINY


@pytest.fixture(autouse=True)
def unchanged_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("space", "task"):
        monkeypatch.setitem(parts._registered, kind, {})


def read(**sections: object):
    return validate_recipe({"name": "tiny", **tomllib.loads(TINY), **sections})


DIGITS = {"kind": "digits", "limit": 128}
POLICY = Policy()


@dataclass(frozen=True)
class Unsmoothed(Classification):
    """A classification whose targets are never smoothed."""

    label_smoothing: float = 0.0


def given(inputs, output, *, widths: Sizes, mode: Literal["a", "b"] = "a", policy: Policy = POLICY):
    """Not a space but its arguments."""
    return inputs, output, widths, mode, policy


def test_keys_are_the_parameters_with_their_defaults():
    register("space", "mine")(given)
    space = read(space={"family": "mine", "widths": [4, 8], "policy": {"edge_bits": 4}}).space
    task = read().task.load()
    assert space.made(task.inputs, task.output) == (
        *(task.inputs, task.output, (4, 8), "a", Policy(edge_bits=4)),
    )
    with pytest.raises(PartError, match="'mine' must give a SearchSpace, given tuple"):
        space.build(task)


def test_a_section_comes_back_from_its_json():
    register("space", "mine")(given)
    recipe = read(space={"family": "mine", "widths": [4], "policy": {"weight_bits": ["e4m3"]}})
    again = validate_recipe(recipe.model_dump(mode="json"))
    assert again == recipe
    assert recipe.model_dump(mode="json")["space"]["policy"]["weight_bits"] == ["e4m3"]


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"family": "mine"}, "space.widths: missing; give a value"),
        ({"family": "mine", "widths": [8, 4]}, "space.widths = [8, 4]: must hold at least one opt"),
        ({"family": "mine", "widths": [8], "mode": "c"}, "space.mode = 'c': input should be 'a'"),
        (
            {"family": "mine", "widths": [8], "width": 1},
            "space.width: unknown key; did you mean 'w",
        ),
        (
            {"family": "mine", "widths": [8], "policy": {"edge_bit": 1}},
            "space.policy.edge_bit: unknown key; did you mean 'edge_bits'?",
        ),
        ({"family": "yours"}, "space.family = 'yours': input should be 'file', "),
        ({}, "space.family: missing; give one of 'file', 'language-model', 'mine', "),
        (3, "space = 3: must be a section"),
    ],
)
def test_a_fault_is_told_with_its_key(space, told):
    register("space", "mine")(given)
    with pytest.raises(RecipeError) as raised:
        read(space=space)
    assert told in str(raised.value)


def test_a_task_may_be_a_function():
    loaded = read().task.load()

    @register("task", "noisy")
    def noisy(*, noise: float = 0.1):
        assert noise == 0.5
        return loaded

    assert read(task={"kind": "noisy", "noise": 0.5}).task.load() is loaded


def untyped(inputs, output, *, width=3): ...


def many(inputs, output, **options: int): ...


def positional(inputs, output, width: int): ...


def taken(inputs, output, *, build: int = 3): ...


def unreadable(inputs, output, *, module: type(sys) = sys): ...


@pytest.mark.parametrize(
    ("maker", "told"),
    [
        (untyped, "'width' has no annotation; give it a type"),
        (many, "name each of them"),
        (positional, "it takes 3 positional arguments but is called with 2"),
        (taken, "every section needs the name 'build' itself; rename it"),
        (unreadable, "'mine' cannot be keys of a recipe"),
    ],
)
def test_parameters_that_cannot_be_keys_are_refused(maker, told):
    register("space", "mine")(maker)
    with pytest.raises(PartError, match=told):
        section(SpaceSection, "mine")


def test_a_recipe_may_name_another_criterion(monkeypatch):
    monkeypatch.setitem(parts._registered, "criterion", {})
    register("criterion", "unsmoothed")(Unsmoothed)
    named = {**DIGITS, "criterion": "unsmoothed"}
    assert isinstance(read(task=named).task.load().criterion, Unsmoothed)
    assert not isinstance(read(task=DIGITS).task.load().criterion, Unsmoothed)
    with pytest.raises(TaskError, match="must be measured values"):
        read(task={**DIGITS, "criterion": "regression"}).task.load()
    with pytest.raises(RecipeError, match=r"task.criterion = 'huber': .*unsmoothed"):
        read(task={**DIGITS, "criterion": "huber"})


def test_every_shipped_section_is_described():
    for kind in parts.SHIPPED["space"]:
        assert section(SpaceSection, kind).model_json_schema()["properties"]["family"]
