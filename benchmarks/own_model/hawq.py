"""HAWQ-V3's published bits from its own figures, and the closed form beside the exact knapsack.

    python -m benchmarks.own_model.hawq

HAWQ-V3 (Yao et al. 2021) published 18 policies of 4 and 8 bits: ResNet-18 and ResNet-50, each with
a limit of size, BitOPs or T4 latency at a quarter, a half and three quarters of the way from 4 to 8
bits everywhere. The integer programme gets the figures of its notebook: the loss of a layer is its
mean Hessian trace times its squared weight error, and the first convolution of a block and its
shortcut, which read the same tensor, have the same bits.

The second table compares the summed loss of the closed form with that of the exact knapsack over 50
budgets of bytes, evenly spaced between the cheapest and the dearest picks, with the bits 4 and 8 as
published, and with the bits 2 to 8, whose losses follow from those of 4 and 8 bits.
"""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_tabular import show
from benchmarks.tables import ROOT
from nas.search.allocation import allocate, closed_form, programme
from search_spaces.lookups import Lookup

FloatArray = NDArray[np.float64]

TABLE = ROOT / "bitwidth_luts" / "hawqv3_t4_resnet.csv.gz"
BITS = (4, 8)
SHARES = (0.75, 0.5, 0.25)
# The positions of the first convolution and the shortcut of a block, which read the same tensor.
TIES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "resnet18": ((4, 6), (9, 11), (14, 16)),
    "resnet50": ((0, 3), (10, 13), (23, 26), (42, 45)),
}
# The published policies, a digit per layer in the order of the table; a block's shortcut follows
# its convolutions. From `bit_config.py` of github.com/Zhen-Dong/HAWQ, commit 800ed9c (MIT).
PUBLISHED: Mapping[tuple[str, str, float], str] = {
    ("resnet18", "size", 0.75): "8888 888 88 888 84 888 84",
    ("resnet18", "size", 0.5): "8888 888 88 888 88 848 44",
    ("resnet18", "size", 0.25): "8888 888 88 888 88 444 44",
    ("resnet18", "BitOPs", 0.75): "8888 888 84 888 84 848 84",
    ("resnet18", "BitOPs", 0.5): "8884 888 84 888 44 444 44",
    ("resnet18", "BitOPs", 0.25): "8884 848 44 444 44 444 44",
    ("resnet18", "latency", 0.75): "8888 888 84 888 84 848 84",
    ("resnet18", "latency", 0.5): "8888 848 84 888 44 848 44",
    ("resnet18", "latency", 0.25): "8884 848 44 444 44 444 44",
    ("resnet50", "size", 0.75): (
        "8888 888 888 8888 888 888 888 8888 888 888 888 888 888 8488 848 848"
    ),
    ("resnet50", "size", 0.5): (
        "8888 888 888 8888 888 888 888 8488 888 844 888 848 848 8488 844 844"
    ),
    ("resnet50", "size", 0.25): (
        "8888 888 888 8888 888 888 888 8488 844 844 844 844 444 4484 444 844"
    ),
    ("resnet50", "BitOPs", 0.75): (
        "8888 888 848 8888 888 888 848 8488 888 844 848 848 848 8488 888 888"
    ),
    ("resnet50", "BitOPs", 0.5): (
        "8888 888 848 8488 848 844 848 8488 844 844 844 844 848 8488 848 848"
    ),
    ("resnet50", "BitOPs", 0.25): (
        "8488 448 844 8488 444 444 844 8488 444 444 444 444 444 8488 844 844"
    ),
    ("resnet50", "latency", 0.75): (
        "8888 888 848 8488 888 888 848 8488 888 848 888 848 848 8488 888 888"
    ),
    ("resnet50", "latency", 0.5): (
        "8888 888 844 8488 888 848 848 8488 444 844 844 844 844 8488 848 848"
    ),
    ("resnet50", "latency", 0.25): (
        "8888 848 844 8488 444 444 844 4484 444 444 444 444 844 8488 844 844"
    ),
}
BUDGETS = 50
MORE_BITS = (2, 3, 4, 5, 6, 7, 8)


@dataclass(frozen=True, eq=False)
class Figures:
    """The published figures of a network, each `(layers, bits)`, or `(layers,)` for one of all.

    Attributes:
        losses: The mean Hessian trace times the squared weight error.
        costs: Size, BitOPs and latency, by name.
        parameters: The parameters of each layer.
    """

    losses: FloatArray
    costs: Mapping[str, FloatArray]
    parameters: FloatArray


