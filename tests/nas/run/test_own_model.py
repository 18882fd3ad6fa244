"""A run with a trained network of the user's own: as a recipe, and by `nas fit` and `nas init`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas.own.evaluator import PolicyEvaluator
from nas.recipe.sections import TaskSection, section
from nas.recipe.table_recipe import load_any_recipe
from nas.report.store import load
from nas.run.folder import RunFolder
from nas.run.sweep import _run as worked
from nas.run.sweep import jobs, summary
from nas.settings.own_modules import import_modules
from search_spaces.space import SearchSpace
from tests.nas.runs import assert_refused, nas, succeeded

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(16 * width, 10)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).flatten(1))

def build(width=4):
    return Net(width)
"""

RECIPE = """
[task]
kind = "digits"

[model]
source = "own_digits_net.py:build"
weights = "WEIGHTS"
divide = 16
mean = [0.5]
std = [0.25]
alone = ["conv"]
rewrites = ["ranges", "nearest", "round-biases"]

[[targets]]
name = "edge-npu"
allowed_drop = 2.0

[search]
budget = 7
"""


def recipe_in(folder: Path) -> Path:
    path = folder / "own.toml"
    path.write_text(RECIPE.replace("WEIGHTS", str(folder / "w.safetensors")))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network that was trained on digits from -2 to 2, its weights and a recipe."""
    folder = tmp_path_factory.mktemp("own")
    source = folder / "own_digits_net.py"
    source.write_text(SOURCE)
    import_modules([str(source)], beside=folder)
    import own_digits_net  # pyright: ignore[reportMissingImports]

    task = section(TaskSection, "digits")(kind="digits").load()
    [scaling] = [port.scaling for port in task.usage.inputs.values()]
    raw = torch.from_numpy(scaling.undone(task.train.inputs["image"].numpy())).float()
    torch.manual_seed(0)
    model, images = own_digits_net.build(), (raw / 16 - 0.5) / 0.25
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for rows in torch.randperm(len(images)).repeat(5).split(64):
        loss = torch.nn.functional.cross_entropy(model(images[rows]), task.train.targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(model.state_dict(), folder / "w.safetensors")
    recipe_in(folder)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The folder of a finished run."""
    succeeded(nas("run", folder / "own.toml"))
    return folder / "own"


def test_the_answer_is_exported_run_and_good_enough(run: Path) -> None:
    results = load(RunFolder(run).results)
    chosen = results.targets[0].chosen
    assert (run / "edge-npu.onnx").exists()
    errors = {one.name: one.error for one in results.targets[0].references}
    assert errors["uniform float32"] < 15
    assert chosen.files[0].test_error < errors["uniform float32"] + 8
    assert chosen.files[0].agreement > 99


def test_every_uniform_policy_and_all_samples_are_told(run: Path) -> None:
    target = load(RunFolder(run).results).targets[0]
    assert {"uniform float32", "uniform int8", "uniform int4"} <= {
        r.name for r in target.references
    }
    page = (run / "report.html").read_text()
    told = re.search(r"(\d+) samples calibrated the networks, (\d+) others .* (\d+) others", page)
    assert told
    assert told.groups() == ("512", "144", "144")
    assert "policy" in target.notes[0]
    assert target.notes[1].endswith("not tuned but rewritten: ranges, nearest, round-biases.")


def test_a_sweep_runs_the_recipe_of_a_trained_network(run: Path, folder: Path) -> None:
    seeds = jobs([folder / "own.toml"], out=folder, seeds=[0, 1])
    assert [job.folder.name for job in seeds] == ["own-seed0", "own-seed1"]
    # What a worker of the cluster does, which gets no more than the content of the recipe.
    job = seeds[0]
    assert worked(json.loads(json.dumps(job.recipe.model_dump(mode="json"))), job.folder) is None
    [row] = summary(job, job.results)
    alone = load(RunFolder(run).results).targets[0]
    assert row["test"] == 100 - alone.chosen.files[0].test_error
    assert row["cost"] == alone.chosen.costs["latency_ms"]


def test_layers_that_are_left_alone_have_no_choice(run: Path) -> None:
    names = [*SearchSpace.read(RunFolder(run).space).column]
    assert not any(name.startswith("conv") for name in names)
    assert any(name.startswith("head") for name in names)


def test_files_say_how_their_inputs_are_prepared(run: Path) -> None:
    usage = load(RunFolder(run).results).usage
    assert usage["inputs"]["image"]["mean"] == [8.0]
    assert usage["inputs"]["image"]["std"] == [4.0]


