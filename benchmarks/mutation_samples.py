"""Small valid files of every kind that a user may receive, made in seconds."""

from __future__ import annotations

import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nas.recipe.methods import methods_of
from nas.recipe.recipe import load_recipe
from nas.report.store import load as load_results
from nas.run.experience import experience_of
from nas.run.folder import RunFolder
from nas.run.pipeline import run
from nas.run.plan import Plan, prepare
from nas.run.steps.training import supernet_of
from nas.targets import load_target
from nas.targets.correction.correction import Calibration, PredictionError, calibration_path
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.targets.target_files import DEVICES
from nas.targets.transfer.predicted import networks_text
from nas.targets.transfer.transfer import KnownTargets, Transfer
from nas.tasks.task import Batch
from search_spaces.space import SearchSpace
from supernets.deploy import deploy
from supernets.deployed import Deployed
from supernets.extract import extract
from supernets.supernet import Supernet
from supernets.training.context import TrainingContext
from supernets.training.schedule import schedule
from supernets.training.state import TrainingState
from supernets.training.step import TrainingStep

RECIPE = """
[task]
kind = "digits"
limit = 128

[space]
family = "residual"
widths = [[4, 6], [6, 8]]
depths = [[1, 2]]

[space.policy]
weight_bits = [2, 4, 8]
activation_bits = [4, 8]
fineness = "network"

[training]
float_epochs = 1
quantized_epochs = 1
batch_size = 32

[[targets]]
name = "edge-npu"
limits = { latency_ms = 5.0 }

[search]
searcher = "random"
budget = 8
batch = 4
proxies = 4
calibration_samples = 64

[export]
formats = ["onnx", "torch"]

[compute]
device = "cpu"
threads = 1
"""
_KNOWN = ("edge-npu", "mobile-npu", "bit-serial")
# Keys as in the published files of Once-for-All, each of which is a kernel.
_PUBLISHED = (
    "Conv-input:160x160x3-output:80x80x24",
    "expanded_conv-input:40x40x32-output:20x20x48-expand:96-kernel:5-stride:2-idskip:0-se:1-hs:0",
    "AvgPool2D-input:5x5x1152-output:1x1x1152",
    "Logits-input:1x1x1536-output:1000",
)
_TRANSFER = f"""
[transfer]
known = {list(_KNOWN)}
space = "space.json"
measured = "measured.csv"
"""


