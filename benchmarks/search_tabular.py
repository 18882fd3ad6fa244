"""The share of an exact Pareto front that searchers find, ours and published ones.

    python -m benchmarks.search_tabular --tables nbmacro --searchers guided random --seeds 10
    python -m benchmarks.search_tabular --show

The script prints the shares of the exact hypervolume after numbers of evaluations, and the numbers
of evaluations for given shares. In the track *known*, the cost of every network is known, as with a
target's table. In the track *unknown*, a searcher sees only the costs of networks that it has
evaluated, which is the situation of the published searchers.

Every finished run is a line of `--results` and is not run again. A long comparison can therefore be
stopped, split over tables or seeds, and shown at any time. Delete the file when a searcher has
changed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.tables import NAMES, TableProblem, load
from nas.problem.front import hypervolume
from nas.search.named import SEARCHERS, searcher_named
from nas.search.searcher import Searcher

CHECKPOINTS = (50, 100, 250, 400)
SHARES = (0.90, 0.95, 0.98, 0.99)
TRACKS = ("known", "unknown")
PEERS = Path(__file__).parent / "search_peers.csv"
RESULTS = Path("runs/search_tabular/results.jsonl")
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "search_tabular.svg"
KEY = ("table", "track", "searcher", "seed", "batch", "budget")
Run = dict[str, Any]


def evaluated(table: TableProblem, searcher: Searcher, *, budget: int, batch: int) -> np.ndarray:
    """The (loss, cost) of all networks that a searcher asks for, in order, `(budget, 2)`."""
    points: list[tuple[float, float]] = []
    while len(points) < budget and (asked := searcher.ask(min(batch, budget - len(points)))):
        told = table.evaluate(asked)
        searcher.tell(told)
        points += [(one.metrics["error"], one.metrics["cost"]) for one in told]
    return np.array(points)


def curve(points: np.ndarray, reference: np.ndarray, exact: float) -> list[float]:
    """The share of the exact hypervolume after every evaluation."""
    return [
        round(hypervolume(points[: count + 1], reference) / exact, 5)
        for count in range(len(points))
    ]


def done(path: Path) -> list[Run]:
    """The finished runs in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measured(options: argparse.Namespace) -> None:
    """Do the missing runs, seed by seed, and write each to the file."""
    known = {tuple(run[key] for key in KEY) for run in done(options.results)}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in options.tables:
            for track in options.tracks:
                for searcher in options.searchers:
                    key = (name, track, searcher, seed, options.batch, options.budget)
                    if key in known:
                        continue
                    run = dict(zip(KEY, key, strict=True)) | one_run(*key)
                    with options.results.open("a") as file:
                        file.write(json.dumps(run) + "\n")


def one_run(name: str, track: str, searcher: str, seed: int, batch: int, budget: int) -> Run:
    """A run with its curves for both reference points, and its seconds of processor time."""
    table = load(name)
    problem = (table if track == "known" else table.with_unknown_cost()).problem
    start = time.process_time()
    points = evaluated(
        table, searcher_named(searcher, problem, seed=seed), budget=budget, batch=batch
    )
    seconds = time.process_time() - start
    return {
        "tight": curve(points, table.reference, table.exact),
        "corner": curve(points, table.corner, table.exact_corner),
        "seconds": round(seconds, 2),
    }


def peers() -> list[dict[str, str]]:
    """The measured curves of published searchers on the same tables, in the track *unknown*."""
    with PEERS.open() as file:
        return list(csv.DictReader(file))


def at(run: Run, count: int, kind: str) -> float:
    """The share of a run after `count` evaluations; NaN beyond its budget."""
    return run[kind][count - 1] if count <= run["budget"] else float("nan")


def shares(runs: Sequence[Run], kind: str) -> list[list[str]]:
    """The lines by table, track and searcher: mean ± standard deviation over seeds."""
    lines: list[list[str]] = []
    for (name, track, searcher), group in grouped(runs, "table", "track", "searcher"):
        cells = [_spread([at(run, count, kind) for run in group]) for count in CHECKPOINTS]
        seconds = f"{np.mean([run['seconds'] for run in group]):.0f}"
        lines.append([name, f"{searcher}, cost {track}", str(len(group)), *cells, seconds])
    if kind == "tight":
        named = {run["table"] for run in runs}
        for peer in peers():
            if peer["table"] in named:
                cells = [peer[f"after_{count}"] for count in CHECKPOINTS]
                lines.append([peer["table"], peer["searcher"], "published", *cells, ""])
        lines.sort(key=lambda line: NAMES.index(line[0]))
    return lines


def means(runs: Sequence[Run]) -> list[list[str]]:
    """The lines by track and searcher: the mean over tables, for searchers that have all tables."""
    lines: list[list[str]] = []
    for (track, searcher), group in grouped(runs, "track", "searcher"):
        tables = [one for _, one in grouped(group, "table")]
        if len(tables) == len(NAMES):
            found = [
                np.mean([_mean([at(run, count, "tight") for run in one]) for one in tables])
                for count in CHECKPOINTS
            ]
            lines.append([f"{searcher}, cost {track}", *(_plain(float(value)) for value in found)])
    for name in dict.fromkeys(peer["searcher"] for peer in peers()):
        rows = [peer for peer in peers() if peer["searcher"] == name]
        found = [
            np.mean([float(row[f"after_{count}"] or "nan") for row in rows])
            for count in CHECKPOINTS
        ]
        lines.append([f"{name}, published", *(_plain(float(value)) for value in found)])
    return lines


