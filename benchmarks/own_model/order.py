"""Inter-layer order against Hessian order: how few bits keep the accuracy of trained ResNets.

    python -m benchmarks.own_model.order [--depths 20 32 44 56] [--seeds 0 1 2] [--seconds 600]
        [--run FOLDER]

Every weight, per output channel, goes from 8 bits to 6, 5, 4, 3 and 2, one step at a time, until
the accuracy is no longer 99 or 99.9 % of that of the float network; the number of steps is found by
bisection. The orders of the steps differ. `Hessian` is the order of HAWQ: half the mean Hessian
trace times the squared weight error, without regard to other layers. `inter-layer` adds what each
pair of layers loses together (Schaefer et al. 2023), of all pairs, by the squared distance of
logits. Both exist by what a step
loses, as published, and by what a step loses for each bit that it saves. Weights are rounded to the
nearest and nothing is repaired, so that only the order counts.

Sensitivities are measured on unlabelled training images, and the accuracy is judged on test images;
a seed draws both. The table has the mean bits per weight. Results are kept in FOLDER; a run that
stops after so many seconds of processor time is continued by the same command.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.own_model.data import JUDGED, TEST, calibration, images, resnet
from benchmarks.search_tabular import show
from nas.files.durable import write_atomic
from nas.problem.goals import ArrayCost
from nas.search.allocation.ordered import bisected, descent
from nas.tasks.criteria import Classification
from predictors.proxies.sensitivity import (
    Entry,
    InteractionCost,
    Interactions,
    SensitivityCost,
    Site,
    Study,
    hessian_trace,
    interactions,
    measured,
    open_precisions,
    weight_names,
)
from predictors.proxies.sensitivity.study import Distance
from search_spaces.costs import SpaceKernels
from search_spaces.kernels import Kernel
from search_spaces.opening import Opening, opened
from search_spaces.quant import bits_of
from search_spaces.space import Genotype, SearchSpace
from supernets.assemble import module_name, node_names
from supernets.post_training import float_network
from supernets.tracing import Traced, trace

BITS = (2, 3, 4, 5, 6, 8)
KEPT = (0.99, 0.999)
IMAGES, JUDGING, PORTION = 128, 1000, 250
DIVERGENCE = Classification().distance
ORDERS = ("Hessian", "inter-layer", "Hessian per bit", "inter-layer per bit")


@cache
def traced(depth: int) -> Traced:
    """The graph and the tensors of a trained network."""
    return trace(resnet(depth), torch.zeros(2, 3, 32, 32))


@cache
def space_of(depth: int) -> SearchSpace:
    """The space of the bits of all its weights."""
    graph = opened(traced(depth).graph, Opening(weights=BITS, activations=(None,)))
    return SearchSpace(graph, name=f"resnet{depth}")


@cache
def study(depth: int, seed: int, distance: Distance = DIVERGENCE) -> Study:
    """The float network, with unlabelled images and the bits to try."""
    module = float_network(traced(depth).graph, traced(depth).tensors).module().eval()
    weights = open_precisions(space_of(depth).graph, "weight")
    return Study(
        module,
        calibration(seed, IMAGES, batch=64),
        distance,
        node_names(module),
        weight_names(module, {address: module_name(address) for address in weights}),
        {Site("weight", address): quants for address, quants in weights.items()},
        seed,
    )


def squared(out: Tensor, reference: Tensor) -> Tensor:
    """The squared distance of logits, the mean over the samples."""
    return (out - reference).square().sum(1).mean()


def weight_bits(kernel: Kernel) -> float:
    """The bits of a kernel's weights, without scales and biases."""
    return float(
        sum(
            np.prod(op.parameters(*reads)["weight"].shape) * bits_of(op.weight)
            for op, reads in kernel.members()
            if "weight" in op.parameters(*reads)
        )
    )


class Notes:
    """Numbers by name in a file, each computed once.

    Args:
        path: The file.
        until: The processor time of this process after which nothing new is begun.
    """

    def __init__(self, path: Path, until: float) -> None:
        self.path, self.until = path, until
        self.held: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def of(self, name: str, compute: Callable[[], object]) -> Any:
        """The note of this name; raises `TimeoutError` if the time is over."""
        if name not in self.held:
            if time.process_time() > self.until:
                raise TimeoutError
            self.held[name] = compute()
            write_atomic(self.path, json.dumps(self.held).encode())
        return self.held[name]


