"""A run that continues notices when what it read beside its recipe has changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nas.recipe.recipe import load_recipe
from nas.run.experience import experience_of
from nas.run.folder import RunFolder, RunFolderError
from nas.run.plan import prepare
from nas.run.sources import changed_figures, compared
from nas.targets.target_files import DEVICES
from nas.tasks import digits
from search_spaces.documents import UnreadableFile
from tests.nas.runs import TINY, assert_refused, nas, settings, succeeded

LABELS = np.arange(60) % 2
PIXELS = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
TEST = {"x_test": PIXELS[:10], "y_test": LABELS[:10]}


@dataclass(frozen=True)
class Bench:
    """A recipe on arrays, and the folder of a run."""

    folder: Path

    @property
    def files(self) -> RunFolder:
        return RunFolder(self.folder / "run")

    def arrays(self, **changed: np.ndarray) -> None:
        held = {"x_train": PIXELS, "y_train": LABELS, **TEST}
        np.savez(self.folder / "data.npz", **{**held, **changed})

    def told(self, *overrides: str) -> list[str]:
        """What a run says of its sources when it begins or continues here."""
        return compared(prepare(load_recipe(self.folder / "tiny.toml", overrides), self.files))


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    """A run that has begun to make something."""
    monkeypatch.chdir(tmp_path)
    arrays = 'kind = "arrays"\npath = "data.npz"\nvalidation_fraction = 0.1'
    content = TINY.replace('kind = "digits"\nlimit = 128', arrays)
    (tmp_path / "tiny.toml").write_text(content)
    (tmp_path / "run").mkdir()
    made = Bench(tmp_path)
    made.arrays()
    made.told()
    made.files.probe.write_text("{}")
    return made


def test_nothing_is_said_of_what_is_as_it_was(bench):
    noted = bench.files.sources.read_bytes()
    bench.arrays()  # another file of the same content
    assert bench.told() == []
    assert bench.files.sources.read_bytes() == noted


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"y_train": 1 - LABELS}, ("train split of data in content or labels", "0: 27, 1: 27")),
        ({"x_train": PIXELS[:40], "y_train": LABELS[:40]}, ("54 samples (0: 27, 1: 27) to 36",)),
        ({"y_train": np.arange(60) % 3}, ("to 54 samples (0: 18, 1: 18, 2: 18)",)),
        ({"y_train": np.where(LABELS, "b", "a"), "y_test": np.full(10, "a")}, ("(a: 27, b: 27)",)),
    ],
)
def test_other_data_are_refused_with_what_is_different(bench, changed, parts):
    bench.arrays(**changed)
    with pytest.raises(RunFolderError) as told:
        bench.told()
    for part in (*parts, "restore the old content, remove the folder", "--out", "sources.json"):
        assert part in str(told.value)
    bench.files.sources.unlink()  # as the sentence says
    assert bench.told() == []


def test_a_run_that_made_nothing_takes_any_data(bench):
    bench.files.probe.unlink()
    bench.arrays(y_train=1 - LABELS)
    assert bench.told() == []
    assert bench.files.sources.exists()


def test_another_test_split_is_told_at_every_continuation(bench):
    bench.arrays(x_test=PIXELS[10:20])
    for _ in range(2):
        (told,) = bench.told()
        assert "the test split of data has changed since the run began" in told


def test_another_space_in_the_file_is_refused(bench):
    path = bench.folder / "space.json"
    path.write_text(prepare(load_recipe(bench.folder / "tiny.toml"), bench.files).space.to_json())
    override = 'space={family="file", path="space.json"}'
    bench.files.sources.unlink()
    assert bench.told(override) == []
    narrower = prepare(load_recipe(bench.folder / "tiny.toml", ["space.depths=[[1]]"]), bench.files)
    path.write_text(narrower.space.to_json())
    with pytest.raises(RunFolderError, match=r"space\.path = 'space.json' has other content"):
        bench.told(override)


def test_changed_figures_of_a_target_are_told_and_reported(bench):
    device = bench.folder / "mine.toml"
    shipped = (DEVICES / "edge-npu.toml").read_text().replace('name = "edge-npu"', 'name = "mine"')
    device.write_text(shipped)
    override = 'targets=[{name="mine.toml"}]'
    assert bench.told(override) == []  # a new target is no change
    device.write_text(f"# a remark\n{shipped}")
    assert bench.told(override) == []
    changed = shipped.replace("bandwidth_gb_per_s = 0.8", "bandwidth_gb_per_s = 0.08")
    assert changed != shipped
    device.write_text(changed)
    (told,) = bench.told(override)
    assert "The figures of target mine have changed since the run began (latency_ms of" in told
    assert "restore the old table" in told
    plan = prepare(load_recipe(bench.folder / "tiny.toml", [override]), bench.files)
    assert changed_figures(plan, plan.targets[0]) == (told,)


def test_another_run_to_learn_from_is_refused_once_its_evaluations_are_kept(bench, finished):
    for name in ("first", "second"):
        shutil.copytree(finished, bench.folder / name)
    bench.files.sources.unlink()

    def told(name: str) -> list[str]:
        return bench.told("search.searcher=guided", f"search.transfer={name}")

    assert told("first") == told("second") == []  # nothing was learned yet
    experience_of(bench.folder / "second").keep(bench.files.transfer)
    assert told("second") == []
    with pytest.raises(RunFolderError, match=r"transfer = 'first', but .* keeps of 'second'"):
        told("first")
    with (bench.folder / "second" / "archive.journal").open("ab") as journal:
        journal.write(b"\n")
    (told_of,) = told("second")
    assert "second has other evaluations than those kept in transfer.json" in told_of


def test_a_damaged_record_is_named(bench):
    bench.files.sources.write_text("{}")
    with pytest.raises(UnreadableFile, match=r"sources\.json.*; delete it, and what the run reads"):
        bench.told()


def test_the_labels_of_a_finished_run_are_compared(recipe, folder, monkeypatch):
    read = digits.read_bundled

    def relabelled(name: str) -> np.ndarray:
        rows = read(name).copy()
        rows[:, -1] = 9 - rows[:, -1]
        return rows

    monkeypatch.setattr(digits, "read_bundled", relabelled)
    given = nas("run", recipe, "--out", folder, "--resume", *settings("search.budget=9"))
    assert_refused(
        given, "the train split of digits from 128 samples (0: 13, 1: 12", "sources.json"
    )
    monkeypatch.undo()
    succeeded(nas("run", recipe, "--out", folder, "--resume"))
    results = json.loads((folder / "results.json").read_text())["results"]
    noted = json.loads((folder / "sources.json").read_text())
    assert results["data"] == noted["data"]
