"""Every kind of task from its recipe to the front, the exported file and the report.

The shipped recipes run with smaller settings. What the report says about an exported file is
computed again here, from the file and the samples alone, by other libraries.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from nas.export import ExportError
from nas.export.raw import raw_of
from nas.ort import onnxruntime
from nas.recipe.recipe import load_recipe
from nas.report.data import Results
from nas.run.folder import RunFolder
from nas.run.pipeline import run
from nas.run.plan import prepare
from nas.run.steps.exporting import exported
from nas.run.steps.searching import archive_of
from nas.run.steps.training import supernet_of
from nas.tasks import Task
from nas.terminal.display import Silent
from tests.shared_data import shared_data

RUNS = Path(__file__).parents[3] / "runs"
SMALL = (
    "training.float_epochs=3",
    "training.quantized_epochs=2",
    'targets=[{name="edge-npu"}]',
    'search.searcher="random"',
    "search.budget=6",
    "search.batch=6",
    "search.proxies=2",
    "search.calibration_samples=64",
    "compute.device='cpu'",
    "compute.threads=1",
)


@dataclass(frozen=True)
class Kind:
    """A shipped recipe, what is made smaller of it, and its figures computed independently."""

    recipe: str
    overrides: Callable[[], tuple[str, ...]]
    figures: Callable[[Task, np.ndarray, np.ndarray], Mapping[str, float]]
    words: tuple[str, ...]
    foreign: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """A finished run."""

    kind: Kind
    task: Task
    results: Results
    files: RunFolder


def told(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The mean and deviation of outputs that files tell."""
    found = task.stated()["output"]
    return np.array(found["mean"]), np.array(found["std"])


