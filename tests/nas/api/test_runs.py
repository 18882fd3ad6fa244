"""`nas.run` does what the command does, and its result is read as data frames."""

import pytest

import nas
from nas.recipe.recipe import RecipeError, load_recipe
from nas.report.store import load
from nas.run.folder import RunFolder, RunFolderError


@pytest.fixture(scope="module")
def done(finished):
    return nas.Run(finished, load(RunFolder(finished).results))


def test_every_target_of_a_run_has_a_front_of_plain_columns(done):
    with pytest.raises(ValueError, match="name one of the targets edge-npu, bit-serial"):
        done.front()
    front = done.front("bit-serial")
    assert list(front.columns[:2]) == ["error", "latency_ms"]
    assert list(front["latency_ms"]) == sorted(front["latency_ms"])
    for row, genotype in enumerate(front["genotype"]):
        picks = done.space.picks(genotype)
        assert {name: front[name][row] for name in picks} == picks
    assert done.plot("edge-npu").data
    assert repr(done).endswith("8 networks; edge-npu, bit-serial>")


def test_a_run_is_refused_and_continued_as_on_the_command_line(done, recipe, folder):
    with pytest.raises(RunFolderError):
        nas.run(recipe, folder=folder)
    with pytest.raises(RecipeError, match=r"search\.budgte"):
        nas.run(recipe, folder=folder, changes=["search.budgte=3"])
    again = nas.run(recipe, folder=folder, resume=True)
    assert again.front("edge-npu").equals(done.front("edge-npu"))
    assert again.report.exists()


def test_changes_are_for_recipes_that_are_not_read_yet(recipe, tmp_path):
    with pytest.raises(ValueError, match="changes are for a recipe that is a file or a dict"):
        nas.run(load_recipe(recipe), folder=tmp_path / "run", changes=["seed=1"])
