"""One search for 18 devices against 18 searches, and a new device from an existing archive.

    python -m benchmarks.many_devices [--seeds 5] [--results FILE]

The networks are NAS-Bench-201's cells (CIFAR-10 after 200 epochs) on the 18 device settings of
HELP. A share is the share of a device's exact hypervolume, for the tight reference point of the
published curves: the loss at the 75 % quantile of the table, and the largest cost of the front
below that loss plus a tenth of the range of these costs.

Every finished run is a line of `--results` and is not run again. The plot goes to `docs/figures`.
The script needs the tables of `ELASTIC_NAS_TABLES`, and pyarrow.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from benchmarks.search_tabular import show
from benchmarks.tables import ROOT, load
from nas.evaluation.evaluation import Evaluation
from nas.problem.front import hypervolume, nondominated
from nas.problem.goals import Goal, Problem
from nas.search.guided import Guided
from nas.tabular import open_table
from search_spaces.space import Genotype, IntArray, SearchSpace

FloatArray = NDArray[np.float64]
BATCH, SEPARATE, JOINT, ARCHIVE = 10, 100, 300, 100
MARKS, NEW, SCRATCH = (25, 50, 100), (0, 10, 25), (10, 25, 100)
LEFT_OUT = 6
RESULTS = Path("runs/many_devices/results.jsonl")
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "many_devices.svg"
SHAPE = (5,) * 6


@dataclass(frozen=True)
class Device:
    """One device with its exact front.

    Attributes:
        goal: The goal of small loss and small latency.
        latency_ms: The latency of every cell, by the position of its genotype.
        reference: The tight reference point (loss, latency).
        exact: The hypervolume of the exact front for `reference`.
    """

    goal: Goal
    latency_ms: FloatArray
    reference: FloatArray
    exact: float

    def shares(self, found: Sequence[Genotype], marks: Sequence[int]) -> list[float]:
        """The share of the exact hypervolume after each number of evaluations in `marks`."""
        at = position(np.array(found))
        points = np.column_stack([losses()[at], self.latency_ms[at]])
        return [hypervolume(points[:mark], self.reference) / self.exact for mark in marks]


def position(rows: IntArray) -> IntArray:
    """The position of genotypes `(n, 6)` in a table, `(n,)`."""
    return np.ravel_multi_index(tuple(rows.T), SHAPE)


@functools.cache
def space() -> SearchSpace:
    """The space of the cells."""
    return load("nb201_pixel3").problem.space


@functools.cache
def losses() -> FloatArray:
    """The test error of every cell in percent, by position."""
    return load("nb201_pixel3").loss(np.indices(SHAPE).reshape(6, -1).T)


@functools.cache
def devices() -> dict[str, Device]:
    """The 18 device settings by name."""
    every = np.indices(SHAPE).reshape(6, -1).T
    table = open_table("nasbench201", data=ROOT)
    return {name: device(name, costs["latency_ms"](every)) for name, costs in table.devices.items()}


def device(name: str, latency_ms: FloatArray, *, error: FloatArray | None = None) -> Device:
    """The device with its reference point and exact hypervolume; `error` is for another task."""
    points = np.column_stack([losses() if error is None else error, latency_ms])
    front = points[nondominated(points)]
    ceiling = float(np.quantile(points[:, 0], 0.75))
    useful = front[front[:, 0] < ceiling, 1]
    reference = np.array([ceiling, useful.max() + 0.1 * np.ptp(useful)])
    goal = Goal(name, {"latency_ms": lambda rows: latency_ms[position(rows)]}, ("latency_ms",))
    return Device(goal, latency_ms, reference, hypervolume(points, reference))


def evaluated(genotypes: Sequence[Genotype]) -> list[Evaluation]:
    """The evaluations of genotypes, looked up in the table."""
    found = losses()[position(np.array(genotypes))] if genotypes else ()
    return [
        Evaluation(genotype, {"error": float(loss)}, 0, 0.0, "table")
        for genotype, loss in zip(genotypes, found, strict=True)
    ]


def searched(
    names: Sequence[str], *, seed: int, budget: int, known: Sequence[Genotype] = ()
) -> list[Genotype]:
    """The networks that `guided` evaluates for these devices, in order.

    The searcher is told the evaluations of the genotypes `known` before it starts.
    """
    problem = Problem(space(), tuple(devices()[name].goal for name in names))
    # As `nas search --from` does: an archive tells more than any first batch.
    searcher = Guided(problem, seed=seed, initial=() if known else None)
    searcher.tell(evaluated(known))
    found: list[Genotype] = []
    while len(found) < budget:
        asked = searcher.ask(min(BATCH, budget - len(found)))
        searcher.tell(evaluated(asked))
        found += asked
    return found


class Runs:
    """Finished runs by key; each is a line of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._kept: dict[str, list[Genotype]] = {}
        for line in map(json.loads, lines):
            self._kept[line["run"]] = [tuple(genotype) for genotype in line["genotypes"]]

    def __call__(self, name: str, work: Callable[[], list[Genotype]]) -> list[Genotype]:
        """The networks that a run evaluated; the run is done now if it is not in the file."""
        if name not in self._kept:
            self._kept[name] = work()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps({"run": name, "genotypes": self._kept[name]}) + "\n")
        return self._kept[name]

    def separate(self, name: str, seed: int) -> list[Genotype]:
        """A search for one device."""
        work = functools.partial(searched, [name], seed=seed, budget=SEPARATE)
        return self(f"{name} {seed}", work)

    def joint(self, seed: int) -> list[Genotype]:
        """One search for all devices."""
        return self(
            f"all {seed}", functools.partial(searched, [*devices()], seed=seed, budget=JOINT)
        )

    def archive(self, names: Sequence[str], seed: int) -> list[Genotype]:
        """One search for a few devices."""
        work = functools.partial(searched, names, seed=seed, budget=ARCHIVE)
        return self(f"{'+'.join(names)} {seed}", work)

    def continued(
        self, name: str, seed: int, *, source: str, known: Sequence[Genotype]
    ) -> list[Genotype]:
        """A search for one device that continues from the archive of another search."""
        work = functools.partial(searched, [name], seed=seed, budget=max(NEW), known=known)
        return [*known, *self(f"{name} {seed} from {source}", work)]


