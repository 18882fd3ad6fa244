"""The seconds and the memory of one `ask` of `guided`, after many evaluations.

    python -m benchmarks.asking --tables nb201_pixel3 ofa_note10

Evaluations are told that a search might have made: half of them are the best of many random
networks, the others are random. Then five networks are asked for.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.search_tabular import TRACKS, show
from benchmarks.tables import NAMES, load
from nas.search.guided import Guided
from search_spaces.space import as_genotypes

_ASKED = 5


def one_ask(name: str, track: str, told: int) -> tuple[float, float]:
    """The seconds of processor time of an ask after `told` evaluations, and MiB of the process."""
    table = load(name)
    problem = (table if track == "known" else table.with_unknown_cost()).problem
    rng = np.random.default_rng(0)
    rows = np.unique(problem.space.sample_array(rng, 4 * told), axis=0)
    best, others = np.split(rows[np.argsort(table.loss(rows))], [told // 2])
    chosen = np.concatenate([best, rng.permutation(others)[: told - len(best)]])
    searcher = Guided(problem, seed=0, initial=())
    searcher.tell(table.evaluate(as_genotypes(rng.permutation(chosen))))
    start = time.process_time()
    searcher.ask(_ASKED)
    seconds = time.process_time() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure each ask in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="+", default=["nb201_pixel3"], choices=NAMES)
    parser.add_argument("--told", nargs="+", type=int, default=[100, 500, 1000, 3000, 10_000])
    options = parser.parse_args()
    lines: list[list[str]] = []
    for name in options.tables:
        for track in TRACKS:
            cells: list[str] = []
            for told in options.told:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    seconds, memory = pool.apply(one_ask, (name, track, told))
                cells.append(f"{seconds:.2f} s, {memory:.0f} MiB")
            lines.append([f"{name}, cost {track}", *cells])
    show(["table", *(f"{told:,} told" for told in options.told)], lines)


if __name__ == "__main__":
    main()
