"""Runs of `nas run` that are killed at random instants and resumed, against an uninterrupted run.

    python -m benchmarks.kill_resume [--seed 0] [--rounds 2]    # rounds of kills per step

A run is watched through its files and gets SIGKILL a random moment after a random write: in
training, in search or in export, each in runs of their own, and in every step of one run. Then
`--resume` continues the run to its end. Two runs are equal if they have the same evaluations with
the same metrics in the same order, none twice; the same Pareto tables, probes and ONNX files, byte
for byte; the same weights, bit for bit; and no further file. Measured latencies are never the same
twice, so all runs for `this-cpu` share one table, whose measuring is killed too, and calibrate
nothing by whole networks.

The script prints a Markdown table and fails if anything differs. It takes about three minutes on a
free core.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from nas.archive.archive import Archive
from search_spaces.space import SearchSpace

BUDGET = 30
RECIPE = f"""
[task]
kind = "digits"
limit = 384

[space]
family = "residual"
widths = [[4, 6], [4, 6], [6, 8]]
depths = [[1, 2], [1, 2]]

[space.policy]
weight_bits = [2, 4, 8]
activation_bits = [4, 8]
fineness = "stage"

[training]
float_epochs = 4
quantized_epochs = 4
batch_size = 64
checkpoint_seconds = 0

[search]
budget = {BUDGET}
batch = 6
proxies = 8

[compute]
device = "cpu"
threads = 1
profile_networks = 0
"""
ANALYTICAL = ("edge-npu", "bit-serial")
MEASURED = ("this-cpu", "bit-serial")
TABLE = "this-cpu.csv"
# By step: the largest number of writes that a kill waits for, and the longest wait after them.
WRITES = {"profile": 40, "training": 45, "probe": 1, "search": BUDGET, "export": 6}
MOST_WAIT_S = {"profile": 0.5, "training": 0.05, "probe": 1.0, "search": 0.1, "export": 0.05}
TRIAL = b'{"op_code":4,'
POLL_S = 0.002
DEADLINE_S = 600.0


@dataclass(frozen=True)
class Case:
    """One run: the step of the command line, its recipe, and the folder it works in."""

    command: str
    recipe: Path
    folder: Path

    def start(self) -> subprocess.Popen[bytes]:
        """The command in a process of its own."""
        arguments = [self.command, str(self.recipe), "--out", str(self.folder)]
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "nas.cli.main",
                *arguments,
                *["--resume"] * (self.command == "run"),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def finish(self) -> None:
        """Let the command run to its end."""
        _, errors = self.start().communicate(timeout=DEADLINE_S)
        written = [*self.folder.glob("report.html"), *self.folder.glob(TABLE)]
        if errors or not written:
            raise RuntimeError(f"`nas {self.command}` in {self.folder} failed: {errors.decode()}")

    def evaluated(self) -> int:
        """The number of evaluations that the archive has received, repeated ones included."""
        path = self.folder / "archive.journal"
        return path.read_bytes().count(TRIAL) if path.exists() else 0

    def writes(self, step: str, since: float) -> int:
        """The number of writes of a step so far; -1 before the step."""
        here = self.folder
        match step:
            case "profile":
                return (here / TABLE).read_text().count("\n") if (here / TABLE).exists() else -1
            case "training":
                return _trained_steps(here / "training.safetensors")
            case "probe":
                return 0 if (here / "supernet.safetensors").exists() else -1
            case "search":
                return self.evaluated() if (here / "probe.json").exists() else -1
            case _:
                fresh = [path for path in _outputs(here) if path.stat().st_mtime > since]
                return len(fresh) if self.evaluated() >= BUDGET else -1

    def where(self, since: float) -> str:
        """The step that a killed run was in, from its files."""
        if self.command == "profile":
            return f"profile, {self.writes('profile', since)} lines written"
        if (files := self.writes("export", since)) >= 0:
            return f"export, {files} of {WRITES['export']} files written"
        if (count := self.writes("search", since)) >= 0:
            return f"search, {count} of {BUDGET} evaluated"
        if self.writes("probe", since) >= 0:
            return "probe"
        return f"training, after step {self.writes('training', since)}"


def _trained_steps(path: Path) -> int:
    """The step in the header of a training's checkpoint."""
    if not path.exists():
        return -1
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return int(header["__metadata__"]["step"])


def _outputs(folder: Path) -> list[Path]:
    return [
        *folder.glob("*.onnx"),
        *folder.glob("front-*.csv"),
        *folder.glob("re[sp]*.[jh]*"),
    ]


def killed(
    case: Case, step: str, rng: np.random.Generator, stretch: tuple[float, float] = (0, 1)
) -> str:
    """Kill a run at a random instant in a part of a step, and return the step that it was in.

    `stretch` is the part, as shares of the step's writes.
    """
    for _ in range(5):
        after = int(rng.uniform(*stretch) * WRITES[step])
        wait = float(rng.uniform(0, MOST_WAIT_S[step]))
        since = time.time()
        process = case.start()
        while process.poll() is None and case.writes(step, since) < after:
            time.sleep(POLL_S)
        time.sleep(wait)
        process.kill()
        _, errors = process.communicate(timeout=DEADLINE_S)
        if process.returncode < 0:
            return case.where(since)
        if errors:
            raise RuntimeError(f"`nas {case.command}` failed: {errors.decode()}")
    raise RuntimeError(f"no run could be killed in {step}: each had ended before")