def together(runs: Runs, seeds: int) -> dict[str, FloatArray]:
    """The shares after every evaluation, `(seeds, devices, evaluations)`, by kind of search.

    The kinds are one joint search and separate searches.
    """
    joint = [
        [one.shares(runs.joint(seed), range(1, JOINT + 1)) for one in devices().values()]
        for seed in range(seeds)
    ]
    separate = [
        [
            one.shares(runs.separate(name, seed), range(1, SEPARATE + 1))
            for name, one in devices().items()
        ]
        for seed in range(seeds)
    ]
    return {"joint": np.array(joint), "separate": np.array(separate)}


def compared(curves: dict[str, FloatArray]) -> list[list[str]]:
    """The lines by number of evaluations: how many a joint search needs for the same mean share."""
    lines: list[list[str]] = []
    for mark in MARKS:
        wanted = curves["separate"][:, :, mark - 1]
        reached = curves["joint"].mean(axis=1) >= wanted.mean()
        needed = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)
        middle = float(np.median(needed))
        same = curves["joint"][:, :, mark - 1]
        lines.append(
            [
                str(mark),
                str(mark * len(devices())),
                spread(wanted.mean(axis=1)),
                spread(same.mean(axis=1)),
                f"{wanted.mean(axis=0).min():.3f}, {same.mean(axis=0).min():.3f}",
                f"{middle:.0f} ({needed.min():.0f} to {needed.max():.0f})",
                f"{middle / mark:.2f}",
            ]
        )
    return lines


def left_out(seed: int) -> list[tuple[str, list[str], list[str]]]:
    """The devices of a seed, each with one and with three other devices, drawn at random."""
    names = np.random.default_rng(seed).permutation([*devices()]).tolist()
    return [(names[i], [names[i - 1]], names[:3]) for i in range(3, 3 + LEFT_OUT)]


def transferred(runs: Runs, seeds: int) -> list[list[str]]:
    """The lines by kind of archive: shares on a device for which the archive was not searched."""
    found: dict[str, list[list[float]]] = {"one other device": [], "three others": []}
    for seed in range(seeds):
        for name, one, three in left_out(seed):
            archives = (runs.separate(one[0], seed)[:ARCHIVE], runs.archive(three, seed))
            for kind, names, known in zip(found, (one, three), archives, strict=True):
                told = runs.continued(name, seed, source="+".join(names), known=known)
                marks = [ARCHIVE + count for count in NEW]
                found[kind].append(devices()[name].shares(told, marks))
    return [
        [f"{ARCHIVE} evaluations for {kind}", *map(spread, np.array(shares).T)]
        for kind, shares in found.items()
    ]


def from_scratch(runs: Runs, seeds: int) -> list[str]:
    """The shares of searches for the same devices without an archive."""
    found = [
        devices()[name].shares(runs.separate(name, seed), SCRATCH)
        for seed in range(seeds)
        for name, _, _ in left_out(seed)
    ]
    return [spread(column) for column in np.array(found).T]


def spread(values: Any) -> str:
    """The mean and the standard deviation, as text."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def draw(curves: dict[str, FloatArray]) -> None:
    """Draw the mean shares against the evaluations of one search, with the range over seeds."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    labels = {"joint": "one search for 18 devices", "separate": "a search for each device"}
    for kind, colour in (("joint", "#1b6ca8"), ("separate", "#c2571a")):
        mean = curves[kind].mean(axis=1)
        steps = np.arange(1, mean.shape[1] + 1)
        axes.plot(steps, mean.mean(axis=0), color=colour, label=labels[kind])
        axes.fill_between(steps, mean.min(axis=0), mean.max(axis=0), color=colour, alpha=0.15)
    axes.set(
        xlabel="evaluations of one search (18 times as many in all, where each device has its own)",
        ylabel="share of the exact hypervolume, mean of 18 devices",
        ylim=(0.5, 1.0),
    )
    axes.legend(loc="lower right")
    plt.rcParams["svg.hashsalt"] = "many_devices"
    figure.savefig(FIGURE, metadata={"Date": None})


def main() -> None:
    """Do the missing runs, print both tables, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    runs = Runs(options.results)
    curves = together(runs, options.seeds)
    print(f"{len(devices())} devices, {options.seeds} seeds, {BATCH} networks asked at once.\n")
    head = ["evaluations of one search", "18 searches, in all", "mean share of 18 searches"]
    head += ["of one search, as many", "worst device, 18 and one", "one search needs", "times"]
    show(head, compared(curves))
    print(f"A device that the archive was not searched for, {LEFT_OUT} devices a seed:\n")
    show(["known", *(f"{count} new" for count in NEW)], transferred(runs, options.seeds))
    show(
        ["known", *(f"{count} new" for count in SCRATCH)],
        [["nothing", *from_scratch(runs, options.seeds)]],
    )
    draw(curves)


if __name__ == "__main__":
    main()
