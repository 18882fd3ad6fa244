"""Few-shot latency transfer on published tables: a new device from known ones and few networks.

Every device is the new one in turn. The protocol `board` also leaves out other batch sizes of the
same GPU; the protocol `kind` leaves out all GPUs, all CPUs or all phones. The method was designed
with FBNet and all settings of NAS-Bench-201, so the figures on these are optimistic. OFA was seen
too, but decided no setting. The tables are not part of this project; see `benchmarks/tables.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.tables import ROOT
from nas.tabular.published import Block
from nas.targets.transfer.transfer import KnownTable, Transfer
from predictors.rank import kendall_tau
from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import Input, deeper_than
from search_spaces.space import IntArray, SearchSpace
from search_spaces.tabular import Pick

FloatArray = NDArray[np.float64]
Predict = Callable[[IntArray, FloatArray], FloatArray]
JUDGED = 2000


@dataclass(frozen=True)
class Measured:
    """A space and the latencies of its networks on many devices, `(networks, devices)`."""

    space: SearchSpace
    genotypes: IntArray
    latency_ms: FloatArray
    devices: tuple[str, ...]


def nasbench201() -> Measured:
    """The 15,625 cells of NAS-Bench-201 on 18 device settings (HELP)."""
    accuracy, latency = _read("nasbench201/accuracy"), _read("nasbench201/help_latency_ms")
    rows = {index: row for row, index in enumerate(latency.pop("arch_idx"))}
    order = [rows[index] for index in accuracy["arch_idx"]]
    genotypes = np.stack([accuracy[f"op{edge}"] for edge in range(6)], axis=1)
    space = _plain(6, 5, name="nasbench201")
    return Measured(space, genotypes, np.stack(list(latency.values()), 1)[order], tuple(latency))


def fbnet() -> Measured:
    """5,000 networks of the FBNet space on 18 device settings (HELP)."""
    table = _read("fbnet_latency/fbnet5000_latency_ms")
    genotypes = np.stack([table.pop(f"op{layer}") for layer in range(22)], axis=1)
    return Measured(
        _plain(22, 9, name="fbnet"), genotypes, np.stack(list(table.values()), 1), tuple(table)
    )


def ofa() -> Measured:
    """5,000 subnets of Once-for-All's MobileNetV3 on three GPUs at three batch sizes (HELP)."""
    table = _read("ofa_mbv3/help_gpu_latency_ms")
    sizes = sorted(set(table["r"].tolist()))
    graph = Graph(Input("image", (3, 224, 224)))
    columns: dict[str, IntArray] = {}
    graph.add("stem", Pick(choice("resolution", tuple(sizes))))
    columns["resolution"] = np.searchsorted(sizes, table.pop("r"))
    for stage in range(5):
        depth = choice(f"stage{stage}.depth", (2, 3, 4))
        columns[f"stage{stage}.depth"] = table.pop(f"d{stage}") - 2
        for b in range(4):
            here, place = f"stage{stage}.block{b}", 4 * stage + b
            block = Block(choice(f"{here}.kernel", (3, 5, 7)), choice(f"{here}.expand", (3, 4, 6)))
            graph.add(here, Pick(block), present=deeper_than(depth, b) if b >= 2 else True)
            columns[f"{here}.kernel"] = np.searchsorted((3, 5, 7), table.pop(f"ks{place}"))
            columns[f"{here}.expand"] = np.searchsorted((3, 4, 6), table.pop(f"e{place}"))
    space = SearchSpace(graph, name="ofa_mbv3")
    genotypes = np.stack([columns[made.name] for made in space.choices], axis=1)
    return Measured(
        space, space.canonical_array(genotypes), np.stack(list(table.values()), 1), tuple(table)
    )


SPACES = {"nasbench201": nasbench201, "fbnet": fbnet, "ofa": ofa}


def _read(name: str) -> dict[str, Any]:
    from pyarrow import parquet

    table = parquet.read_table(ROOT / f"{name}.parquet")
    return {
        column: np.asarray(values)
        for column, values in table.to_pydict().items()
        if not isinstance(values[0], str)
    }


def _plain(choices: int, options: int, *, name: str) -> SearchSpace:
    graph = Graph(Input("image", (3, 32, 32)))
    for position in range(choices):
        graph.add(f"node{position}", Pick(choice(f"pick{position}", tuple(range(options)))))
    return SearchSpace(graph, name=name)


def kind(device: str) -> str:
    """The kind of a device: GPU, CPU or phone."""
    if device.rsplit("_", 1)[0] in ("1080ti", "2080ti", "titanx", "titanxp", "titan_xp", "v100"):
        return "gpu"
    return "cpu" if device.startswith("silver") else "phone"


def board(device: str) -> str:
    """The name of a device without its batch size."""
    return device.rsplit("_", 1)[0] if kind(device) == "gpu" else device


PROTOCOLS: dict[str, Callable[[str], str]] = {"device": str, "board": board, "kind": kind}