def _mean(found: Sequence[float]) -> float:
    """The mean over runs without NaN; NaN if there is none."""
    there = [value for value in found if np.isfinite(value)]
    return float(np.mean(there)) if there else float("nan")


def takes(runs: Sequence[Run]) -> list[list[str]]:
    """The lines by table, track and searcher: median evaluations to a share, runs that reach it."""
    lines: list[list[str]] = []
    for (name, track, searcher), group in grouped(runs, "table", "track", "searcher"):
        cells: list[str] = []
        for share in SHARES:
            first = [
                int(hit[0]) + 1
                for run in group
                if len(hit := np.flatnonzero(np.array(run["tight"]) >= share))
            ]
            missing = [np.inf] * (len(group) - len(first))
            middle = float(np.median([*first, *missing]))
            count = f"{middle:.0f}" if np.isfinite(middle) else "more"
            cells.append(f"{count} ({len(first)} of {len(group)})")
        lines.append([name, f"{searcher}, cost {track}", *cells])
    return lines


def paired(runs: Sequence[Run]) -> list[list[str]]:
    """The lines by searcher and table: what known costs add, over seeds run in both tracks.

    A cell has the mean difference of the shares, known minus unknown, and its standard error. The
    last line of a searcher is the mean over the tables, seed by seed.
    """
    lines: list[list[str]] = []
    for (searcher,), group in grouped(runs, "searcher"):
        of = {tuple(run[key] for key in ("table", "track", "seed")): run for run in group}
        tables = list(dict.fromkeys(name for name, _, _ in of))
        seeds = sorted({seed for _, _, seed in of})
        both = [s for s in seeds if all((n, t, s) in of for n in tables for t in TRACKS)]
        if len(both) < 2:
            continue
        added = np.array([[_added(of, name, seed) for seed in both] for name in tables])
        for name, found in zip([*tables, "mean"], [*added, added.mean(axis=0)], strict=True):
            errors = found.std(axis=0, ddof=1) / np.sqrt(len(both))
            cells = [
                f"{value:+.3f} ± {error:.3f}" if np.isfinite(value) else ""
                for value, error in zip(found.mean(axis=0), errors, strict=True)
            ]
            lines.append([name, searcher, str(len(both)), *cells])
    return lines


def _added(of: dict[tuple[Any, ...], Run], name: str, seed: int) -> list[float]:
    """What known costs add to the tight share at each checkpoint."""
    known, unknown = (of[name, track, seed] for track in TRACKS)
    return [at(known, count, "tight") - at(unknown, count, "tight") for count in CHECKPOINTS]


def grouped(runs: Iterable[Run], *keys: str) -> list[tuple[tuple[str, ...], list[Run]]]:
    """The runs grouped by these keys, with tables in the order of `NAMES`."""
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: NAMES.index(run["table"])):
        found.setdefault(tuple(run[key] for key in keys), []).append(run)
    return list(found.items())


def _spread(found: Sequence[float]) -> str:
    """The mean ± standard deviation over runs without NaN, and their number if some have NaN."""
    there = [value for value in found if np.isfinite(value)]
    if not there:
        return ""
    apart = f" ± {np.std(there, ddof=1):.3f}" if len(there) > 1 else ""
    return f"{np.mean(there):.3f}{apart}" + (f" ({len(there)})" if len(there) < len(found) else "")


def plot(runs: Sequence[Run]) -> None:
    """Draw the mean share over all tables against evaluations, for the best and for random."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "search_tabular"
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for (searcher, track), group in grouped(runs, "searcher", "track"):
        tables = [one for _, one in grouped(group, "table")]
        if len(tables) == len(NAMES):
            length = min(len(run["tight"]) for run in group)
            share = np.mean(
                [np.mean([run["tight"][:length] for run in one], axis=0) for one in tables], axis=0
            )
            label = searcher if track == "known" else f"{searcher}, cost unknown"
            thick = 2.5 if searcher == "guided" else 1
            axes.plot(np.arange(1, length + 1), share, label=label, linewidth=thick)
    axes.set(xlabel="evaluations", ylabel="share of the exact hypervolume, mean of the tables")
    axes.set(xlim=(10, None), ylim=(0.5, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(FIGURE, metadata={"Date": None})


def _plain(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else ""


def show(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")
    print()


def report(runs: Sequence[Run]) -> None:
    """Print all tables."""
    after = [f"after {count}" for count in CHECKPOINTS]
    print("Mean over the tables, tight reference point:\n")
    show(["searcher", *after], means(runs))
    print("Table by table, tight reference point; seconds of one core per run:\n")
    show(["table", "searcher", "seeds", *after, "s"], shares(runs, "tight"))
    if lines := paired(runs):
        print("Share with known costs minus share with unknown costs, ± standard error:\n")
        show(["table", "searcher", "seeds", *after], lines)
    print("Median evaluations to a share of the exact hypervolume:\n")
    show(["table", "searcher", *(f"{share:.0%}" for share in SHARES)], takes(runs))
    print("With the worst corner as reference point:\n")
    show(["table", "searcher", "seeds", *after, "s"], shares(runs, "corner"))


def main() -> None:
    """Do the missing runs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--tracks", nargs="+", default=TRACKS, choices=TRACKS)
    parser.add_argument("--searchers", nargs="+", default=["guided"], choices=SEARCHERS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--show", action="store_true", help="print what is on disk, run nothing")
    parser.add_argument("--plot", action="store_true", help="draw the figure of the docs, too")
    options = parser.parse_args()
    if not options.show:
        measured(options)
    runs = done(options.results)
    report(runs)
    if options.plot:
        plot(runs)


if __name__ == "__main__":
    main()