def figures(network: str) -> Figures:
    """The figures of `resnet18` or `resnet50`."""
    with gzip.open(TABLE, "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == network]

    def column(name: str) -> FloatArray:
        return np.array([float(row[name]) for row in rows])

    errors = np.stack([column("dw4_sq"), column("dw8_sq")], axis=1)
    parameters, bits = column("params_recorded_m"), np.array(BITS)
    costs = {
        "size": parameters[:, None] * bits,
        "BitOPs": column("mmacs")[:, None] * bits**2,
        "latency": np.stack([column("lat_int4_ms"), column("lat_int8_ms")], axis=1),
    }
    return Figures(column("hessian_trace_norm")[:, None] * errors, costs, parameters)


def bits_of(network: str, limit: str, share: float, *, from_figures: Figures) -> list[int]:
    """The bits of each layer that the integer programme finds for one limit."""
    losses, cost = from_figures.losses, from_figures.costs[limit]
    names = [f"layer {number}" for number in range(len(losses))]
    low, high = cost.sum(axis=0)
    answer = programme(
        dict.fromkeys(names, len(BITS)),
        [Lookup((name,), row) for name, row in zip(names, losses, strict=True)],
        {limit: [Lookup((name,), row) for name, row in zip(names, cost, strict=True)]},
        limits={limit: low + share * (high - low)},
        ties=[(names[one], names[other]) for one, other in TIES[network]],
    )
    return [BITS[answer.picks[name]] for name in names]


def published(network: str, limit: str, share: float) -> list[int]:
    """The published bits of each layer."""
    return [int(digit) for digit in PUBLISHED[network, limit, share].replace(" ", "")]


def beside_exact(losses: FloatArray, sizes: FloatArray, bits: FloatArray) -> dict[str, float]:
    """The closed form beside the exact knapsack, over `BUDGETS` budgets.

    Args:
        losses: `(layers, bits)`.
        sizes: The parameters of each layer, `(layers,)`.
        bits: `(bits,)`.

    Returns:
        The mean and largest excess of the loss over the exact one, and the milliseconds of a
        budget for both.
    """
    counts = np.full(len(sizes), len(bits))
    flat, costs = losses.ravel(), (sizes[:, None] * bits).ravel()
    rates = np.tile(bits, len(sizes)).astype(float)
    budgets = np.linspace(sizes.sum() * bits[0], sizes.sum() * bits[-1], BUDGETS)
    starts, spans = np.cumsum(counts) - counts, list[float]()
    found: list[FloatArray] = []
    for solve in (allocate, partial(closed_form, rates=rates)):
        begun = time.perf_counter()
        picks = solve(flat, costs, counts=counts, budgets=budgets)
        spans.append(1000 * (time.perf_counter() - begun) / BUDGETS)
        if (costs[starts + picks].sum(axis=1) > budgets * (1 + 1e-9)).any():
            raise AssertionError("picks are beyond a budget")
        found.append(flat[starts + picks].sum(axis=1))
    excess = found[1] / found[0] - 1
    return {
        "mean": float(excess.mean()),
        "largest": float(excess.max()),
        "exact": spans[0],
        "closed": spans[1],
    }


def extended(losses: FloatArray) -> FloatArray:
    """The losses at `MORE_BITS` from those at 4 and 8 bits, on a line of their logarithms."""
    logs = np.log(losses)
    slope = (logs[:, 1] - logs[:, 0]) / (BITS[1] - BITS[0])
    return np.exp(logs[:, :1] + slope[:, None] * (np.array(MORE_BITS) - BITS[0]))


def main() -> None:
    """Print both tables."""
    lines: list[list[str]] = []
    equal = 0
    for network in TIES:
        known = figures(network)
        for limit in known.costs:
            for share in SHARES:
                mine = bits_of(network, limit, share, from_figures=known)
                unlike = sum(
                    a != b for a, b in zip(mine, published(network, limit, share), strict=True)
                )
                equal += not unlike
                lines.append([network, f"{limit} {share}", f"{unlike} of {len(mine)}"])
    show(["network", "limit", "layers with other bits"], lines)
    print(f"\n{equal} of {len(PUBLISHED)} published policies are equal\n")
    lines = []
    for network in TIES:
        known = figures(network)
        for losses, bits in ((known.losses, BITS), (extended(known.losses), MORE_BITS)):
            found = beside_exact(losses, known.parameters, np.array(bits))
            lines.append(
                [
                    network,
                    ", ".join(map(str, bits)),
                    f"{found['mean']:.3%}",
                    f"{found['largest']:.3%}",
                    f"{found['closed']:.1f}",
                    f"{found['exact']:.1f}",
                ]
            )
    head = ["network", "bits", "mean excess", "largest excess", "closed form, ms", "exact, ms"]
    show(head, lines)


if __name__ == "__main__":
    main()