def archived(case: Case) -> list[tuple[tuple[int, ...], dict[str, float]]]:
    """The evaluations of a finished run, in their order."""
    space = SearchSpace.from_json((case.folder / "space.json").read_text())
    archive = Archive(case.folder / "archive.journal", space, study=case.recipe.stem)
    return [(found.genotype, dict(found.metrics)) for found in archive.evaluations()]


def differences(case: Case, reference: Case) -> Iterator[str]:
    """The differences between two finished runs, in words."""
    ours, theirs = archived(case), archived(reference)
    if ours != theirs:
        yield "archive"
    if case.evaluated() != len({genotype for genotype, _ in ours}):
        yield "evaluated twice"
    weights, expected = (
        load_file(one.folder / "supernet.safetensors") for one in (case, reference)
    )
    if weights.keys() != expected.keys() or not all(
        torch.equal(weights[name], expected[name]) for name in weights
    ):
        yield "weights"
    names = sorted(path.name for path in case.folder.iterdir())
    if names != sorted(path.name for path in reference.folder.iterdir()):
        yield f"files {names}"
    yield from _unlike_files(case.folder, reference.folder)
    if (case.folder / "probe.json").read_bytes() != (reference.folder / "probe.json").read_bytes():
        yield "probe.json"


def _unlike_files(ours: Path, theirs: Path) -> Iterator[str]:
    """The names of exported files and fronts that differ."""
    for path in theirs.glob("*.onnx"):
        if (ours / path.name).read_bytes() != path.read_bytes():
            yield path.name
    for path in theirs.glob("front-*.csv"):
        if _not_measured(ours / path.name) != _not_measured(path):
            yield path.name


def _not_measured(front: Path) -> list[dict[str, str]]:
    """The rows of a front without the latencies of its files, which are measured in each run."""
    with front.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    return [{k: v for k, v in row.items() if not k.startswith("measured_")} for row in rows]


class Bench:
    """Runs in folders of their own under `root`, each compared with a run that is not killed."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._rng = np.random.default_rng(seed)
        self._count = 0
        self.failed = False

    def reference(self, targets: Sequence[str], table: Path | None = None) -> Case:
        """The uninterrupted run for these targets."""
        recipe = self._root / f"{targets[0]}.toml"
        named = "".join(f'\n[[targets]]\nname = "{name}"\n' for name in targets)
        recipe.write_text(RECIPE + named)
        case = self._case(recipe, table)
        case.finish()
        return case

    def row(
        self,
        reference: Case,
        steps: Sequence[str],
        *,
        stretch: tuple[float, float] = (0, 1),
        table: Path | None = None,
    ) -> None:
        """Kill a new run in each of the steps, let it end, and print how it compares."""
        case = self._case(reference.recipe, table)
        kills: list[str] = []
        for step in steps:
            place = killed(case, step, self._rng, stretch)
            kills.append(f"{place} (archive: {case.evaluated()})")
        before = case.evaluated()
        case.finish()
        found = list(differences(case, reference))
        self.failed |= bool(found)
        new = case.evaluated() - before
        print(
            f"| {reference.recipe.stem} | {'; '.join(kills)} | {new} | "
            f"{'differs: ' + ', '.join(found) if found else 'equal'} |",
            flush=True,
        )
        shutil.rmtree(case.folder)

    def profiled(self) -> Path:
        """The table of this machine, whose measuring is killed once; earlier rows must stay."""
        recipe = self._root / "profile.toml"
        recipe.write_text(RECIPE + '\n[[targets]]\nname = "this-cpu"\n')
        case = Case("profile", recipe, self._root / "profile")
        place = killed(case, "profile", self._rng)
        table = case.folder / TABLE
        kept = table.read_bytes()
        kept = kept[: kept.rfind(b"\n") + 1]
        case.finish()
        equal = table.read_bytes().startswith(kept)
        self.failed |= not equal
        print(f"| this-cpu's table | {place} | - | {'rows kept' if equal else 'rows lost'} |")
        return table

    def _case(self, recipe: Path, table: Path | None) -> Case:
        self._count += 1
        folder = self._root / f"run{self._count}"
        folder.mkdir()
        if table is not None:
            shutil.copy(table, folder / TABLE)
        return Case("run", recipe, folder)


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description="Killed and resumed runs against whole ones.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root), arguments.seed)
        whole = bench.reference(ANALYTICAL)
        print("| targets | killed in | evaluated after | against the whole run |")
        print("|---|---|---|---|", flush=True)
        for step in ("training", "search", "export"):
            for part in range(arguments.rounds):
                stretch = part / arguments.rounds, (part + 1) / arguments.rounds
                bench.row(whole, [step], stretch=stretch)
        bench.row(whole, ["training", "probe", "search", "export"])
        table = bench.profiled()
        whole = bench.reference(MEASURED, table)
        for step in ("search", "export"):
            bench.row(whole, [step], table=table)
    print(f"\nSeed {arguments.seed}; {time.monotonic() - start:.0f} s.")
    if bench.failed:
        sys.exit("a resumed run differs from the whole one")


if __name__ == "__main__":
    main()