def regression(task: Task, out: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    mean, std = told(task)
    out, targets = out * std + mean, targets * std + mean
    return {
        "error": mean_absolute_error(targets, out),
        "rmse": root_mean_squared_error(targets, out),
        "r2": 1 - r2_score(targets, out),
    }


def pixels(task: Task, out: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    _, std = told(task)
    apart = (out - targets) * std
    ratios = 10 * np.log10(255**2 / np.square(apart).mean(axis=(1, 2, 3)))
    return {"error": 100 - ratios.mean(), "mean_absolute_error": 100 / 255 * np.abs(apart).mean()}


def classes(task: Task, out: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    names = range(*task.output)
    return {
        "error": 100 - 100 * accuracy_score(targets, out.argmax(1)),
        "nll": log_loss(targets, softmax(out, axis=1), labels=names),
        "macro_f1": 100 - 100 * f1_score(targets, out.argmax(1), average="macro"),
    }


def tokens(task: Task, out: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    logs = log_softmax(out.astype(np.float64), axis=2)
    error = -np.take_along_axis(logs, targets[..., None], axis=2).mean()
    wrong = 100 - 100 * accuracy_score(targets.ravel(), out.argmax(2).ravel())
    return {"error": error, "perplexity": np.exp(error), "token_accuracy": wrong}


KINDS = {
    "image-classification": Kind(
        "digits",
        lambda: ("task.limit=300", "space.kernels=[3]"),
        classes,
        ("accuracy", "top-5"),
        ("PSNR", "mean absolute error", "nats per token"),
    ),
    "regression": Kind(
        "diabetes",
        lambda: ("space.depths=[1, 2]",),
        regression,
        ("mean absolute error",),
        ("accuracy", "PSNR"),
    ),
    "image-pairs": Kind(
        "cifar10-pairs",
        lambda: (
            f'task.path="{shared_data("cifar10/cifar10_mini.npz")}"',
            "task.limit=192",
            "space.widths=[4, 6]",
            "space.depths=[1, 2]",
        ),
        pixels,
        ("PSNR", "dB"),
        ("accuracy", "nats", "top-5"),
    ),
    "text-classification": Kind(
        "sst2",
        lambda: (
            f'task.train="{shared_data("sst2/train.tsv.gz")}"',
            f'task.test="{shared_data("sst2/glue_dev.tsv.gz")}"',
            "task.limit=2500",
            "task.validation_fraction=0.01",
            "task.length=16",
            "space.depths=[1]",
            "space.widths=[16, 24]",
        ),
        classes,
        ("accuracy",),
        ("PSNR", "mean absolute error", "cross entropy", "image"),
    ),
    "next-token": Kind(
        "shakespeare",
        lambda: (
            f'task.train="{shared_data("tinyshakespeare/input.txt.gz")}"',
            "task.limit=1000",
            "task.validation_fraction=0.005",
            "task.test_fraction=0.01",
            "space.depths=[1]",
            "space.widths=[32]",
        ),
        tokens,
        ("cross entropy", "nats per token", "perplexity"),
        ("PSNR", "mean absolute error", "image"),
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    kind = KINDS[request.param]
    recipe = load_recipe(RUNS / f"{kind.recipe}.toml", (*SMALL, *kind.overrides()))
    files = RunFolder(tmp_path_factory.mktemp(request.param) / "run")
    return Made(kind, recipe.task.load(), run(recipe, folder=files.path), files)


def predicted(made: Made, folder: Path, place: Path) -> np.ndarray:
    """The answers of `predict.py` in a folder for the raw test samples, without the engine."""
    inputs, _ = made.task.test_samples()
    for name, tensor in raw_of(inputs, made.task.usage).items():
        np.save(place / f"{name}.npy", tensor.numpy())
    paths = [place / f"{name}.npy" for name in inputs]
    command = [sys.executable, "-I", "-c", ALONE, *paths, place / "found.npy"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return np.load(place / "found.npy")


ALONE = """
import sys

class Closed:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {*sys.stdlib_module_names, "numpy", "onnxruntime", "predict"}:
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Closed())
sys.path.insert(0, ".")
import numpy as np
from predict import predict

*read, write = sys.argv[1:]
np.save(write, predict("edge-npu.onnx", *map(np.load, read)))
"""


@pytest.fixture(scope="module")
def answers(made: Made) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of the exported file and the targets, of all test samples."""
    session = onnxruntime.InferenceSession(
        str(made.files.path / "edge-npu.onnx"), providers=["CPUExecutionProvider"]
    )
    outputs, targets = [], []
    for inputs, wanted in made.task.test_batches(64):
        outputs += session.run(None, {name: x.numpy() for name, x in inputs.items()})
        targets.append(wanted.numpy())
    return np.concatenate(outputs), np.concatenate(targets)


def test_the_file_has_the_inputs_and_outputs_of_the_task(made):
    graph = onnx.load(made.files.path / "edge-npu.onnx").graph
    (output,) = graph.output
    shapes = {
        each.name: tuple(axis.dim_value for axis in each.type.tensor_type.shape.dim[1:])
        for each in (*graph.input, output)
    }
    expected = {spec.name: spec.shape for spec in made.task.inputs}
    assert shapes == {**expected, "output": made.task.output}


def test_the_file_says_how_it_is_fed(made):
    held = onnx.load(made.files.path / "edge-npu.onnx").metadata_props
    found = {each.key.removeprefix("elastic_nas."): each.value for each in held}
    told = {key: json.loads(found[key]) for key in ("inputs", "output")}
    assert told == made.task.stated() == made.results.usage
    (size,) = (target.chosen.file.bytes for target in made.results.targets)
    assert size.predicted.mean == pytest.approx(size.measured.mean, rel=0.1, abs=300)


def test_the_figures_are_those_of_the_file(made, answers):
    (target,) = made.results.targets
    (file,) = target.chosen.files
    expected = dict(made.kind.figures(made.task, *answers))
    told = {**file.test_metrics, "error": file.test_error}
    # A file tells the losses of its metrics: 100 less an accuracy, for instance.
    assert {name: told[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert file.output_difference < 0.1 * answers[0].std()


def test_the_search_learned_something(made, answers):
    targets = made.task.train.targets
    guess = made.task.criterion.guess(targets)
    out, wanted = (torch.from_numpy(each) for each in answers)
    assert float(made.task.criterion.total(out, wanted)) / len(out) < guess


def test_the_front_is_of_what_was_measured(made):
    (target,) = made.results.targets
    measured = {tuple(point.genotype): point.metrics["error"] for point in made.results.evaluated}
    assert len(measured) == 6
    assert target.front
    for point in target.front:
        assert point.error == measured[tuple(point.genotype)]


def test_the_report_has_the_words_of_the_task(made):
    text = re.sub(r"<(script|style).*?</\1>", "", made.files.report.read_text(), flags=re.S)
    shown = re.sub(r"<[^>]+>", " ", text.split("Recipe")[0])
    assert [word for word in made.kind.words if word not in shown] == []
    assert [word for word in made.kind.foreign if word in shown] == []


def test_predict_asks_the_file_about_raw_data_with_numpy_and_onnxruntime_alone(
    made, answers, tmp_path
):
    found, output = predicted(made, made.files.path, tmp_path), made.task.usage.output
    if output.names:
        expected = np.array(output.names)[answers[0].argmax(1)]
        assert (found == expected).mean() > 0.99  # a raw number of a tie may round to either side
        return
    expected = answers[0] if output.scaling is None else output.scaling.undone(answers[0])
    close = np.isclose(found, expected, atol=1e-3 * expected.std(), rtol=0)
    assert close.mean() > 0.99


def test_a_file_that_reads_raw_data_gives_the_same_answers(made, tmp_path):
    recipe = load_recipe(
        RUNS / f"{made.kind.recipe}.toml", (*SMALL, *made.kind.overrides(), "export.raw=true")
    )
    folder = RunFolder(shutil.copytree(made.files.path, tmp_path / "raw"))
    if all(port.scaling is None for port in made.task.usage.inputs.values()):
        with pytest.raises(ExportError, match=r"nothing is scaled for this task .*tokens"):
            prepare(recipe, folder)
        return
    plan = prepare(recipe, folder)
    (export,) = exported(plan, supernet_of(plan), archive_of(plan).measurements(), Silent())[
        "edge-npu"
    ].exports
    (plain,) = made.results.targets[0].chosen.files
    assert export.verification.file_error == pytest.approx(plain.test_error, rel=0.02)
    held = {each.key: each.value for each in onnx.load(export.path).metadata_props}
    told = json.loads(held["elastic_nas.inputs"]), json.loads(held["elastic_nas.output"])
    assert not [facts for facts in (*told[0].values(), told[1]) if "mean" in facts]
    found, expected = (predicted(made, each.path, tmp_path) for each in (folder, made.files))
    if made.task.usage.output.names:
        assert (found == expected).mean() > 0.99
    else:
        assert np.isclose(found, expected, atol=1e-3 * expected.std(), rtol=0).mean() > 0.99
