"""Once-for-All's phone table: latencies of published networks, and one space on two devices.

    python -m benchmarks.note10 [--seeds 3] [--more FILE ...]

The tables are imported in their published form. The YAML is made from the CSV of
`ELASTIC_NAS_TABLES`, which has resolutions 160 to 224 in steps of 16; `--more` adds published YAML
files of other resolutions. Accuracies come from Once-for-All's own predictor for a network at width
1.0, since none is published for width 1.2; errors are therefore for comparison only. Costs are
compiled from our mobilenet space; nothing is looked up by hand.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.tables import ROOT
from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.problem.front import nondominated
from nas.problem.goals import ArrayCost, Goal, Problem
from nas.search.evolution import Evolution
from nas.search.points import points
from nas.tabular.published import ofa_predictor
from nas.targets import HardwareTarget, TargetError
from nas.targets.adapters import Adapter, target
from nas.targets.adapters.block_kernels import BLOCKS
from nas.targets.adapters.dpu_blocks import DpuBlocks
from nas.targets.adapters.ofa import Ofa
from search_spaces.kernels import kernels
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace

RESOLUTIONS = (208, 224)
GENERATIONS, POPULATION = 60, 60


def space(
    *, width: float = 1.2, resolutions: tuple[int, ...] = (224,), bits: int | None = None
) -> SearchSpace:
    """Once-for-All's MobileNetV3 space."""
    return mobilenet(
        (Input("image", (3, max(resolutions), max(resolutions))),),
        (1000,),
        image_sizes=resolutions,
        expand_from="input",
        width_multipliers=(width,),
        first=Stage(16, 1),
        feature_mix=1280,
        policy=Policy(weight_bits=(bits,), activation_bits=(bits,), edge_bits=bits),
    )


