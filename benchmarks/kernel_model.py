"""How well a sample of measured kernels foretells the others, over the size of the sample.

    python -m benchmarks.kernel_model --budget-ms 25

Every kernel of a MobileNet-like space is measured once; then samples of growing size predict those
left out, and their sums over whole subnets.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from nas.targets import HardwareTarget, load_target
from nas.targets.profiling import OnnxRuntime, profile
from nas.targets.profiling.sampled import complete, sample
from nas.targets.rows import KernelKey
from nas.targets.table import LatencyTable
from search_spaces.mobilenet import mobilenet
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace

SIZES = (80, 120, 200, 300, 450)
SUBNETS = 500
REPEATED = 80  # kernels measured twice, for the error that no model can go below


def space() -> SearchSpace:
    """MobileNetV3-like at 32 x 32 pixels, three widths, float32 and int8."""
    return mobilenet(
        channels=3,
        classes=10,
        image_sizes=(32,),
        stem_stride=1,
        width_multipliers=(0.5, 0.75, 1.0),
        policy=Policy(weight_bits=(8, None), activation_bits=(8, None)),
    )


def relative(predicted: np.ndarray, true: np.ndarray) -> str:
    """Median and 90th percentile of the relative error, as two cells."""
    errors = np.abs(predicted / true - 1)
    return " | ".join(f"{value:.1%}" for value in np.quantile(errors, (0.5, 0.9)))


def with_table(target: HardwareTarget, table: LatencyTable) -> HardwareTarget:
    """The target with another table."""
    return dataclasses.replace(target, model=table)


def main() -> None:
    """Print a row for every size of the sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget-ms", type=float, default=25.0)
    parser.add_argument("--table", type=Path, help="a table measured before")
    given = parser.parse_args()
    searched, target = space(), load_target("this-cpu")
    kernels = target.natively(searched)
    backend = OnnxRuntime()
    with tempfile.TemporaryDirectory() as folder:
        path = given.table or Path(folder) / "whole.csv"
        start = time.perf_counter()
        whole = profile(kernels, path=path, backend=backend, budget_ms=given.budget_ms)
        seconds = time.perf_counter() - start
        again = profile(
            sample(kernels, REPEATED),
            path=Path(folder) / "again.csv",
            backend=backend,
            budget_ms=given.budget_ms,
        )
        keys = list(dict.fromkeys(KernelKey.of(*kernel) for kernel in kernels))
        rows = searched.sample_array(np.random.default_rng(0), SUBNETS)
        true = with_table(target, whole).compile(searched)["latency_ms"](rows)
        print(
            f"{len(keys)} kernels, all measured in {seconds:.0f} s at {given.budget_ms:g} ms each.\n"
        )
        print("| measured | share | median error | 90th | subnets: median | 90th |")
        print("| --- | --- | --- | --- | --- | --- |")
        for size in SIZES:
            chosen = {KernelKey.of(*kernel) for kernel in sample(kernels, size)}
            part = LatencyTable({key: whole.rows[key] for key in chosen}, whole.notes)
            part.write(Path(folder) / "part.csv")
            made = complete(Path(folder) / "part.csv", kernels)
            left = [key for key in keys if key not in chosen]
            errors = relative(*(latencies(table, left) for table in (made, whole)))
            summed = with_table(target, made).compile(searched)["latency_ms"](rows)
            print(
                f"| {len(chosen)} | {len(chosen) / len(keys):.0%} | {errors} "
                f"| {relative(summed, true)} |"
            )
        twice = list(again.rows)
        errors = relative(latencies(again, twice), latencies(whole, twice))
        print(f"| measured twice | {len(twice)} kernels | {errors} | | |")


def latencies(table: LatencyTable, keys: list[KernelKey]) -> np.ndarray:
    """The latencies of some kernels."""
    return np.array([table.rows[key].latency_ms for key in keys])


if __name__ == "__main__":
    main()
