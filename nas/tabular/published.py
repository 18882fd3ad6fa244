"""Published tables by name.

Most of them need only a description file; two have a format of their own, which is read here. The
data are not part of this project. The environment variable `ELASTIC_NAS_TABLES` names their folder,
unless the caller gives one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.facts.metric import MetricWords
from nas.tabular.benchmark import Tabular, load_table
from nas.tabular.columns import plain, read_files
from nas.tabular.description import TableError
from search_spaces.choice import Spec, choice
from search_spaces.graph import Graph
from search_spaces.ops import Input, deeper_than
from search_spaces.space import IntArray, SearchSpace
from search_spaces.tabular import Pick, add_cell

FloatArray = NDArray[np.float64]

VARIABLE = "ELASTIC_NAS_TABLES"
_SHIPPED = Path(__file__).parent / "shipped"
_BITS = (2, 4, 8)
_ERROR = MetricWords("error", "%")
_CELL = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
_STAGES = ((24, 32, 112, 2), (32, 48, 56, 2), (48, 96, 28, 2), (96, 136, 14, 1), (136, 192, 14, 2))
_KERNELS, _EXPANSIONS, _DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
_BLOCKS = tuple(f"stage{stage}.block{block}" for stage in range(5) for block in range(4))


def published() -> list[str]:
    """The names of the published tables that `open_table` can open."""
    return sorted([*(path.stem for path in _SHIPPED.glob("*.toml")), *_ADAPTERS])


def open_table(name: str, *, data: Path | None = None) -> Tabular:
    """The table that a description file describes, or a published table.

    Args:
        name: The path of a TOML file, or one of `published`.
        data: The folder of the table's files. By default, this is the folder of the description;
            for published tables, the folder that `ELASTIC_NAS_TABLES` names.

    Raises:
        TableError: If there is no such table, or it cannot be read.
    """
    if name.endswith(".toml"):
        return load_table(Path(name), data=data)
    if name not in published():
        raise TableError(
            f"there is no table {name!r}; give a description (a .toml file), or one of "
            f"{', '.join(published())}"
        )
    folder = data or _folder(name)
    if name not in _ADAPTERS:
        return load_table(_SHIPPED / f"{name}.toml", data=folder)
    try:
        return _ADAPTERS[name](folder)
    except (OSError, LookupError, ValueError) as error:
        raise TableError(f"cannot read table {name!r} in {folder}: {error}") from error


def _folder(name: str) -> Path:
    if VARIABLE not in os.environ:
        raise TableError(
            f"table {name!r} is not part of this program; set {VARIABLE} to the folder that holds "
            "the published tables, or give table.data"
        )
    return Path(os.environ[VARIABLE])


@dataclass(frozen=True)
class Edge(Spec):
    """The operation of a cell's edge, and the bits of its weights; 0 without weights."""

    operation: str
    bits: int = 0


@dataclass(frozen=True)
class Block(Spec):
    """The kernel and the expansion of a mobile block."""

    kernel: int
    expansion: int


@dataclass(frozen=True, eq=False)
class EdgeStates:
    """A figure of every cell of six edges, each edge with an operation and weight bits.

    An edge has nine states: its operation and, if that has weights, their bits.

    Attributes:
        values: The figure of every cell, `(9**6,)`, row-major over the states of the edges.
        state: The state of an edge by operation and bits, `(5, 3)`.
        operations: The columns of genotypes that hold the operations of the edges.
        bits: The columns of genotypes that hold the bits of the edges.
        note: The origin of the figures, in words.
    """

    values: FloatArray
    state: NDArray[np.int64]
    operations: tuple[int, ...]
    bits: tuple[int, ...]
    note: str = ""

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of genotypes `(n, choices)`, as `(n,)`."""
        states = self.state[genotypes[:, self.operations], genotypes[:, self.bits]]
        shape = (self.state.max() + 1,) * len(self.operations)
        return self.values[np.ravel_multi_index(tuple(states.T), shape)]


def _mp_nasbench201(data: Path) -> Tabular:
    """The table of cells whose convolutions have 2, 4 or 8 bits each.

    Accuracies are predicted by a surrogate; sizes are exact.
    """
    graph, edges = Graph(Input("network", (1,))), []
    for edge, ends in enumerate(_CELL):
        bits = choice(f"edge{edge}.bits", _BITS)
        options = (
            Edge("none"),
            Edge("skip"),
            Edge("pool"),
            Edge("conv1x1", bits),
            Edge("conv3x3", bits),
        )
        made = Pick(choice(f"edge{edge}.operation", options), cut=options[:1])
        edges.append((ends, made))
    add_cell(graph, edges)
    space = SearchSpace(graph, name="mp201")
    with np.load(data / "search_tables/mp201_joint.npz") as table:
        loss, size = (table[name].astype(np.float64) for name in ("loss", "weight_mb"))
    # The number of the state of an edge, by operation and bits, in the order of the table.
    state = np.array([[0] * 3, [1] * 3, [2] * 3, [3, 4, 5], [6, 7, 8]])
    operations = tuple(space.column[f"edge{edge}.operation"] for edge in range(6))
    columns = tuple(space.column[f"edge{edge}.bits"] for edge in range(6))
    note = "all are predicted by 100 extra-trees fitted on trained networks, Kendall tau .735"
    figures = EdgeStates(loss, state, operations, columns, note)
    cost = EdgeStates(size, state, operations, columns)
    return Tabular(
        "mp-nasbench201",
        space,
        figures,
        _ERROR,
        {"any": {"weight_mb": cost}},
        rows=space.size,
        exhaustive=True,
        source="a surrogate of MP-NAS-Bench-201",
    )


@dataclass(frozen=True, eq=False)
class BlockSum:
    """The latency of a network as a fixed part plus a sum over its blocks.

    Attributes:
        space: The space of the networks.
        fixed: Milliseconds of the layers that every network has.
        table: Milliseconds of every block by kernel and expansion, `(20, 3, 3)`.
        note: Empty, since no figure is missing.
    """

    space: SearchSpace
    fixed: float
    table: FloatArray
    note: str = ""

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The latency of genotypes `(n, choices)` in ms, as `(n,)`."""
        kernel, expand = _columns(self.space, "kernel"), _columns(self.space, "expand")
        picked = self.table[np.arange(20), genotypes[:, kernel], genotypes[:, expand]]
        is_there = self.space.active_array(genotypes)[:, kernel]
        return self.fixed + (picked * is_there).sum(axis=1)