def note10(resolution: int) -> HardwareTarget:
    """The target of the Note10 at one resolution, imported from YAML."""
    with gzip.open(ROOT / "ofa_mbv3/note10_lut.csv.gz", "rt") as file:
        lines = [line for line in csv.DictReader(file) if line["resolution"] == str(resolution)]
    text = "".join(
        f"{r['key']}:\n  count: {r['count']}\n  mean: {r['mean_ms']}\n  std: {r['std_ms']}\n"
        for r in lines
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{resolution}_lookup_table.yaml"
        path.write_text(text)
        return target(Ofa(device="Samsung Galaxy Note10").read(path), f"note10-{resolution}")


def described(net: Mapping[str, Any]) -> dict[str, int]:
    """The description of a genotype for a published network."""
    found: dict[str, int] = {}
    stage = place = -1
    for block in net["blocks"][1:]:
        new = block["in_channels"] != block["out_channels"]
        stage, place = (stage + 1, 0) if new else (stage, place + 1)
        here = f"stage{stage}.block{place}"
        found[f"{here}.kernel"] = block["kernel_size"]
        found[f"{here}.expansion"] = block["expand_ratio"]
        found[f"stage{stage}.depth"] = place + 1
    return found


def published() -> list[dict[str, Any]]:
    """The networks released for the Note10, by their latency."""
    with gzip.open(ROOT / "ofa_mbv3/specialized_nets.json.gz", "rt") as file:
        nets = json.load(file)
    return sorted((net for net in nets if net["platform"] == "note10"), key=lambda n: n["cost"])


def summed(more: Mapping[int, HardwareTarget]) -> None:
    """Print the latencies of the published networks as sums of the table."""
    targets = {size: note10(size) for size in RESOLUTIONS} | dict(more)
    known = {
        size: one.compile(space(resolutions=(size,)))["latency_ms"] for size, one in targets.items()
    }
    print("| network | published ms | resolution | table's sum, ms |\n| --- | --- | --- | --- |")
    for net in published():
        name, size = net["name"].split("_top1")[0], net["image_size"]
        print(f"| {name} | {net['cost']:.0f} | {size} | {_told(net, targets, known)} |")


def _told(
    net: Mapping[str, Any], targets: Mapping[int, HardwareTarget], known: Mapping[int, ArrayCost]
) -> str:
    """The latency of a network as text: a sum of rows, or the reason without and an estimate."""
    size = net["image_size"]
    narrow = net["first_conv_out"] == 16
    try:
        where = space(width=1.0 if narrow else 1.2, resolutions=(size,))
        fixed = where.restrict(
            lambda choice, option: described(net).get(choice.name, option) == option
        )
        latency = targets.get(size, targets[224]).compile(fixed)["latency_ms"]
        return f"{latency(np.array([fixed.smallest]))[0]:.2f}"
    except TargetError as error:
        said = str(error).split(":", 1)[0].removeprefix("the latency table has ")
        said = said.removesuffix(", the first 10")
    if narrow or not min(known) < size < max(known):
        return f"refused: {said}"
    below, above = max(s for s in known if s < size), min(s for s in known if s > size)
    row = np.array([space().genotype(described(net))])
    return (
        f"refused: {said}; {known[below](row)[0]:.2f} at {below}, {known[above](row)[0]:.2f} at "
        f"{above}, with these kernels between the two by pixels "
        f"{_between(net, targets, (below, size, above)):.2f}"
    )


def _between(
    net: Mapping[str, Any], targets: Mapping[int, HardwareTarget], sizes: tuple[int, int, int]
) -> float:
    """The latency with missing kernels interpolated between two other resolutions."""
    picks = space().genotype(described(net))
    spaces = [space(resolutions=(size,)) for size in sizes]
    programs = [[k for _, k in kernels(s.decode(picks), BLOCKS)][1:] for s in spaces]
    low, high = (targets[size].kernel_cost for size in (sizes[0], sizes[2]))
    found = 0.0
    for small, wanted, large in zip(*programs, strict=True):
        pixels = [kernel.inputs[0][1] ** 2 for kernel in (small, wanted, large)]
        if wanted == large:
            found += high(large)
        else:
            share = (pixels[1] - pixels[0]) / (pixels[2] - pixels[0])
            found += (1 - share) * low(small) + share * high(large)
    return found


def searched(seeds: int) -> None:
    """Print how much the fronts of two devices have in common."""
    dpu = DpuBlocks(pool_ms=0.0, stem="hardswish")
    fpga = target(_read(dpu, ROOT / "fpga_int8_ofa_blocks/ultra96_int8_blocks.csv.gz"), "ultra96")
    whole = space()
    costs = {
        "Note10": note10(224).compile(whole)["latency_ms"],
        "Ultra96 FPGA, int8": fpga.compile(space(bits=8))["latency_ms"],
    }
    _compare_all(whole, costs)
    fronts = {
        name: [_front(whole, name, cost, seed) for seed in range(seeds)]
        for name, cost in costs.items()
    }
    print("\n| front searched for | beside that searched for | priced on | nondominated | slower |")
    print("| --- | --- | --- | --- | --- |")
    for name in costs:
        for other in costs:
            # On the same device, a front is compared with the next seed's: the effect of chance.
            theirs = fronts[other] if other != name else [*fronts[name][1:], fronts[name][0]]
            pairs = zip(fronts[name], theirs, strict=True)
            share, lost = np.array([_kept(whole, *pair, costs[other]) for pair in pairs]).T
            beside = f"{other}, another seed" if other == name else other
            print(
                f"| {name} | {beside} | {other} | {share.mean():.0%} ± {share.std():.0%} | "
                f"{lost.mean():+.1%} ± {lost.std():.1%} |"
            )


def _read(adapter: Adapter, path: Path) -> Any:
    return adapter.read(path)


def _compare_all(whole: SearchSpace, costs: Mapping[str, ArrayCost]) -> None:
    rows = whole.sample_array(np.random.default_rng(0), 5000)
    one, other = (cost(rows) for cost in costs.values())
    tau = kendalltau(one, other).statistic
    ranges = " and ".join(
        f"{values.min():.1f} to {values.max():.1f} ms on {name}"
        for name, values in zip(costs, (one, other), strict=True)
    )
    print(f"\n5,000 networks drawn at random: {ranges}; Kendall tau between the two {tau:.2f}.")


def _front(whole: SearchSpace, name: str, cost: ArrayCost, seed: int) -> NDArray[np.int64]:
    """The front that NSGA-II finds for one device."""
    problem = Problem(whole, (Goal(name, {"latency_ms": cost}, ("latency_ms",)),))
    searcher = Evolution(problem, seed=seed, population=POPULATION)
    loss = ofa_predictor(whole, ROOT, expansion="expansion")
    told: list[Evaluation] = []
    for _ in range(GENERATIONS):
        asked = searcher.ask(POPULATION)
        errors = loss(np.array(asked))
        found = [
            Evaluation(genotype, {"error": float(error)}, seed=0, seconds=0.0, where="predictor")
            for genotype, error in zip(asked, errors, strict=True)
        ]
        searcher.tell(found)
        told += found
    measured = Measurements.of(told, problem.space)
    return measured.rows[nondominated(points(problem, measured))]


def _kept(
    whole: SearchSpace, mine: NDArray[np.int64], theirs: NDArray[np.int64], cost: ArrayCost
) -> tuple[float, float]:
    """The share of `mine` that no network of `theirs` dominates, and the median extra latency."""
    loss = ofa_predictor(whole, ROOT, expansion="expansion")
    errors, latencies = (np.concatenate([f(mine), f(theirs)]) for f in (loss, cost))
    alive = nondominated(np.column_stack([errors, latencies]))
    kept = np.mean(np.isin(np.arange(len(mine)), np.arange(len(errors))[alive]))
    own_errors, own_ms = errors[len(mine) :], latencies[len(mine) :]
    extra = [
        ms / own_ms[own_errors <= error].min() - 1
        for error, ms in zip(errors[: len(mine)], latencies[: len(mine)], strict=True)
        if (own_errors <= error).any()
    ]
    return float(kept), float(np.median(extra))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    more = {
        int(path.name.split("_")[0]): target(Ofa().read(path), path.stem) for path in options.more
    }
    summed(more)
    searched(options.seeds)


if __name__ == "__main__":
    main()
