"""Kinds of files that a user may receive or damage: small samples, and the reader of each kind.

A reader is the function that the command line calls for such a file. It returns the content in a
form that can be compared. If a checksum or a digest covers the content, a damaged file must be
refused or have the same content. Otherwise, any allowed content is accepted.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from benchmarks.mutation_samples import Samples
from nas.cli.archive import merge
from nas.cli.targets import check
from nas.export import verify
from nas.recipe.recipe import load_recipe
from nas.report.html import render
from nas.report.store import load as load_results
from nas.report.summary import summary_table
from nas.run.experience import kept
from nas.run.folder import RunFolder
from nas.run.plan import Plan, overview, prepare
from nas.run.probing import probed
from nas.run.run_archive import archive_in
from nas.run.steps.training import training_summary
from nas.tabular import load_table
from nas.targets import load_target
from nas.targets.adapters.ofa import Ofa
from nas.targets.transfer.predicted import read_networks
from nas.tasks import ArraysTask, FolderTask
from nas.terminal.display import Silent
from supernets.checkpoint import load as load_supernet

# The allowed content of a damaged file: the same only, earlier content of an archive, any legal.
Trust = Literal["same", "earlier", "legal"]


class OutOfDomain(Exception):
    """The error for content with a value that no such file may hold."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        sample: The folder of the sample, relative to the folder of all samples.
        files: Globs of the files in this folder, of which one is damaged.
        read: A function that reads the folder.
        trust: The allowed content of a damaged file that is not refused.
    """

    sample: str
    files: tuple[str, ...]
    read: Callable[[Samples, Path], object]
    trust: Trust = "legal"


def _printed(_samples: Samples, folder: Path) -> str:
    """The lines that `nas targets check mine.toml --space space.json` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        check(str(folder / "mine.toml"), space=folder / "space.json")
    return out.getvalue()


def _costs(samples: Samples, folder: Path) -> str:
    """The same lines, and all costs of the smallest and the largest network on the target."""
    printed = _printed(samples, folder)
    target = load_target(folder / "mine.toml")
    rows = np.array([samples.space.smallest, samples.space.largest])
    for name, cost in target.compile(samples.space).items():
        if np.isnan(cost(rows)).any() or (cost(rows) < 0).any():
            raise OutOfDomain(f"{name} is {cost(rows)}")
        printed += f"{name} {cost(rows)}"
    return printed


def _require_finite(*values: Any) -> None:
    for held in map(np.asarray, values):
        if held.dtype.kind not in "iuf" or not np.isfinite(held).all():
            raise OutOfDomain(f"{held.ravel()[:9]} where finite numbers belong")


def _recipe(_samples: Samples, folder: Path) -> object:
    """The reading part of `nas spaces`."""
    made = load_recipe(folder / "mine.toml")
    for table in overview(prepare(made, RunFolder(folder / "out"))):
        Console(file=io.StringIO()).print(table)
    return None


def _evaluations(_samples: Samples, folder: Path) -> object:
    return archive_in(folder).evaluations()


def _merged(samples: Samples, folder: Path) -> object:
    """The reading part of `nas archive merge`."""
    into = folder / "into"
    shutil.copytree(samples.root / "run", into)
    (into / "archive.journal").unlink()
    shutil.copy(samples.root / "run" / "archive.journal", into)
    with contextlib.redirect_stdout(io.StringIO()):
        merge(into, [folder / "other"])
    return archive_in(into).evaluations()


def _results(_samples: Samples, folder: Path) -> None:
    """The part of `nas report` that reads."""
    Console(file=io.StringIO()).print(summary_table(load_results(folder / "results.json")))


def _drawn(samples: Samples, folder: Path) -> None:
    """The whole of `nas report`."""
    _results(samples, folder)
    render(load_results(folder / "results.json"), folder / "report.html")


def _probe(samples: Samples, folder: Path) -> None:
    found = probed(_plan_in(samples, folder), samples.supernet, Silent())
    for scores in found.scores.values():  # infinite is the score of a proxy without a number
        if np.isnan(scores).any():
            raise OutOfDomain(f"{scores[:9]} where numbers belong")
    _require_finite(*(column(found.genotypes) for column in found.columns(samples.plan)))


def _plan_in(samples: Samples, folder: Path) -> Plan:
    plan = samples.plan
    return replace(plan, files=RunFolder(folder))


def _history(samples: Samples, folder: Path) -> None:
    found = training_summary(_plan_in(samples, folder))
    assert found is not None
    _require_finite(found.seconds, found.epochs, *(point.loss for point in found.curve))


def _experience(samples: Samples, folder: Path) -> None:
    found = kept(folder / "transfer.json")
    predicted = found.column(samples.space)(np.array([samples.space.largest]))
    _require_finite(found.errors, predicted)