class Samples:
    """Small valid files of every kind, made in seconds.

    Args:
        root: An empty folder for the files.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "recipe").mkdir()
        (root / "recipe" / "mine.toml").write_text(RECIPE)
        recipe = load_recipe(root / "recipe" / "mine.toml")
        run(recipe, folder=root / "run")
        (root / "run" / "report.html").unlink()
        self.plan: Plan = prepare(recipe, RunFolder(root / "run"))
        self.space: SearchSpace = self.plan.space
        experience_of(root / "run").keep(root / "run" / "transfer.json")
        for make in (_targets, _table, _published, _arrays, _images, _predicted):
            make(self)
        (root / "training").mkdir()
        self.training_state().save(root / "training" / "training.safetensors")
        shutil.copytree(root / "run", root / "merge" / "other")

    @cached_property
    def supernet(self) -> Supernet:
        """The supernet of the run."""
        return supernet_of(self.plan)

    @cached_property
    def deployed(self) -> Deployed:
        """The exported subnet of the run."""
        results = load_results(self.root / "run" / "results.json")
        picked = results.targets[0].chosen
        assert picked is not None
        calibration = self.plan.task.calibration(self.plan.recipe.search.calibration_samples, 512)
        return deploy(extract(self.supernet, picked.genotype, calibration))

    @cached_property
    def shown(self) -> Batch:
        """A few samples with their targets to verify exported files with."""
        return next(iter(self.plan.task.test_batches(32)))

    def training_state(self) -> TrainingState:
        """The state of a training after two steps without gradients."""
        settings, samples = self.plan.recipe.training, 128
        supernet, planned = Supernet(self.space, seed=0), schedule(settings, samples)
        context = TrainingContext(supernet, settings, planned, self.plan.task.criterion, _no_batch)
        state = TrainingState(TrainingStep(context, methods_of(settings)), samples=samples)
        for loss in (2.0, 1.0):
            state.record([loss, loss, loss])
        return state


def _no_batch(step: int) -> Batch:
    raise AssertionError(f"no batch is read, asked for that of step {step}")


def _targets(samples: Samples) -> None:
    """Write a measured target with its table in both formats, and a correction of the table."""
    shipped = (DEVICES / "this-cpu.toml").read_text()
    target = load_target("this-cpu", table=samples.root / "none.csv", unmeasured=True)
    keys = dict.fromkeys(KernelKey.of(k, bits) for k, bits in target.natively(samples.space))
    rows = {key: Row(0.01 * n, 0.001, 20) for n, key in enumerate(keys, 1)}
    table = LatencyTable(rows, {"device": "a board", "threads": "1", "date": "2026-01-01"})
    for suffix in ("csv", "parquet"):
        folder = samples.root / suffix
        folder.mkdir()
        (folder / "mine.toml").write_text(shipped.replace("this-cpu.csv", f"mine.{suffix}"))
        table.write(folder / f"mine.{suffix}")
        (folder / "space.json").write_text(samples.space.to_json())
    error = PredictionError(0.1, 0.2, 0.5, 0.9, 4)
    corrected = Calibration(1.1, {"Conv2d 8x8": 0.9}, 2.0, error, error, {"device": "a board"})
    corrected.write(calibration_path(samples.root / "csv" / "mine.csv"))
    (samples.root / "target").mkdir()
    shutil.copy(DEVICES / "edge-npu.toml", samples.root / "target" / "mine.toml")
    shutil.copy(samples.root / "csv" / "space.json", samples.root / "target")


def _table(samples: Samples) -> None:
    shutil.copytree(Path(__file__).parent.parent / "examples" / "table", samples.root / "table")


def _published(samples: Samples) -> None:
    folder = samples.root / "published"
    folder.mkdir()
    rows = {key: {"count": 50, "mean": 1.5, "std": 0.01} for key in _PUBLISHED}
    (folder / "ofa.json").write_text(json.dumps(rows))
    text = "".join(f"{key}:\n  count: 50\n  mean: 1.5\n  std: 0.01\n" for key in _PUBLISHED)
    (folder / "ofa.yaml").write_text(text)


def _arrays(samples: Samples) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 80), ("test", 20)):
        arrays[f"x_{split}"] = rng.random((count, 8, 8), dtype=np.float32)
        arrays[f"y_{split}"] = np.arange(count) % 4
    (samples.root / "npz").mkdir()
    np.savez(samples.root / "npz" / "mine.npz", **arrays)
    (samples.root / "npy").mkdir()
    for name, values in arrays.items():
        np.save(samples.root / "npy" / f"{name}.npy", values)


def _images(samples: Samples) -> None:
    rng = np.random.default_rng(0)
    for suffix in ("png", "jpg"):
        for number in range(24):
            folder = samples.root / suffix / f"class{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.{suffix}")


def _predicted(samples: Samples) -> None:
    """Write a target that is predicted from known ones and ten networks of a made-up device."""
    folder = samples.root / "transfer"
    folder.mkdir()
    known = KnownTargets([load_target(name) for name in _KNOWN], samples.space)
    chosen = Transfer(known).choose(10)
    latency = known.parts(np.array(chosen)).sum(axis=2) @ np.array([0.5, 2.0, 0.3]) + 0.02
    (folder / "measured.csv").write_text(networks_text(samples.space, chosen, latency.tolist()))
    (folder / "space.json").write_text(samples.space.to_json())
    described = (DEVICES / "edge-npu.toml").read_text().replace("analytical", "predicted")
    plain = described.split("[roofline", 1)[0]
    (folder / "mine.toml").write_text(plain + _TRANSFER)
