"""Search problems whose exact Pareto fronts are known, from the published tables.

The tables are not part of this project; `ELASTIC_NAS_TABLES` names the folder that holds them.
Reading NAS-Bench-201 needs pyarrow.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.evaluate import Evaluation
from nas.objectives import Goal, Measured, Problem
from search_spaces.choice import Spec, choice
from search_spaces.graph import Graph
from search_spaces.ops import Image, Op, Shape, deeper_than
from search_spaces.space import Genotype, IntArray, SearchSpace

FloatArray = NDArray[np.float64]

ROOT = Path(os.environ.get("ELASTIC_NAS_TABLES", "/work/shared/data"))
NAMES = (
    "nb201_1080ti_1",
    "nb201_1080ti_256",
    "nb201_silver_4114",
    "nb201_pixel3",
    "mp201_joint",
    "nbmacro",
    "channel_resnet",
    "ofa_note10",
)


@dataclass(frozen=True)
class Pick(Op):
    """A decision without a shape: an operator of a tabular space."""

    option: int | Spec

    def infer(self, *inputs: Shape) -> Shape:
        """The shape it was given."""
        return inputs[0]


@dataclass(frozen=True)
class Edge(Spec):
    """The operation of a cell's edge, with the weight bits of those that have weights."""

    operation: str
    bits: int = 0


@dataclass(frozen=True)
class Block(Spec):
    """A mobile block's kernel and expansion."""

    kernel: int
    expansion: int


@dataclass(frozen=True)
class TableProblem:
    """A search problem, the loss and cost of every network and the exact hypervolumes.

    Attributes:
        name: One of `NAMES`.
        problem: One goal, the loss against the cost.
        loss: 100 less the accuracy in percent, of `(n, choices)` rows.
        cost: In ms, MB or millions of operations.
        reference: The tight reference point (loss, cost).
        exact: The hypervolume of the exact front within it.
        corner: The worst loss and cost of the table, as reference point.
        exact_corner: The hypervolume within that.
    """

    name: str
    problem: Problem
    loss: Callable[[IntArray], FloatArray]
    cost: Callable[[IntArray], FloatArray]
    reference: FloatArray
    exact: float
    corner: FloatArray
    exact_corner: float

    def evaluate(self, genotypes: Sequence[Genotype]) -> list[Evaluation]:
        """Looks the genotypes up."""
        rows = np.array(genotypes)
        found = zip(genotypes, self.loss(rows), self.cost(rows), strict=True)
        return [
            Evaluation(genotype, {"error": float(loss), "cost": float(cost)}, 0, 0.0, "table")
            for genotype, loss, cost in found
        ]

    def with_unknown_cost(self) -> TableProblem:
        """The same problem for a searcher that sees the costs of evaluated networks alone."""
        goal = Goal(self.name, {"cost": Measured("cost")}, ("cost",))
        return replace(self, problem=replace(self.problem, goals=(goal,)))


def load(name: str) -> TableProblem:
    """The problem `name`, one of `NAMES`."""
    builders = {"mp201_joint": _mp201, "nbmacro": _macro, "channel_resnet": _channels}
    builders["ofa_note10"] = _ofa
    reference = json.loads((ROOT / "search_tables/references.json").read_text())[name]
    if name.startswith("nb201"):
        space, loss, cost = _nb201(name.removeprefix("nb201_"))
    else:
        space, loss, cost = builders[name]()
    goal = Goal(name, {"cost": cost}, ("cost",))
    return TableProblem(
        name,
        Problem(space, (goal,)),
        loss,
        cost,
        np.array(reference["tight_reference"]),
        reference["exact_area_tight"],
        np.array(reference["corner_reference"]),
        reference["exact_area_corner"],
    )


Parts = tuple[SearchSpace, Callable[[IntArray], FloatArray], Callable[[IntArray], FloatArray]]


def _plain(counts: Sequence[int], name: str) -> SearchSpace:
    graph = Graph(Image(3, 32))
    for position, count in enumerate(counts):
        graph.add(f"node{position}", Pick(choice(f"pick{position}", tuple(range(count)))))
    return SearchSpace(graph, name=name)


def _lookup(values: FloatArray, shape: tuple[int, ...]) -> Callable[[IntArray], FloatArray]:
    return lambda rows: values[np.ravel_multi_index(tuple(rows.T), shape)]


def _nb201(device: str) -> Parts:
    from pyarrow import parquet

    accuracy = parquet.read_table(ROOT / "nasbench201/accuracy.parquet").to_pydict()
    latency = parquet.read_table(ROOT / "nasbench201/help_latency_ms.parquet").to_pydict()
    column = next(name for name in latency if name.startswith(device))
    by_arch = dict(zip(latency["arch_idx"], latency[column], strict=True))
    rows = np.array([accuracy[f"op{position}"] for position in range(6)])
    index = np.ravel_multi_index(tuple(rows), (5,) * 6)
    loss, cost = np.empty(5**6), np.empty(5**6)
    loss[index] = 100 - np.array(accuracy["e200_cifar10_test_mean"])
    cost[index] = [by_arch[arch] for arch in accuracy["arch_idx"]]
    space = _plain((5,) * 6, f"nb201_{device}")
    return space, _lookup(loss, (5,) * 6), _lookup(cost, (5,) * 6)


def _csv(path: str, accuracy: str, *, options: int, first: int) -> Parts:
    with gzip.open(ROOT / path, "rt") as file:
        lines = list(csv.DictReader(file))
    length = len(lines[0]["arch"])
    shape = (options,) * length
    digits = np.array([[int(d) - first for d in line["arch"]] for line in lines])
    index = np.ravel_multi_index(tuple(digits.T), shape)
    loss, cost = np.empty(options**length), np.empty(options**length)
    loss[index] = [100 - float(line[accuracy]) for line in lines]
    cost[index] = [float(line["flops"]) / 1e6 for line in lines]
    return _plain(shape, path.split("/")[0]), _lookup(loss, shape), _lookup(cost, shape)


