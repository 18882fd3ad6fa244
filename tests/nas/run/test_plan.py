"""A plan compiles every target once, and asks whether this machine is measured."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nas.recipe.recipe import Recipe, RecipeError, load_recipe
from nas.run.folder import RunFolder
from nas.run.pipeline import WHOLE, run
from nas.run.plan import overview, prepare
from nas.run.steps import preflight
from nas.run.steps.estimating import foresee
from nas.run.steps.this_machine import profiled
from nas.run.target_costs import TargetCosts
from nas.targets import HardwareTarget, TargetError, load_target
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.terminal.display import Silent
from search_spaces.space import SearchSpace
from tests.nas.runs import TINY
from tests.nas.spaces import small_space

ROOT = Path(__file__).parents[3]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A run of seconds, for this machine too, which times neither whole networks nor seams."""
    path = tmp_path / "tiny.toml"
    path.write_text(f'name = "tiny"\n{TINY}\n[[targets]]\nname = "this-cpu"\n')
    return load_recipe(path, ["compute.profile_networks=0", "compute.profile_seams=false"])


@pytest.fixture
def files(tmp_path: Path) -> RunFolder:
    (tmp_path / "tiny").mkdir()
    return RunFolder(tmp_path / "tiny")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each target was compiled."""
    counted: Counter[str] = Counter()
    original = HardwareTarget.compile

    def compile_(self: HardwareTarget, space: SearchSpace) -> dict[str, object]:
        counted[self.name] += 1
        return original(self, space)

    monkeypatch.setattr(HardwareTarget, "compile", compile_)
    return counted


def write_table(path: Path, space: SearchSpace) -> None:
    """A table of made-up latencies that lacks nothing."""
    kernels = load_target("this-cpu").natively(space)
    rows = {KernelKey.of(kernel, bits): Row(1.0, 0.0, 9) for kernel, bits in kernels}
    LatencyTable(rows, {"device": "made up"}).write(path)


def test_planning_compiles_every_target_once(
    recipe: Recipe, files: RunFolder, compiled: Counter[str]
) -> None:
    plan = prepare(recipe, files)
    assert [target.name for target in plan.unmeasured] == ["this-cpu"]
    assert compiled == {"edge-npu": 1, "bit-serial": 1}
    overview(plan)
    foresee(plan, Silent(), steps=WHOLE)
    preflight.check(plan, searching=True)
    write_table(files.table, plan.space)
    measured = profiled(plan.reloaded(), Silent())
    assert measured.unmeasured == ()
    assert measured.targets[:2] == plan.targets[:2]
    overview(measured)
    assert [goal.name for goal in measured.problem.goals] == ["edge-npu", "bit-serial", "this-cpu"]
    assert compiled == {"edge-npu": 1, "bit-serial": 1, "this-cpu": 1}


def test_a_whole_run_compiles_every_target_once(
    recipe: Recipe, files: RunFolder, compiled: Counter[str]
) -> None:
    two = recipe.model_copy(update={"targets": recipe.targets[:2]})
    run(two, folder=files.path)
    assert compiled == {"edge-npu": 1, "bit-serial": 1}


def test_what_a_target_lacks_is_asked_and_refused_where_it_is_needed(tmp_path: Path) -> None:
    space = small_space()
    empty = load_target("this-cpu", table=tmp_path / "this-cpu.csv", unmeasured=True)
    told = empty.lacking(space)
    assert told is not None
    assert "has no row for" in told
    assert "nas profile RECIPE" in told
    with pytest.raises(TargetError) as caught:
        empty.compile(space)
    assert str(caught.value) == told
    write_table(tmp_path / "this-cpu.csv", space)
    assert load_target("this-cpu", table=tmp_path / "this-cpu.csv").lacking(space) is None
    assert load_target("edge-npu").lacking(space) is None


def test_costs_that_are_compiled_once_are_those_of_the_target_and_of_all_targets() -> None:
    space, target = small_space(), load_target("edge-npu")
    made = TargetCosts(space)
    rows = space.sample_array(np.random.default_rng(0), 20)
    known = made.on(target)
    assert known is made.on(target)
    for name, cost in {**made.shared, **target.compile(space)}.items():
        np.testing.assert_array_equal(known[name](rows), cost(rows))


def test_a_divergence_that_cannot_compare_outputs_is_refused_before_training(
    tmp_path: Path,
) -> None:
    recipe = load_recipe(ROOT / "runs/diabetes.toml", ['training.divergence="alpha"'])
    (tmp_path / "run").mkdir()
    told = (
        r"training\.divergence = 'alpha' cannot compare outputs of the task 'diabetes': outputs of "
        r"Regression are no logits of a distribution; give 'task'"
    )
    with pytest.raises(RecipeError, match=told):
        prepare(recipe, RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("quantizer", ["double-rounding", "statsq"])
def test_weights_that_the_quantizer_cannot_round_are_told_with_the_recipe(
    tmp_path: Path, files: RunFolder, quantizer: str
) -> None:
    path = tmp_path / "other.toml"
    path.write_text(TINY.partition("[[targets]]")[0] + '[[targets]]\nname = "this-cpu"\n')
    options = [f'space.policy.{of}_bits=[8, "e4m3"]' for of in ("weight", "activation")]
    changes = [f"training.quantizer={quantizer}", *options]
    with pytest.raises(RecipeError, match=rf"training: {quantizer} .* given .*e4m3; give weights"):
        prepare(load_recipe(path, changes), files)