def test_another_budget_and_target_measure_nothing_again(
    run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(self, genotypes):
        measured.extend(genotypes)
        yield from ()

    monkeypatch.setattr(PolicyEvaluator, "__call__", measure)
    drop = "targets.0.allowed_drop=0"
    assert_refused(nas("run", folder / "own.toml", "--set", drop), "--resume")
    succeeded(nas("run", folder / "own.toml", "--set", drop, "--resume"))
    target = load(RunFolder(run).results).targets[0]
    assert target.chosen.error.measured is not None
    assert measured == []


def test_a_recipe_knows_where_its_network_is(run: Path, folder: Path) -> None:
    made = load_any_recipe(folder / "own.toml")
    assert made.model.source == f"{folder / 'own_digits_net.py'}:build"
    assert json.loads((run / "recipe.json").read_text())["model"]["source"] == made.model.source


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["model.source=net"], "'net' names no network"),
        (["model.source=absent.py:build"], "no such file"),
        (["model.widht=3"], "model.widht: unknown key"),
        (["model.options={width=5}"], r"conv.weight \(4, 1, 3, 3\) for \(5, 1, 3, 3\)"),
        (["model.mean=[0.1, 0.2]"], "mean and std belong together"),
        (["model.mean=[0.1, 0.2]", "model.std=[1, 1]"], "2 means for 1 places"),
        (["model.mean=[1e4]"], "one constant answer has"),
        (["model.alone=['haed']"], "haed"),
        (["model.rewrites=['nearer']"], "nearer"),
        (
            ["model.weight_bits=[8,'float16']", "export.formats=['onnx','torch']"],
            "'torch' has no type for float16; leave these out",
        ),
        (["model.channels=[1.5]"], "model.channels.*above 0 and at most 1"),
        (["model.channels={shares=[0.5],multipel_of=2}"], "did you mean 'multiple_of'"),
        (["model.channels={shares=[0.5],multiple_of=8}"], "conv: shares .* multiple of 8"),
        (["model.ranks=[0]"], "give some above 0"),
        (["model.epochs=0"], "greater than or equal to 1"),
        (["model.epochs={epochs=1,batch_size=5000}"], "batches of 5000 samples has"),
        (["model.ranks=[2]"], "branches of low rank stay empty"),
        (["targets.0.limits={latency=3}"], "no cost latency"),
        (["targets.0.limits={latency_ms=1e-9}"], "latency_ms"),
        (["space.family=residual"], r"leave out \[space\]"),
    ],
)
def test_what_makes_no_run_is_refused_before_work(
    folder: Path, changes: list[str], told: str
) -> None:
    words = [word for change in changes for word in ("--set", change)]
    refused = nas("spaces", folder / "own.toml", *words)
    assert refused.code == 1
    assert re.search(told, refused.out + refused.err), refused


def test_a_trained_network_has_no_steps_of_its_own(folder: Path) -> None:
    assert_refused(nas("train", folder / "own.toml"), "trained already")


def test_commands_for_run_folders_work_or_name_the_remedy(run: Path, tmp_path: Path) -> None:
    succeeded(nas("archive", "export", run, tmp_path / "all.csv"))
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert len(lines) == 1 + load(RunFolder(run).results).budget
    assert {"error", "held_out", "model_bytes", "edge-npu.latency_ms"} <= {*lines[0].split(",")}
    succeeded(nas("archive", "seal", run))
    succeeded(nas("report", run))
    again = nas("search", "--from", run, "--target", "datacentre-gpu")
    assert_refused(again, "--target NAME --resume", "measures nothing again")
    assert_refused(nas("archive", "merge", run, run), "runs about a trained network are not merged")


def test_a_run_folder_of_somebody_else_runs_no_code(folder: Path, tmp_path: Path) -> None:
    held = json.loads((folder / "own" / "recipe.json").read_text())
    held["model"]["source"] = f"{tmp_path / 'strange_net.py'}:build"
    (tmp_path / "strange_net.py").write_text("raise SystemExit(3)")
    (tmp_path / "recipe.json").write_text(json.dumps(held))
    with pytest.raises(Exception, match="not imported from a run folder"):
        RunFolder(tmp_path).stored_recipe()


def test_fit_is_the_same_without_a_recipe(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = section(TaskSection, "digits")(kind="digits").load()
    import numpy as np

    [scaling] = [port.scaling for port in task.usage.inputs.values()]
    raw = scaling.undone(task.validation.inputs["image"].numpy())
    np.savez("data.npz", x_train=raw.astype("f4"), y_train=task.validation.targets.numpy())
    words = (f"{folder / 'own_digits_net.py'}:build", "--data", "data.npz")
    more = ("--weights", folder / "w.safetensors", "--target", "edge-npu", "--yes")
    scaled = ("--set", "model.divide=16", "--set", "model.mean=[0.5]", "--set", "model.std=[0.25]")
    offered = ("--channels", "0.5", "--ranks", "2", "--epochs", "1")
    asked = ("--allowed-drop", "5", "--set", "search.budget=1")
    done = nas("fit", *words, *more, *scaled, *offered, *asked)
    succeeded(done)
    space = SearchSpace.read(RunFolder(Path("own_digits_net-build")).space)
    assert tuple(space.plain_options["conv.width"]) == (2, 4)
    assert tuple(space.plain_options["conv.rank"]) == (0, 2)
    assert re.search(r"edge-npu: (A mixed|The uniform) policy .*is\s+returned", done.out)
    assert re.search(r"Its weights are\s+(tuned|those)", done.out)
    assert Path("own_digits_net-build/edge-npu.onnx").exists()
    written = nas("init", *words, *more, *offered, "--out", "mine.toml")
    succeeded(written)
    made = load_any_recipe(Path("mine.toml"))
    assert (made.targets[0].allowed_drop, made.model.channels.shares) == (0.5, (0.5,))
    assert (made.model.ranks.options, made.model.epochs.epochs) == ((0, 2), 1)
    assert_refused(nas("init", "--data", "data.npz"), "give both it and its data")