@dataclass(frozen=True, eq=False)
class OfaPredictor:
    """The error of Once-for-All's networks as its published accuracy predictor computes it.

    Attributes:
        space: The space, whose choices are named `stage0.block0.kernel` and so on.
        weights: The weights and biases of the predictor's layers, by name.
        expansion: The last part of the name of each choice of a block's expansion.
        note: States that all figures are predicted.
    """

    space: SearchSpace
    weights: dict[str, NDArray[np.float32]]
    expansion: str = "expand"
    note: str = "all are predicted by Once-for-All's accuracy predictor"

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The error of genotypes `(n, choices)` in percent, as `(n,)`."""
        kernel = _columns(self.space, "kernel")
        expand = _columns(self.space, self.expansion)
        there = self.space.active_array(genotypes)[:, kernel][:, :, None]
        count = len(genotypes)
        x = np.zeros((count, 128), dtype=np.float32)
        x[:, :60] = ((genotypes[:, kernel, None] == np.arange(3)) & there).reshape(count, 60)
        x[:, 60:120] = ((genotypes[:, expand, None] == np.arange(3)) & there).reshape(count, 60)
        x[:, 127] = 1
        for layer in (0, 2, 4):
            weight, bias = (self.weights[f"{layer}.{part}"] for part in ("weight", "bias"))
            x = np.maximum(x @ weight.T + bias, 0)
        accuracy = x @ self.weights["6.weight"].T + self.weights["6.bias"]
        return 100 - 100 * accuracy[:, 0].astype(np.float64)


def _columns(space: SearchSpace, field: str) -> NDArray[np.int64]:
    return np.array([space.column[f"{block}.{field}"] for block in _BLOCKS])


def ofa_predictor(space: SearchSpace, data: Path, *, expansion: str = "expand") -> OfaPredictor:
    """Once-for-All's accuracy predictor for networks of `space`.

    Args:
        space: The space.
        data: The folder of the published tables.
        expansion: The last part of the name of each choice of a block's expansion.
    """
    with np.load(data / "ofa_mbv3/acc_predictor_mbv3.npz") as held:
        return OfaPredictor(space, dict(held.items()), expansion)


def _ofa_note10(data: Path) -> Tabular:
    """The table of Once-for-All's MobileNetV3 space at 224 pixels on a Samsung Note10."""
    graph = Graph(Input("network", (1,)))
    for stage in range(5):
        depth = choice(f"stage{stage}.depth", _DEPTHS)
        for b in range(4):
            here = f"stage{stage}.block{b}"
            block = Block(choice(f"{here}.kernel", _KERNELS), choice(f"{here}.expand", _EXPANSIONS))
            graph.add(here, Pick(block), present=deeper_than(depth, b) if b >= 2 else True)
    graph.add("head", Pick(0))
    space = SearchSpace(graph, name="ofa_mbv3")
    return Tabular(
        "ofa-note10",
        space,
        ofa_predictor(space, data),
        _ERROR,
        {"note10": {"latency_ms": BlockSum(space, *_note10(data))}},
        rows=0,
        exhaustive=False,
        source="Once-for-All's accuracy predictor and its latency table of a Samsung Note10",
    )


def _note10(data: Path) -> tuple[float, FloatArray]:
    """The latencies in ms: of the fixed layers, and of every block, `(20, kernels, expansions)`."""
    columns = read_files([data / "ofa_mbv3/note10_lut.csv.gz"], None)
    rows: list[dict[str, Any]] = [
        dict(zip(columns, map(plain, cells), strict=True))
        for cells in zip(*columns.values(), strict=True)
    ]
    lines = [row for row in rows if row["resolution"] == 224]
    fixed = sum(float(x["mean_ms"]) for x in lines if not x["expand"] or x["expand"] == 24)
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


_ADAPTERS: dict[str, Callable[[Path], Tabular]] = {
    "mp-nasbench201": _mp_nasbench201,
    "ofa-note10": _ofa_note10,
}
