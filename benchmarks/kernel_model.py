"""The error of predicting kernel latencies from a sample of measured kernels, by sample size.

    python -m benchmarks.kernel_model --budget-ms 25

Every kernel of a MobileNet-like space is measured once. Then samples of growing size predict all
other kernels, and the sums over whole subnets.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from nas.profiling import OnnxRuntime, profile
from nas.profiling.sampled import complete, sample
from nas.targets import load_target
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey
from search_spaces.mobilenet import mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace

SIZES = (80, 120, 200, 300, 450)
SUBNETS = 500
REPEATED = 80  # kernels measured twice, for the error that no model can go below


def space() -> SearchSpace:
    """A MobileNetV3-like space at 32 x 32 pixels with three widths, in float32 and int8."""
    return mobilenet(
        inputs=(Input("image", (3, 32, 32)),),
        output=(10,),
        stem_stride=1,
        width_multipliers=(0.5, 0.75, 1.0),
        policy=Policy(weight_bits=(8, None), activation_bits=(8, None)),
    )


def relative(predicted: np.ndarray, true: np.ndarray) -> str:
    """Median and 90th percentile of the relative error, as two cells."""
    errors = np.abs(predicted / true - 1)
    return " | ".join(f"{value:.1%}" for value in np.quantile(errors, (0.5, 0.9)))


def summed(table: LatencyTable, searched: SearchSpace) -> np.ndarray:
    """The latencies of random subnets under a table."""
    target = dataclasses.replace(load_target("this-cpu", elsewhere=True), model=table)
    rows = searched.sample_array(np.random.default_rng(0), SUBNETS)
    return target.compile(searched)["latency_ms"](rows)


def predicted(whole: LatencyTable, size: int, searched: SearchSpace) -> str:
    """A line of the table: the errors with a sample of this size."""
    kernels = load_target("this-cpu", elsewhere=True).natively(searched)
    chosen = {KernelKey.of(*kernel) for kernel in sample(kernels, size)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.csv"
        LatencyTable({key: whole.rows[key] for key in chosen}, whole.notes).write(path)
        made = complete(path, kernels)
    left = [key for key, row in made.rows.items() if not row.count]
    errors = relative(latencies(made, left), latencies(whole, left))
    subnets = relative(summed(made, searched), summed(whole, searched))
    share = len(chosen) / len(made.rows)
    return f"| {len(chosen)} | {share:.0%} | {errors} | {subnets} |"


def main() -> None:
    """Print a row for every size of the sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget-ms", type=float, default=25.0)
    budget_ms = parser.parse_args().budget_ms
    searched = space()
    kernels = load_target("this-cpu", elsewhere=True).natively(searched)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.csv"
        start = time.perf_counter()
        whole = profile(kernels, path=path, backend=OnnxRuntime(), budget_ms=budget_ms)
        seconds = time.perf_counter() - start
        twice = sample(kernels, REPEATED)
        path = Path(folder) / "again.csv"
        again = profile(twice, path=path, backend=OnnxRuntime(), budget_ms=budget_ms)
    print(f"{len(whole.rows)} kernels, measured in {seconds:.0f} s at {budget_ms:g} ms each.\n")
    print("| measured | share | median error | 90 % | of subnets' sums: median | 90 % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in SIZES:
        print(predicted(whole, size, searched), flush=True)
    keys = list(again.rows)
    errors = relative(latencies(again, keys), latencies(whole, keys))
    print(f"\n{len(keys)} kernels measured twice differ by {errors.replace(' | ', ' (90 %: ')}).")


def latencies(table: LatencyTable, keys: list[KernelKey]) -> np.ndarray:
    """The latencies of the kernels `keys` in ms, `(keys,)`."""
    return np.array([table.rows[key].latency_ms for key in keys])


if __name__ == "__main__":
    main()