def _macro() -> Parts:
    return _csv("nasbench_macro/nasbench_macro_cifar10.csv.gz", "mean_acc", options=3, first=0)


def _channels() -> Parts:
    return _csv("channel_bench_macro/resnet_cifar10.csv.gz", "mean", options=4, first=1)


def _mp201() -> Parts:
    graph = Graph(Image(3, 32))
    for edge in range(6):
        bits = choice(f"edge{edge}.bits", (2, 4, 8))
        options = (
            Edge("none"),
            Edge("skip"),
            Edge("conv1x1", bits),
            Edge("conv3x3", bits),
            Edge("pool"),
        )
        graph.add(f"edge{edge}", Pick(choice(f"edge{edge}.operation", options)))
    space = SearchSpace(graph, name="mp201")
    table = np.load(ROOT / "search_tables/mp201_joint.npz")
    # Position of each (operation, bits) among an edge's nine states in the table's order.
    state = np.array([[0] * 3, [1] * 3, [3, 4, 5], [6, 7, 8], [2] * 3])
    operations = [space.column[f"edge{edge}.operation"] for edge in range(6)]
    bits = [space.column[f"edge{edge}.bits"] for edge in range(6)]

    def lookup(values: FloatArray) -> Callable[[IntArray], FloatArray]:
        flat = values.astype(np.float64)
        return lambda rows: flat[
            np.ravel_multi_index(tuple(state[rows[:, operations], rows[:, bits]].T), (9,) * 6)
        ]

    return space, lookup(table["loss"]), lookup(table["weight_mb"])


_STAGES = ((24, 32, 112, 2), (32, 48, 56, 2), (48, 96, 28, 2), (96, 136, 14, 1), (136, 192, 14, 2))
_KERNELS, _EXPANSIONS, _DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)


def _ofa() -> Parts:
    graph = Graph(Image(3, 224))
    for stage in range(5):
        depth = choice(f"stage{stage}.depth", _DEPTHS)
        for b in range(4):
            here = f"stage{stage}.block{b}"
            block = Block(choice(f"{here}.kernel", _KERNELS), choice(f"{here}.expand", _EXPANSIONS))
            graph.add(here, Pick(block), present=deeper_than(depth, b) if b >= 2 else True)
    graph.add("head", Pick(0))
    space = SearchSpace(graph, name="ofa_mbv3")
    blocks = [f"stage{s}.block{b}" for s in range(5) for b in range(4)]
    kernel = np.array([space.column[f"{block}.kernel"] for block in blocks])
    expand = np.array([space.column[f"{block}.expand"] for block in blocks])
    fixed, table = _note10()

    def cost(rows: IntArray) -> FloatArray:
        picked = table[np.arange(20), rows[:, kernel], rows[:, expand]]
        return fixed + (picked * space.active_array(rows)[:, kernel]).sum(axis=1)

    return space, ofa_loss(space), cost


def _note10() -> tuple[float, FloatArray]:
    """The fixed latency and that of every block `(20, kernels, expansions)`, in ms."""
    with gzip.open(ROOT / "ofa_mbv3/note10_lut.csv.gz", "rt") as file:
        lines = [line for line in csv.DictReader(file) if line["resolution"] == "224"]
    fixed = sum(float(x["mean_ms"]) for x in lines if not x["expand"] or x["expand"] == "24")
    found = {
        (x["input"], x["output"], int(x["expand"]), int(x["kernel"])): float(x["mean_ms"])
        for x in lines
        if x["expand"]
    }
    table = np.empty((20, 3, 3))
    for stage, (inside, out, size, stride) in enumerate(_STAGES):
        for b in range(4):
            source = (inside, size) if b == 0 else (out, size // stride)
            read = f"{source[1]}x{source[1]}x{source[0]}"
            written = f"{size // stride}x{size // stride}x{out}"
            for k, width in enumerate(_KERNELS):
                for e, ratio in enumerate(_EXPANSIONS):
                    key = (read, written, ratio * source[0], width)
                    table[4 * stage + b, k, e] = found[key]
    return fixed, table


def ofa_loss(space: SearchSpace, *, expansion: str = "expand") -> Callable[[IntArray], FloatArray]:
    """The error in percent that Once-for-All's predictor gives networks of its space.

    Args:
        space: Its choices are named `stage0.block0.kernel` and so on.
        expansion: What it calls the choice of a block's expansion.
    """
    blocks = [f"stage{s}.block{b}" for s in range(5) for b in range(4)]
    kernel = np.array([space.column[f"{block}.kernel"] for block in blocks])
    expand = np.array([space.column[f"{block}.{expansion}"] for block in blocks])
    weights = dict(np.load(ROOT / "ofa_mbv3/acc_predictor_mbv3.npz").items())

    def loss(rows: IntArray) -> FloatArray:
        there = space.active_array(rows)[:, kernel][:, :, None]
        x = np.zeros((len(rows), 128), dtype=np.float32)
        x[:, :60] = ((rows[:, kernel, None] == np.arange(3)) & there).reshape(len(rows), 60)
        x[:, 60:120] = ((rows[:, expand, None] == np.arange(3)) & there).reshape(len(rows), 60)
        x[:, 127] = 1
        for layer in (0, 2, 4):
            x = np.maximum(x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"], 0)
        accuracy = x @ weights["6.weight"].T + weights["6.bias"]
        return 100 - 100 * accuracy[:, 0].astype(np.float64)

    return loss
