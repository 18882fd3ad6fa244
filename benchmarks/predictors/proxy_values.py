"""Values of proxies for random networks of NAS-Bench-201, and how well each ranks them.

    python -m benchmarks.predictors proxy-values [--count 725] [--results FILE]

Every network is a line of `--results` with the values of its layers, and is not scored again;
proxies that a line lacks are added. Networks are drawn with seed 0 from all 15,625. They are built
with 8 channels and three cells a stage, and see 16 images of 16 pixels. Proxies of precision are
left out, since nothing is rounded.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.predictors.cells import images, network
from benchmarks.tables import ROOT
from nas.facts.noise import tau_interval
from nas.parts import Parts
from predictors.proxies import score
from predictors.proxies.ranking import directions, log_rank_sum, proxy_report, rank_mean

RESULTS = Path("runs/predictors/proxy_values.jsonl")
CHANNELS, CELLS, SIZE, BATCH = 8, 3, 16, 16
ARCHITECTURE = [proxy for proxy in Parts("proxy").values() if not proxy.of_precision]
AZ_NAS = ("expressivity", "progressivity", "trainability", "macs")


def cells(count: int) -> list[dict[str, Any]]:
    """`count` random networks of the table, each with its index, operations and accuracies."""
    from pyarrow import parquet

    every = parquet.read_table(ROOT / "nasbench201" / "accuracy.parquet").to_pylist()
    chosen = np.random.default_rng(0).permutation(len(every))[:count]
    return [every[index] for index in chosen.tolist()]


def values(count: int, path: Path) -> Iterator[dict[str, Any]]:
    """The values of proxies for each network; those that `path` lacks are computed and added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = path.read_text().splitlines() if path.exists() else []
    known = {row["arch_idx"]: row for row in map(json.loads, rows)}  # a later line replaces others
    batch = images(BATCH, SIZE)
    for cell in cells(count):
        operations = [cell[f"op{edge}"] for edge in range(6)]
        empty = {"operations": operations, "seconds": 0.0, "scores": {}, "layers": {}}
        row = known.get(cell["arch_idx"], {"arch_idx": cell["arch_idx"], **empty})
        left = [
            proxy for proxy in ARCHITECTURE if not {*proxy.larger_is_better} <= {*row["scores"]}
        ]
        if left:
            made = network(operations, channels=CHANNELS, cells=CELLS)
            start = time.process_time()
            found = score(made, batch, F.cross_entropy, proxies=left)
            row["seconds"] = round(row["seconds"] + time.process_time() - start, 4)
            row["scores"].update(found)
            row["layers"].update(found.layers)
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        yield row


def table(rows: list[dict[str, Any]]) -> str:
    """How well each proxy ranks the networks by their test accuracy, as a Markdown table."""
    tested = {cell["arch_idx"]: cell for cell in cells(len(rows))}
    places = [tested[row["arch_idx"]] for row in rows]
    errors = {
        "CIFAR-10": np.array([-cell["e200_cifar10_test_mean"] for cell in places]),
        "CIFAR-100": np.array([-cell["e200_cifar100_test"] for cell in places]),
    }
    scores = {name: np.array([row["scores"][name] for row in rows]) for name in rows[0]["scores"]}
    larger = {**directions(Parts("proxy").values()), "az_nas": True, "rank_mean": False}
    scores["az_nas"] = log_rank_sum({name: scores[name] for name in AZ_NAS}, larger)
    three = {name: scores[name] for name in ("naswot", "synflow", "params")}
    scores["rank_mean"] = rank_mean(three, larger_is_better=larger)
    taus = {task: proxy_report(scores, e, larger_is_better=larger) for task, e in errors.items()}
    lines = [f"| proxy | {' | '.join(taus)} |", "| --- | --: | --: |"]
    for name in sorted(scores, key=lambda name: -taus["CIFAR-10"][name]):
        shown = []
        for task in taus:
            low, high = tau_interval(taus[task][name], len(rows))
            shown.append(f"{taus[task][name]:.3f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Run the part with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=725)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = list(values(given.count, given.results))
    print(f"{len(rows)} networks, {np.mean([row['seconds'] for row in rows]):.2f} s each\n")
    print(table(rows))
