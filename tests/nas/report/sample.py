"""Results of a run that never was, but could have been: a real space, invented measurements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from nas.facts.metric import MetricWords
from nas.problem.front import hypervolume, nondominated
from nas.report.data import (
    CostRange,
    FigureOrigin,
    HypervolumePoint,
    LossPoint,
    Provenance,
    ProxyRank,
    Results,
    SpaceSummary,
    TargetResult,
    TrainingSummary,
)
from nas.report.estimates import Comparison, Estimate, LatencyBand
from nas.report.html import render
from nas.report.layers import drawn_nodes, layer_policies
from nas.report.subnets import (
    Chosen,
    CostCheck,
    ExportedFile,
    FrontPoint,
    Point,
    PredictedPoint,
    Reference,
)
from nas.report.words import Words
from search_spaces import costs
from search_spaces.mobilenet import MOBILENET_V3, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.space import Genotype, SearchSpace, as_genotypes

COSTS = ("latency_ms", "macs", "bitops", "model_bytes")
CLASSES = Words(MetricWords("error", "%"), MetricWords("accuracy", "%", best=100.0))


VERSIONS = {
    "elastic-nas": "0.1.0",
    "python": "3.11.9",
    "torch": "2.13.0+cpu",
    "onnxruntime": "1.27.0",
    "platform": "Linux-6.1-x86_64",
}


@cache
def space(stages: int = 5) -> SearchSpace:
    return mobilenet(
        inputs=(Input("image", (3, 32, 32)),),
        output=(10,),
        stages=MOBILENET_V3[:stages],
        stem_stride=1,
        head=320,
        policy=Policy(weight_bits=(2, 3, 4, 6, 8), activation_bits=(4, 6, 8, None)),
    )


class Invented:
    """A search of `count` subnets that drifts from random ones towards good ones."""

    def __init__(self, *, count: int, seed: int, stages: int = 5) -> None:
        self.space, self.rng, self.count = space(stages), np.random.default_rng(seed), count
        kernels = costs.SpaceKernels(self.space)
        pool = self.space.sample_array(self.rng, 3000)
        ends = np.array([self.space.smallest, self.space.largest])
        pool = np.concatenate([pool, pool * (self.rng.random(pool.shape) < 0.4), ends])
        pool = np.unique(self.space.canonical_array(pool), axis=0)
        functions = {"macs": costs.macs, "bitops": costs.bitops, "model_bytes": costs.model_bytes}
        self.pool = pool
        self.known = {name: kernels.compile(cost)(pool) for name, cost in functions.items()}
        capacity = np.log10(self.known["bitops"]) * 0.7 + np.log10(self.known["model_bytes"]) * 0.3
        luck = self.rng.normal(0, 0.09, len(pool))
        scaled = (capacity - capacity.min()) / np.ptp(capacity) + luck
        self.truth = 5.5 + 38 * np.exp(-3.1 * np.clip(scaled, 0, None))
        merit = self.truth + 9 * np.log10(self.known["bitops"] / self.known["bitops"].min())
        good = np.argsort(merit + self.rng.normal(0, 3, len(pool)))
        half = count // 3
        picks = [*self.rng.permutation(len(pool))[:half], *good[: count * 2]]
        self.picked = np.array([*dict.fromkeys(picks)])[:count]

    def latency_ms(self, rows: np.ndarray, per_bitop: float, overhead: float) -> np.ndarray:
        return overhead + self.known["bitops"][rows] * per_bitop + self.known["macs"][rows] * 6e-9


def _growth(points: np.ndarray, corner: np.ndarray) -> Iterator[HypervolumePoint]:
    """The share of the box below `corner` after every eight evaluations."""
    for count in range(8, len(points) + 1, 8):
        share = hypervolume(points[:count], corner) / float(corner.prod())
        yield HypervolumePoint(count, share)


def _check(run: Invented, genotype: Genotype, *, predicted: float) -> CostCheck:
    """A measurement that is a few percent above the prediction."""
    measured = Estimate(float(predicted * run.rng.normal(1.04, 0.03)), predicted * 0.02)
    return CostCheck(genotype, predicted, measured)


def _target(
    run: Invented, name: str, provenance: Provenance, slope: float, *, limit: float
) -> TargetResult:
    rows, everything = run.picked, np.arange(len(run.pool))
    latency = run.latency_ms(everything, slope, 0.11)
    known = {"latency_ms": latency, **run.known}
    plane = np.stack([latency, run.truth], axis=1)
    measured = rows[nondominated(plane[rows])]
    measured = measured[np.argsort(latency[measured])]
    predicted = everything[nondominated(plane + run.rng.normal(0, [0, 0.25], plane.shape))]
    predicted = predicted[np.argsort(latency[predicted])]
    corner = np.array([latency.max(), 60.0])
    genotypes = as_genotypes(run.pool)
    within = measured[latency[measured] <= limit]

    def costs_of(row: int) -> dict[str, float]:
        return {cost: float(values[row]) for cost, values in known.items()}

    return TargetResult(
        name=name,
        provenance=provenance,
        objectives=("latency_ms",),
        limits={"latency_ms": limit},
        costs={cost: tuple(values[rows].tolist()) for cost, values in known.items()},
        front=tuple(
            FrontPoint(
                genotypes[r], float(run.truth[r]), costs_of(r), run.space.describe(genotypes[r])
            )
            for r in measured
        ),
        predicted_front=tuple(
            PredictedPoint(costs_of(r), float(run.truth[r] - 0.4), 0.5 + 0.03 * float(run.truth[r]))
            for r in predicted
        ),
        references=_references(costs_of(int(run.known["bitops"].argmax()))),
        reference_point={"error": 60.0, "latency_ms": float(corner[0])},
        hypervolume=tuple(_growth(plane[rows], corner)),
        cost_checks=tuple(
            _check(run, genotypes[r], predicted=float(latency[r])) for r in measured[::2]
        ),
        chosen=_chosen(run, int(within[-1]), costs_of(int(within[-1]))) if len(within) else None,
        latency_band=LatencyBand(0.012, 0.034, 0.9, 1.0, 10),
        memory={"model_bytes": 2e6, "peak_activation_bytes": 64_000.0},
    )


def _references(largest: dict[str, float]) -> tuple[Reference, ...]:
    eight = {**largest, "latency_ms": largest["latency_ms"] * 1.02}
    wide = {n: value * {"macs": 1, "bitops": 16}.get(n, 3.4) for n, value in largest.items()}
    return (
        Reference("uniform 8-bit, largest", 5.9, eight),
        Reference("full precision, largest", 5.6, wide),
    )


def _chosen(run: Invented, row: int, known: dict[str, float]) -> Chosen:
    genotype = as_genotypes(run.pool)[row]
    error, size, latency = float(run.truth[row]), known["model_bytes"], known["latency_ms"]
    return Chosen(
        genotype=genotype,
        error=Comparison(Estimate(error + 0.31, 0.62), Estimate(error, 0.2)),
        costs=known,
        layers=layer_policies(run.space.decode(genotype)),
        graph=drawn_nodes(run.space.decode(genotype)),
        description=run.space.describe(genotype),
        latency_ms=Comparison(Estimate(latency), Estimate(latency * 1.05, latency * 0.02)),
        files=(
            ExportedFile(
                form="onnx",
                path="this-cpu/chosen.onnx",
                test_error=error + 0.4,
                bytes=Comparison(Estimate(size), Estimate(size * 1.018)),
                output_difference=3.81e-6,
                nodes={"QLinearConv": 31, "DequantizeLinear": 40, "Conv": 12, "Gemm": 1, "Add": 9},
            ),
            ExportedFile(form="torch", path="this-cpu/chosen.torch", test_error=error + 0.4),
        ),
    )


def sample(*, count: int = 240, seed: int = 7, stages: int = 5) -> Results:
    """A finished run over three targets."""
    run = Invented(count=count, seed=seed, stages=stages)
    cpu = Provenance(
        "measured", "AMD EPYC 7B13, 2 threads pinned", "onnxruntime 1.27", "2026-05-04"
    )
    sheet = Provenance("analytical", "roofline: 2 TMAC/s at 8 bits, 4 GB/s", date="2026-05-04")
    table = Provenance("imported", "Pixel 4, nn-Meter table", "TFLite 2.1", "2021-03-11")
    targets = (
        _target(run, "this-cpu", cpu, 1.1e-9, limit=1.0),
        replace(
            _target(run, "bit-serial-npu", sheet, 5e-10, limit=0.4),
            notes=("Activations at full precision run in a 16-bit container on this target.",),
        ),
        _target(run, "pixel-4", table, 3e-9, limit=2.2),
    )
    return Results(
        run="cifar10-mobilenet",
        seed=seed,
        space=_space(run),
        words=CLASSES,
        task="CIFAR-10: 45,000 train, 5,000 validation, 10,000 test images of 32 x 32",
        recipe={"search": {"budget": count, "searcher": "guided"}, "task": {"kind": "openml"}},
        versions=VERSIONS,
        date="2026-05-04 12:31 UTC",
        budget=count,
        training=_training(run.rng),
        evaluated=_evaluated(run),
        targets=targets,
        proxies={
            "synflow": ProxyRank("higher", 0.61, 64),
            "macs": ProxyRank("higher", 0.58, 64),
            "quantization output KL": ProxyRank("lower", 0.66, 64),
            "grad-norm": ProxyRank("higher", 0.33, 64),
            "naswot": ProxyRank("higher", 0.47, 64),
            "jacobian covariance": ProxyRank("higher", -0.08, 64),
        },
        figures=(
            FigureOrigin("Proxies", "measured", "On the first batch of 64 subnets, one minibatch."),
        ),
    )


def _space(run: Invented) -> SpaceSummary:
    ranges = {
        name: CostRange(float(v.min()), float(np.median(v)), float(v.max()))
        for name, v in run.known.items()
    }
    return SpaceSummary("mobilenet", len(run.space.choices), str(run.space.size), ranges)


def _training(rng: np.random.Generator) -> TrainingSummary:
    plain = [(e / 4, 0.4 + 1.9 * np.exp(-e / 30), "full precision") for e in range(1, 121)]
    elastic = [(30 + e / 4, 0.5 + 0.8 * np.exp(-e / 60), "elastic") for e in range(1, 361)]
    noise = rng.normal(1, 0.02, 480)
    curve = [
        LossPoint(e, float(loss * n), phase)
        for (e, loss, phase), n in zip([*plain, *elastic], noise, strict=True)
    ]
    return TrainingSummary(seconds=1214.0, epochs=120, curve=tuple(curve))


def _evaluated(run: Invented) -> tuple[Point, ...]:
    genotypes, points = as_genotypes(run.pool[run.picked]), []
    for order, (row, genotype) in enumerate(zip(run.picked, genotypes, strict=True)):
        error, spread = float(run.truth[row]), 0.5 + 3.0 * np.exp(-order / 60)
        guess = Estimate(float(error + run.rng.normal(0, spread)), float(spread))
        points.append(Point(genotype, order, {"error": error}, guess if order >= 64 else None))
    return tuple(points)


def unfinished(results: Results) -> Results:
    """The run just after its supernet began to train."""
    bare = [TargetResult(t.name, t.provenance, t.objectives) for t in results.targets]
    return replace(results, training=None, evaluated=(), targets=tuple(bare), proxies={})


if __name__ == "__main__":
    render(sample(), Path("/tmp/report/report.html"))
    render(unfinished(sample()), Path("/tmp/report/unfinished.html"))
    render(sample(count=40, stages=2), Path("/tmp/report/small.html"))