def _digest(arrays: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        held = np.asarray(arrays[name])
        digest.update(f"{name} {held.shape} {held.dtype}".encode() + held.tobytes())
    return digest.hexdigest()


def _supernet(samples: Samples, folder: Path) -> str:
    found = load_supernet(samples.space, folder / "supernet.safetensors").state_dict()
    return _digest({name: tensor.numpy() for name, tensor in found.items()})


def _state(samples: Samples, folder: Path) -> object:
    state = samples.training_state()
    state.load(folder / "training.safetensors")
    tensors = {**state.supernet.state_dict(), "losses": state.losses}
    return state.step, _digest({name: tensor.numpy() for name, tensor in tensors.items()})


def _task_of(section: ArraysTask | FolderTask) -> str:
    task = section.load()
    splits = {"train": task.train, "validation": task.validation}
    held = {f"{n} {name}": x.numpy() for n, s in splits.items() for name, x in s.inputs.items()}
    held |= {f"{n} targets": split.targets.numpy() for n, split in splits.items()}
    _require_finite(*held.values())
    inputs, targets = task.test_samples()
    held |= {f"test {name}": x.numpy() for name, x in inputs.items()}
    return _digest({**held, "test targets": targets.numpy()})


def _networks(_samples: Samples, folder: Path) -> None:
    table = load_table(folder / "nets.toml")
    rows = table.space.sample_array(np.random.default_rng(0), 20)
    figures = [table.loss, *(cost for costs in table.devices.values() for cost in costs.values())]
    _require_finite(*(figure(rows) for figure in figures))


def _verified(suffix: str) -> Callable[[Samples, Path], object]:
    def read(samples: Samples, folder: Path) -> object:
        file, criterion = folder / f"edge-npu.{suffix}", samples.plan.task.criterion
        return verify(file, samples.deployed, *samples.shown, criterion=criterion)

    return read


def _imported(_samples: Samples, folder: Path) -> None:
    """The reading part of `nas targets import ofa FILE`."""
    for path in sorted(folder.iterdir()):
        rows = Ofa().read(path).rows
        _require_finite(*(row.latency_ms for row in rows.values()))


def _measured(samples: Samples, folder: Path) -> None:
    read_networks(folder / "measured.csv", samples.space)


KINDS: dict[str, Kind] = {
    "recipe": Kind("recipe", ("mine.toml",), _recipe),
    "target": Kind("target", ("mine.toml",), _costs),
    "latency table, CSV": Kind("csv", ("mine.csv",), _costs),
    "latency table, Parquet": Kind("parquet", ("mine.parquet",), _costs, "same"),
    "published table": Kind("published", ("ofa.*",), _imported),
    "correction of a table": Kind("csv", ("mine.calibration.json",), _costs),
    "search space": Kind("target", ("space.json",), _printed),
    "run folder: recipe, space": Kind("run", ("recipe.json", "space.json"), _evaluations, "same"),
    "run folder: results": Kind("run", ("results.json",), _results),
    "run folder: results, drawn": Kind("run", ("results.json",), _drawn),
    "run folder: probe": Kind("run", ("probe.json",), _probe),
    "run folder: training record": Kind("run", ("training.json",), _history),
    "run folder: experience": Kind("run", ("transfer.json",), _experience),
    "archive": Kind("run", ("archive.journal",), _evaluations, "earlier"),
    "archive, merged": Kind(
        "merge", ("other/archive.journal", "other/recipe.json", "other/space.json"), _merged, "same"
    ),
    "supernet": Kind("run", ("supernet.safetensors",), _supernet, "same"),
    "training state": Kind("training", ("training.safetensors",), _state, "same"),
    "arrays, npz": Kind(
        "npz", ("mine.npz",), lambda _, f: _task_of(ArraysTask(path=f / "mine.npz")), "same"
    ),
    "arrays, npy": Kind("npy", ("*.npy",), lambda _, f: _task_of(ArraysTask(path=f))),
    "images, PNG": Kind("png", ("*/*.png",), lambda _, f: _task_of(FolderTask(path=f)), "same"),
    "images, JPEG": Kind("jpg", ("*/*.jpg",), lambda _, f: _task_of(FolderTask(path=f))),
    "table of networks: description": Kind("table", ("nets.toml",), _networks),
    "table of networks: CSV": Kind("table", ("nets.csv",), _networks),
    "exported ONNX": Kind("run", ("edge-npu.onnx",), _verified("onnx")),
    "exported torch, weights": Kind(
        "run", ("edge-npu.torch/weights.safetensors",), _verified("torch")
    ),
    "predicted target": Kind("transfer", ("mine.toml", "space.json", "measured.csv"), _costs),
    "measured networks": Kind("transfer", ("measured.csv",), _measured),
}
