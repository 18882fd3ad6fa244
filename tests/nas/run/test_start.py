"""A run starts from float weights of the user, which it checks first and knows again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas.recipe.recipe import RecipeError, load_recipe
from nas.run.folder import RunFolder, RunFolderError
from nas.run.plan import Plan, prepare
from nas.run.sources import compared
from nas.run.steps import training
from nas.run.steps.training import trained
from nas.terminal.display import Silent
from supernets.supernet import Supernet, weights_of
from supernets.training.train import History
from tests.nas.runs import TINY


@pytest.fixture
def files(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return tmp_path / "float.safetensors"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(f'name = "tiny"\n{TINY}')
    return path


def planned(recipe: Path, files: RunFolder, given: Path) -> Plan:
    return prepare(load_recipe(recipe, [f"training.start={given}"]), files)


@pytest.fixture
def weights(recipe: Path, files: RunFolder) -> dict[str, torch.Tensor]:
    space = prepare(load_recipe(recipe), files).space
    return {n: t.detach().clone() for n, t in weights_of(Supernet(space, seed=9)).items()}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The weights with which each training began; a training is killed before its first step."""
    seen: list[dict[str, torch.Tensor]] = []

    def train(supernet: Supernet, *_: object, state_path: Path, **__: object) -> History:
        seen.append({n: t.detach().clone() for n, t in weights_of(supernet).items()})
        state_path.write_bytes(b"a state")
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    return seen


def test_training_starts_with_the_weights_of_the_file(recipe, files, given, weights, begun):
    save_file(weights, given)
    with pytest.raises(KeyboardInterrupt):
        trained(planned(recipe, files, given), Silent())
    assert begun[0].keys() == weights.keys()
    assert all(torch.equal(begun[0][name], weights[name]) for name in weights)
    compared(planned(recipe, files, given))  # continues with the same file


def test_a_changed_file_is_noticed_when_a_training_is_continued(
    recipe, files, given, weights, begun
):
    save_file(weights, given)
    with pytest.raises(KeyboardInterrupt):
        trained(planned(recipe, files, given), Silent())
    assert compared(planned(recipe, files, given)) == []
    weights["head.bias"] += 1
    save_file(weights, given)
    with pytest.raises(
        RunFolderError, match=r"training.start = .*float.safetensors' has other con"
    ):
        compared(planned(recipe, files, given))


def test_a_finished_training_needs_no_file_any_more(recipe, files, given, weights):
    save_file(weights, given)
    begun = planned(recipe, files, given)
    compared(begun)
    files.space.write_text(begun.space.to_json())
    files.supernet.write_bytes(b"trained")
    given.unlink()
    again = planned(recipe, files, given)
    assert compared(again) == []
    assert again.start is None
    weights["head.bias"] += 1
    save_file(weights, given)
    with pytest.raises(RunFolderError, match=r"training.start = .*has other content"):
        compared(again)


def test_weights_that_do_not_fit_are_refused_before_any_work(recipe, files, given, weights):
    del weights["stem.weight"]
    save_file(weights, given)
    with pytest.raises(RecipeError, match=r"training.start = .* missing: stem.weight"):
        planned(recipe, files, given)
    given.unlink()
    with pytest.raises(RecipeError, match=r"training.start = .*No such file"):
        planned(recipe, files, given)


def test_epochs_are_split_for_the_space_of_the_run(tmp_path, files, recipe):
    content = TINY.replace("float_epochs = 3\nquantized_epochs = 1", "epochs = 12")
    recipe.write_text(f'name = "tiny"\n{content}')
    plan = prepare(load_recipe(recipe, ["seed=3"]), files)
    made = plan.training
    assert made.float_epochs + made.quantized_epochs == 12
    assert (made.epochs, made.seed) == (None, 3)
    assert made.quantized_epochs >= 1
    with pytest.raises(RecipeError, match=r"epochs = 12 is split .* given float_epochs = 5 too"):
        load_recipe(recipe, ["training.float_epochs=5"])
