"""Bits and channels of a trained ResNet-20 searched together, and each alone, without training.

    python -m benchmarks.own_model.joint [--seeds 0 1 2] [--budget 16] [--images 128]

Three spaces are searched by the default searcher with the same number of evaluations: bits of the
weights of every layer, channels of all blocks at 8 bits, and both. The cost is multiply-accumulates
times bits of weights, as a share of that of the whole network at 8 bits. The error is the share of
500 unlabelled images, which calibrate nothing, that get another class than from the float network.
Each search begins with uniform policies: the same bits everywhere, the same share of channels, and
for both also three quarters of the channels with few bits.

The table has the hypervolume in front of an error of 100 % and the whole cost, on the images of the
search, and on 500 other images for the networks of the front, which were chosen on the first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import nas
from benchmarks.own_model.data import calibration, images, resnet
from benchmarks.own_model.narrower import Kept, Slimming, traced
from benchmarks.search_tabular import show
from nas.evaluation.rewrites import post_training
from nas.files.durable import write_atomic
from nas.problem.front import hypervolume, nondominated
from search_spaces.costs import macs, total
from search_spaces.graph import Graph
from search_spaces.opening import Opening, opened
from search_spaces.policy import full_precision
from search_spaces.slimming import slimmed
from search_spaces.space import Genotype, SearchSpace
from supernets.post_training import PostTraining

SHARES, BITS, WHOLE = (0.375, 0.5, 0.625, 0.75, 0.875), (2, 3, 4, 5, 8), 8
REWRITES = ("least-squares", "nearest", "norm-repair")
SEARCHED, OTHER = slice(0, 500), slice(500, 1000)
UNIFORM_SHARES = (0.875, 0.75, 0.5)


class Judge:
    """The share of images that get another class than from the float network, in percent."""

    def __init__(self) -> None:
        self._images = images(("train_20",))[0]
        self._wanted = {part.start: self._classes(resnet(20), part) for part in (SEARCHED, OTHER)}

    def __call__(self, module: nn.Module, part: slice) -> float:
        """The share for the images of a part."""
        other = self._classes(module, part) != self._wanted[part.start]
        return 100 * float(other.double().mean())

    def _classes(self, module: nn.Module, part: slice) -> Tensor:
        with torch.no_grad():
            return torch.cat([module(x).argmax(1) for x in self._images[part].split(250)])


def spaces() -> dict[str, tuple[SearchSpace, Sequence[Mapping[str, Any]]]]:
    """The searched spaces by name, each with the networks that are evaluated first."""
    whole, narrow = traced().graph, slimmed(traced().graph, shares=SHARES, blocks=False)
    bits = SearchSpace(_with(whole, BITS))
    channels, both = SearchSpace(_with(narrow, (WHOLE,))), SearchSpace(_with(narrow, BITS))
    uniform_bits = [dict.fromkeys(_names(bits, "bits"), n) for n in reversed(BITS)]
    uniform_widths: list[Mapping[str, Any]] = [_alike(channels, share) for share in UNIFORM_SHARES]
    narrower = _alike(channels, UNIFORM_SHARES[1])
    uniform: list[Mapping[str, Any]] = [{**_alike(channels, 1.0), **p} for p in uniform_bits]
    uniform += [{**narrower, **part} for part in uniform_bits[-3:]]
    return {
        "bits": (bits, uniform_bits),
        "channels": (channels, [_alike(channels, 1.0), *uniform_widths]),
        "both": (both, uniform),
    }


def _with(graph: Graph, bits: Sequence[int]) -> Graph:
    return opened(graph, Opening(weights=tuple(bits), activations=(None,)))


def _names(space: SearchSpace, word: str) -> list[str]:
    return [name for name in space.plain_options if word in name]


def _alike(space: SearchSpace, share: float) -> dict[str, int]:
    """The width of each group inside blocks that is nearest to a share of all channels."""
    found: dict[str, int] = {}
    offered: Mapping[str, Any] = space.plain_options
    for name, options in offered.items():
        inside = name.count(".") > 1 and name.endswith("conv1.width")
        wanted = share * options[-1] if inside else options[-1]
        found[name] = min(options, key=lambda n, w=wanted: abs(n - w))
    return found


def searched(seed: int, kept: Kept, *, budget: int, count: int) -> dict[str, Any]:
    """The points and the fronts of all searches of a seed."""
    judge, batches = Judge(), calibration(seed, count)
    tensors = Slimming(seed, kept).tensors
    found: dict[str, Any] = {}
    for name, (space, first) in spaces().items():
        maker = post_training(space, tensors, batches, rewrites=REWRITES)
        tried = _Tried(space, maker, judge)
        nas.search(space, tried, objectives="cost", budget=budget, first=first, batch=4, seed=seed)
        front = np.flatnonzero(nondominated(np.array(tried.points)))
        other = [
            [judge(maker(tried.genotypes[n]).module(), OTHER), tried.points[n][1]] for n in front
        ]
        found[name] = {"points": tried.points, "front": front.tolist(), "other": other}
        print(seed, name, json.dumps(found[name]), flush=True)
    return found


class _Tried:
    """The objective of a search, which keeps what was evaluated.

    Attributes:
        genotypes: The networks.
        points: The error and the cost of each, both in percent.
    """

    def __init__(self, space: SearchSpace, maker: PostTraining, judge: Judge) -> None:
        self._space, self._maker, self._judge = space, maker, judge
        largest = space.decode(space.largest)
        self._whole = WHOLE * total(macs, full_precision(largest))
        self.genotypes: list[Genotype] = []
        self.points: list[list[float]] = []

    def __call__(self, picks: Mapping[str, Any]) -> dict[str, float]:
        """The error on the images of the search, and the cost."""
        genotype = self._space.genotype(picks)
        error = self._judge(self._maker(genotype).module(), SEARCHED)
        self.genotypes.append(genotype)
        self.points.append([error, self._cost(genotype)])
        return {"error": error, "cost": self.points[-1][1]}

    def _cost(self, genotype: Genotype) -> float:
        """Multiply-accumulates times bits, as a share of those of the whole network at 8 bits."""
        graph = self._space.decode(genotype)
        shapes, spent = graph.shapes(), 0.0
        for node in graph.nodes.values():
            bits = 32 if node.op.weight is None else node.op.weight.format.bits
            spent += bits * node.op.macs(*(shapes[read] for read in node.inputs))
        return 100 * spent / self._whole


def volume(points: Sequence[Sequence[float]]) -> float:
    """The hypervolume in front of an error of 100 % and the whole cost, as a share of all."""
    return 100 * hypervolume(np.array(points) / 100, np.ones(2))


def main() -> None:
    """Search what is not searched yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", type=int, default=16)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--run", type=Path, default=Path("runs/own_model"))
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    results: list[dict[str, Any]] = []
    for seed in options.seeds:
        path = options.run / f"joint-{seed}-{options.budget}-{options.images}.json"
        if not path.exists():
            kept = Kept(options.run / f"slimming-figures-{seed}.json", float("inf"))
            made = searched(seed, kept, budget=options.budget, count=options.images)
            write_atomic(path, json.dumps(made).encode())
        results.append(json.loads(path.read_text()))
    lines = [
        [
            name,
            ", ".join(f"{volume(r[name]['points']):.1f}" for r in results),
            ", ".join(f"{volume(r[name]['other']):.1f}" for r in results),
        ]
        for name in ("bits", "channels", "both")
    ]
    show(["searched", "hypervolume, %, by seed", "on other images"], lines)


if __name__ == "__main__":
    main()