def losses(depth: int, seed: int, notes: Notes) -> dict[str, ArrayCost]:
    """The predicted losses of policies, by kind."""
    subject, space = study(depth, seed), space_of(depth)
    traces = notes.of("hessian", lambda: list(_hessian(subject).values()))
    values = dict(zip(subject.entries, np.array(traces), strict=True))
    plain = SensitivityCost({(e.site.address, e.quant): float(v) for e, v in values.items()})
    logits = study(depth, seed, squared)
    matrix = np.array(notes.of("interactions logits", partial(_interactions, logits)))
    return {
        "Hessian": SpaceKernels(space).compile_by_address(plain),
        "inter-layer": InteractionCost(space, Interactions(subject.entries, matrix)),
    }


def _interactions(subject: Study) -> list[list[float]]:
    return interactions(subject).matrix.tolist()


def _hessian(subject: Study) -> Mapping[Entry, float]:
    found = measured(subject, hessian_trace).weights
    return {e: found[e.site.address, e.quant] for e in subject.entries}


def accuracy(depth: int, seed: int, genotype: Genotype | None) -> float:
    """The share of right answers on judged images, with rounded weights or the float network."""
    subject, (shown, classes) = study(depth, seed), judged(seed)
    entries: list[Entry] = []
    if genotype is not None:
        graph = space_of(depth).decode(genotype)
        quants = {site: graph.nodes[site.address].op.weight for site in subject.precisions}
        entries = [Entry(site, quant) for site, quant in quants.items() if quant is not None]
    right = [
        subject.run({"image": x}, entries).argmax(1) == y
        for x, y in zip(shown.split(PORTION), classes.split(PORTION), strict=True)
    ]
    return float(torch.cat(right).double().mean())


@cache
def judged(seed: int) -> tuple[Tensor, Tensor]:
    """Images with classes: test images for the reported seeds, below 10, else training images."""
    shown, classes = images(TEST if seed < 10 else JUDGED)
    drawn = torch.from_numpy(np.random.default_rng([seed, 1]).permutation(len(shown))[:JUDGING])
    return shown[drawn], classes[drawn]


def found(depth: int, seed: int, notes: Notes) -> dict[str, float]:
    """The mean bits of every order and share of the accuracy, by name."""
    space, known = space_of(depth), losses(depth, seed, notes)
    cost = SpaceKernels(space).compile(weight_bits)
    whole = cost(np.array([space.largest]))[0] / BITS[-1]
    best = float(notes.of("float", lambda: accuracy(depth, seed, None)))
    result: dict[str, float] = {}

    def right(genotype: Genotype) -> float:
        name = ",".join(map(str, genotype))
        return float(notes.of(name, lambda: accuracy(depth, seed, genotype)))

    for order in ORDERS:
        loss = known[order.removesuffix(" per bit")]
        way = descent(
            space,
            space.largest,
            loss=loss,
            cost=cost,
            choices=list(space.column),
            per_cost=order.endswith("per bit"),
        )
        for share in KEPT:
            last, _ = bisected(way, lambda genotype, least=share * best: right(genotype) >= least)
            result[f"{order}, {share:.1%}"] = float(cost(np.array([last]))[0] / whole)
    return result


def main() -> None:
    """Measure what is asked for, and print a table of all that is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depths", nargs="*", type=int, default=[20, 32, 44, 56])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--run", type=Path, default=Path("runs/order"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    until, lines = options.seconds, list[list[str]]()
    for depth in options.depths:
        for seed in options.seeds:
            notes = Notes(options.run / f"resnet{depth}-{seed}.json", until)
            try:
                bits = found(depth, seed, notes)
            except TimeoutError:
                print(f"ResNet-{depth}, seed {seed}: {len(notes.held)} numbers so far")
                continue
            for share in KEPT:
                row = [f"{bits[f'{order}, {share:.1%}']:.2f}" for order in ORDERS]
                lines.append([f"ResNet-{depth}", str(seed), f"{share:.1%}", *row])
    show(["network", "seed", "accuracy kept", *ORDERS], lines)


if __name__ == "__main__":
    main()
