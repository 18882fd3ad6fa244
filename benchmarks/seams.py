"""Predicted against measured latency of unseen subnets, with and without seams.

    python -m benchmarks.seams [--run FOLDER] [--processor]

A seam is what the kernels around a tensor take together, less what each of them takes alone. The
spaces are those of `benchmarks.latency`; no whole network corrects anything. With --processor, all
times are those of the processor, which other work on the machine hardly changes. A run continues
where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.latency import POLICIES, spaces
from benchmarks.search_tabular import show
from nas.export import export_onnx
from nas.export.stand_in import stand_in
from nas.profiling import OnnxRuntime, profile
from nas.profiling.beside import weights_of
from nas.profiling.seam_loop import profile_seams
from nas.targets import HardwareTarget, load_target
from nas.targets.correction.correction import PredictionError
from nas.targets.seams.table import seams_path
from predictors.rank import kendall_tau
from search_spaces.space import Genotype, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]
CASES = {("residual", "mixed"): 40, ("MobileNet-like", "int8"): 30, ("MobileNet-like", "mixed"): 40}
SEED, PASSES = 101, 2


@dataclass(frozen=True)
class Measured:
    """A space with its table and its measured subnets, in a folder of their own."""

    space: SearchSpace
    folder: Path
    count: int

    @property
    def genotypes(self) -> list[Genotype]:
        """The subnets, drawn at random."""
        drawn = self.space.sample_array(np.random.default_rng(SEED), 2 * self.count)
        return [*dict.fromkeys(as_genotypes(drawn))][: self.count]

    def target(self) -> HardwareTarget:
        """This machine with all kernels and seams of the space."""
        table = self.folder / "this-cpu.csv"
        backend = OnnxRuntime(network_weights=weights_of(self.space))  # unsigned 8-bit weights
        here = load_target("this-cpu", table=table, unmeasured=True, elsewhere=True)
        profile(here.natively(self.space), path=table, backend=backend)
        profile_seams(here, self.space, path=seams_path(table), backend=backend)
        return load_target("this-cpu", table=table)

    def latencies(self) -> FloatArray:
        """The least of the measured milliseconds of every subnet, `(n,)`."""
        kept = self.folder / "nets" / "times.jsonl"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.touch()
        known = defaultdict[int, list[float]](list)
        for number, found in map(json.loads, kept.read_text().splitlines()):
            known[number].append(found)
        backend = OnnxRuntime()
        for done in range(PASSES):
            for number, genotype in enumerate(self.genotypes):
                path = kept.parent / f"{number}.onnx"
                if len(known[number]) > done:
                    continue
                if not path.exists():
                    export_onnx(stand_in(self.space.decode(genotype)), path)
                known[number].append(backend.network(path)[0])
                with kept.open("a") as file:
                    file.write(json.dumps([number, known[number][-1]]) + "\n")
        return np.array([min(known[number]) for number in range(self.count)])

    def cells(self) -> Iterator[str]:
        """The figures of a line of the table."""
        target, measured = self.target(), self.latencies()
        seams = target.seams
        yield f"{sum(map(len, seams.rows.values())) if seams else 0}"
        yield f"{measured.min():.2f} to {measured.max():.2f}"
        for one in (replace(target, seams=None), target):
            predicted = one.compile(self.space)["latency_ms"](np.array(self.genotypes))
            error = PredictionError.of(predicted, measured)
            yield f"{kendall_tau(predicted, measured):.3f}"
            yield f"{error.median:.1%}"
            yield f"{error.within_5:.0%} / {error.within_10:.0%}"


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/seams"))
    parser.add_argument("--processor", action="store_true")
    asked = parser.parse_args()
    if asked.processor:
        time.perf_counter_ns = time.thread_time_ns
    figures = ("tau", "median error", "within 5 / 10 %")
    said = [f"{how}: {what}" for how in ("kernels", "kernels and seams") for what in figures]
    lines: list[list[str]] = []
    for (family, policy), count in CASES.items():
        made = Measured(spaces(POLICIES[policy])[family], asked.run / f"{family}-{policy}", count)
        made.folder.mkdir(parents=True, exist_ok=True)
        lines.append([family, policy, str(count), *made.cells()])
    show(["space", "precision", "subnets", "rows of seams", "measured, ms", *said], lines)


if __name__ == "__main__":
    main()
