"""Calibration of a latency table with a few whole networks, measured as they will be exported."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nas.export import export_onnx
from nas.export.stand_in import stand_in
from nas.profiling.backend import NetworkBackend
from nas.targets.correction.correction import (
    Calibration,
    FloatArray,
    WholeNetwork,
    kind_of,
    uncalibrated,
)
from nas.targets.correction.fit import LEAST_NETWORKS, Sums, fit
from nas.targets.errors import TargetError
from nas.targets.saturation import EightBitWeights
from nas.targets.seams.table import SEAMS_NOTE, said
from nas.targets.target import HardwareTarget
from search_spaces.graph import Graph
from search_spaces.kernels import kernels
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

_DRAWN = 2000  # random subnets, from which the subnets to measure are picked
_AGREE = 1.02  # the largest ratio of the second fastest time to the fastest
_MOST_PASSES = 8

Progress = Callable[[int, int], None]


def calibrate(
    target: HardwareTarget,
    space: SearchSpace,
    *,
    backend: NetworkBackend,
    networks: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """A correction of the sums of kernel latencies, fitted to measured whole subnets of `space`.

    The subnets are spread evenly over the range of predicted latencies. They have random weights,
    which take as long as trained weights, and run from the file that `export_onnx` writes.

    Args:
        target: The target; its table must have rows for the kernels of the space.
        space: The space that will be searched.
        backend: The backend that runs whole files on the device.
        networks: The number of networks to measure, at least 5; fewer if the space has fewer.
        seed: The seed of the random subnets.
        progress: A function that is called with the number of networks done and the total.

    Raises:
        TargetError: If a kernel has no row, if latencies are not sums over kernels, or if too few
            networks run on the device.
    """
    target = uncalibrated(target)
    if target.rules.branches != "sum":
        raise TargetError(
            f"target {target.name!r} runs branches at once, so a latency is no sum over kernels "
            "that whole networks could correct; leave calibration out"
        )
    predict = target.compile(space)["latency_ms"]
    picked = stratified(space, predict, networks, seed=seed)
    if len(picked) < LEAST_NETWORKS:
        raise TargetError(
            f"a calibration needs {LEAST_NETWORKS} networks, and of space {space.name!r} the "
            f"target {target.name!r} runs {len(picked)}; leave calibration out"
        )
    weights = target.eight_bit_weights
    measured = measure(space, picked, backend=backend, eight_bit_weights=weights, progress=progress)
    predicted = predict(np.array(picked))
    sums = [
        _sums(target, space.decode(genotype), float(whole), float(latency))
        for genotype, whole, latency in zip(picked, predicted, measured, strict=True)
    ]
    return dataclasses.replace(
        fit(sums),
        conditions={**backend.conditions(), SEAMS_NOTE: said(target.seams)},
        networks=tuple(
            WholeNetwork(genotype, sum_.predicted_ms, sum_.measured_ms)
            for genotype, sum_ in zip(picked, sums, strict=True)
        ),
    )


def stratified(
    space: SearchSpace, cost: Callable[..., FloatArray], count: int, *, seed: int
) -> list[Genotype]:
    """Distinct subnets with finite costs that are spread evenly from the least to the greatest.

    The smallest and the largest subnet are among them: no other tells as much about kernels of one
    precision. Half of those from which the rest are picked have options at random, the others lie
    between these two.
    """
    rng = np.random.default_rng(seed)
    drawn = space.sample_array(rng, _DRAWN // 2)
    ends = np.array([space.smallest, space.largest])
    rows = np.unique(np.vstack([drawn, _between(space, rng, _DRAWN // 2), ends]), axis=0)
    costs = cost(rows)
    rows, costs = rows[np.isfinite(costs)], costs[np.isfinite(costs)]
    if not len(rows):
        raise TargetError(f"no subnet of space {space.name!r} runs on the target")
    order = np.argsort(costs, kind="stable")
    taken = np.flatnonzero((rows[:, None] == ends).all(2).any(1)).tolist()[:count]
    for wanted in np.linspace(costs.min(), costs.max(), min(count, len(rows)) - len(taken)):
        nearest = order[np.argsort(np.abs(costs[order] - wanted), kind="stable")]
        taken.append(int(next(row for row in nearest if row not in taken)))
    return as_genotypes(rows[taken])


def _between(space: SearchSpace, rng: np.random.Generator, count: int) -> IntArray:
    """Subnets `(count, choices)` with some choices of the largest, the others of the smallest."""
    share = rng.random((count, 1))
    wide = rng.random((count, len(space.choices))) < share
    return space.canonical_array(np.where(wide, space.largest, space.smallest))


def measure(
    space: SearchSpace,
    genotypes: Sequence[Genotype],
    *,
    backend: NetworkBackend,
    eight_bit_weights: EightBitWeights = "unsigned",
    progress: Progress | None = None,
) -> FloatArray:
    """The measured latencies in ms, `(n,)`, of whole subnets, exported with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.onnx" for number in range(len(genotypes))]
        for genotype, path in zip(genotypes, paths, strict=True):
            network = stand_in(space.decode(genotype))
            export_onnx(network, path, eight_bit_weights=eight_bit_weights)
        return in_turns(paths, backend=backend, progress=progress)


def in_turns(
    paths: Sequence[Path], *, backend: NetworkBackend, progress: Progress | None = None
) -> FloatArray:
    """The measured latencies in ms, `(n,)`, of model files.

    All files are measured in passes, until the two fastest times of each file agree.
    """
    report = progress or (lambda *_: None)
    times: list[list[float]] = [[] for _ in paths]
    for _ in range(_MOST_PASSES):
        for path, known in zip(paths, times, strict=True):
            if not _settled(known):
                known.append(backend.network(path)[0])
            report(sum(map(_settled, times)), len(paths))
    return np.array([min(known) for known in times])


def _settled(times: Sequence[float]) -> bool:
    """Whether the two fastest times agree; a slow phase of the machine may outlast a pass."""
    fastest = sorted(times)[:2]
    return len(fastest) == 2 and fastest[1] <= _AGREE * fastest[0]


def _sums(target: HardwareTarget, graph: Graph, predicted_ms: float, measured_ms: float) -> Sums:
    by_kind: dict[str, float] = {}
    count = 0
    for kernel, numerics in target.runs(kernel for _, kernel in kernels(graph, target.fusion)):
        kind = kind_of(kernel, numerics)
        by_kind[kind] = by_kind.get(kind, 0.0) + target.kernel_cost(kernel)
        count += 1
    return Sums(by_kind, count, predicted_ms - sum(by_kind.values()), measured_ms)