def operator_counts(counts: FloatArray, rows: IntArray, measured: FloatArray) -> FloatArray:
    """Latencies by ridge regression on the number of times that each option is picked.

    The penalty is chosen by leave-one-out error.
    """
    from sklearn.linear_model import RidgeCV

    spread = counts.std(axis=0)
    scaled = (counts - counts.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return RidgeCV(alphas=np.logspace(-3, 3, 13)).fit(scaled[rows], measured).predict(scaled)


def nearest_device(known: FloatArray, rows: IntArray, measured: FloatArray) -> FloatArray:
    """Latencies proportional to those on the known device with the least relative error."""
    scale = np.median(measured[:, None] / known[rows], axis=0)
    misfit = np.abs(known[rows] * scale / measured[:, None] - 1).mean(axis=0)
    best = int(misfit.argmin())
    return known[:, best] * scale[best]


@dataclass
class Tally:
    """The scores of one method, by device and random draw of networks."""

    rho: list[float]
    tau: list[float]
    error: list[float]

    def add(self, predicted: FloatArray, measured: FloatArray) -> None:
        """Add the scores of one draw, on networks that were not measured."""
        ranks = np.corrcoef(rankdata(predicted), rankdata(measured))
        self.rho.append(float(ranks[0, 1]))
        self.tau.append(kendall_tau(predicted, measured))
        self.error.append(float(np.median(np.abs(predicted / measured - 1))))

    def row(self, draws: int) -> str:
        """The cells of a line: mean and least Spearman correlation, tau, median relative error."""
        by_device = np.array(self.rho).reshape(-1, draws).mean(axis=1)
        return (
            f"{np.mean(self.rho):.3f} | {by_device.min():.3f} | {min(self.rho):.3f} | "
            f"{np.mean(self.tau):.3f} | {np.mean(self.error):.1%}"
        )


def left_out(
    data: Measured, *, protocol: str, count: int, draws: int, known: int | None
) -> dict[str, Tally]:
    """The scores of every method; each device is new in turn.

    Args:
        data: The space and its latencies.
        protocol: Which devices beside the new one are left out.
        count: The number of networks measured on the new device.
        draws: The number of random draws of networks.
        known: The number of networks measured on the other devices; all where left out.
    """
    methods = ("transfer, chosen", "transfer, random", "operator counts", "nearest device")
    tallies = {method: Tally([], [], []) for method in methods}
    counts = _option_counts(data)
    timed = np.random.default_rng(0).permutation(len(data.genotypes))[:known]
    for new in range(len(data.devices)):
        family = PROTOCOLS[protocol]
        others = [d for d, n in enumerate(data.devices) if family(n) != family(data.devices[new])]
        if not others:
            continue
        table = KnownTable(
            data.space,
            data.genotypes[timed],
            latency_ms=data.latency_ms[timed][:, others],
            names=[data.devices[other] for other in others],
        )
        for draw in range(draws):
            rng = np.random.default_rng([new, draw])
            rows = rng.permutation(len(data.genotypes))
            judged, candidates = rows[:JUDGED], rows[JUDGED : JUDGED + 500]
            table.sample = data.genotypes[candidates]
            transfer = Transfer(table)
            _score(tallies, transfer, data, counts, new, others, candidates, judged, count)
    return tallies


def _score(
    tallies: dict[str, Tally],
    transfer: Transfer,
    data: Measured,
    counts: FloatArray,
    new: int,
    others: list[int],
    candidates: IntArray,
    judged: IntArray,
    count: int,
) -> None:
    latency, random = data.latency_ms[:, new], candidates[:count]
    picks = {tuple(g): row for g, row in zip(data.genotypes[candidates], candidates, strict=True)}
    chosen = np.array([picks[tuple(g)] for g in transfer.choose(count)])
    for name, rows in (("chosen", chosen), ("random", random)):
        fitted = transfer.fit(data.genotypes[rows], latency[rows])
        tallies[f"transfer, {name}"].add(fitted(data.genotypes[judged]), latency[judged])
    predicted = operator_counts(counts, random, latency[random])
    tallies["operator counts"].add(predicted[judged], latency[judged])
    predicted = nearest_device(data.latency_ms[:, others], random, latency[random])
    tallies["nearest device"].add(predicted[judged], latency[judged])


def _option_counts(data: Measured) -> FloatArray:
    """The number of times that each option of each kind of choice is picked where open."""
    is_open = data.space.active_array(data.genotypes)
    kinds: dict[str, list[int]] = {}
    for position, made in enumerate(data.space.choices):
        kinds.setdefault(repr(made.options), []).append(position)
    alone = [members[0] for members in kinds.values() if len(members) == 1]
    columns = [data.genotypes[:, member] for member in alone]  # such as the resolution: in order
    columns += [
        ((data.genotypes[:, members] == option) & is_open[:, members]).sum(axis=1)
        for members in kinds.values()
        if len(members) > 1
        for option in range(int(data.space.counts[members[0]]))
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spaces", nargs="+", default=list(SPACES), choices=SPACES)
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=PROTOCOLS)
    parser.add_argument("--counts", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--known", type=int, help="networks timed on known devices; all without")
    options = parser.parse_args()
    print(
        "| space | left out | measured | method | Spearman, mean | worst device | worst draw | "
        "Kendall | median error |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for space in options.spaces:
        data = SPACES[space]()
        for protocol in options.protocols:
            for count in options.counts:
                if protocol != "device" and count != 10:
                    continue
                tallies = left_out(
                    data,
                    protocol=protocol,
                    count=count,
                    draws=options.draws,
                    known=options.known,
                )
                for method, tally in tallies.items():
                    if tally.rho:
                        cells = f"{space} | {protocol} | {count} | {method}"
                        print(f"| {cells} | {tally.row(options.draws)} |", flush=True)


if __name__ == "__main__":
    main()
