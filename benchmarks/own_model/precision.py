"""Bits of a trained ResNet-20 without training: accuracy by mean bits, and by calibration images.

    python -m benchmarks.own_model.precision [--seeds 0 1 2] [--run FOLDER]

The float network gets 91.73 % of the 10,000 test images right. Every weight, those of the first and
last layers included, chooses from 2, 3, 4, 5, 6 and 8 bits per output channel; activations stay in
floats. An exact knapsack gives the bits within a budget of mean bits, from what each layer loses,
seen in two ways. Of these allocations, and of uniform bits where the budget is a whole number, that
one is measured whose network is nearest to the float network on other unlabelled images. A seed
draws the images; nothing else is random, and no label is used.

`W4A4` has weights and inputs of 4 bits everywhere but in the first and last layers, which have 8.
Results and the seconds of CPU that each network took are kept in FOLDER; a run continues where it
was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.own_model.data import TEST, accuracy, calibration, resnet
from benchmarks.search_tabular import show
from nas.evaluation.rewrites import post_training
from nas.files.durable import write_atomic
from nas.search.allocation import allocate
from search_spaces.formats import Int
from search_spaces.opening import Opening, opened
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import Genotype, SearchSpace
from supernets.deployed import Deployed, values
from supernets.inputs import Inputs
from supernets.post_training import PostTraining
from supernets.post_training.output_error import output_errors
from supernets.tracing import Traced, trace

FloatArray = NDArray[np.float64]

BITS = (2, 3, 4, 5, 6, 8)
MEANS = (4.0, 3.5, 3.0, 2.5)
WEIGHTS_ONLY = ("adaquant",)
WITH_INPUTS = ("smooth", "ranges", "adaquant", "round-biases")
IMAGES, SCORED, JUDGED, BATCH = 512, 128, 256, 64
MANY, FEW = 1024, 64  # calibration images that are compared at 3 bits
SEEDS = (0, 1, 2)


@cache
def traced() -> Traced:
    """The graph and the tensors of the trained network."""
    return trace(resnet(20), torch.zeros(2, 3, 32, 32))


def weights_only() -> SearchSpace:
    """The space of the bits of all weights; `None`, the last option of each, is full precision."""
    opening = Opening(weights=(*BITS, None), activations=(None,))
    return SearchSpace(opened(traced().graph, opening), name="resnet20")


def maker(space: SearchSpace, images: Sequence[Inputs], *rewrites: str) -> PostTraining:
    """The maker of networks of a space, calibrated on `images`."""
    return post_training(space, traced().tensors, images, rewrites=rewrites)


def distance(deployed: Deployed, wanted: Sequence[Tensor], images: Sequence[Inputs]) -> float:
    """The mean Kullback-Leibler divergence of the outputs from the `wanted` ones."""
    module, total, seen = deployed.module(), 0.0, 0
    for batch, target in zip(images, wanted, strict=True):
        with torch.no_grad():
            logs = (module(**batch).log_softmax(1), target.log_softmax(1))
        total += float(F.kl_div(*logs, reduction="sum", log_target=True))
        seen += len(target)
    return total / seen


def uniform(space: SearchSpace, bits: int) -> Genotype:
    """The genotype with these bits everywhere."""
    return (BITS.index(bits),) * len(space.choices)


def sizes(made: PostTraining) -> FloatArray:
    """The numbers of weights, `(layers,)`."""
    network = made.reference(made.space.largest).network
    found = (network.weight(address) for address in layers(made.space))
    return np.array([0 if weight is None else values(weight).size for weight in found], float)


def layers(space: SearchSpace) -> list[str]:
    """The addresses of the layers, in the order of the choices."""
    return [made.name.removesuffix(".weight.bits") for made in space.choices]


def losses(made: PostTraining) -> dict[str, FloatArray]:
    """What the network loses with one layer rounded, `(layers, bits)`, in two ways.

    `distance` is that of the network's output with the layer rounded to the nearest, times the
    share of the layer's own error that is left after rounding with error feedback. `slope` is the
    layer's own error with feedback, times the network's distance for each unit of it at 3 bits.
    """
    space, reference = made.space, made.reference(made.space.largest)
    at = {address: [Quant(Int(bits), PerChannel()) for bits in BITS] for address in layers(space)}
    errors = output_errors(reference, at)
    shape = (len(space.choices), len(BITS))
    away, near, fed = (np.zeros(shape) for _ in range(3))
    for layer, (address, quants) in enumerate(at.items()):
        for option, quant in enumerate(quants):
            picks = [*space.largest]
            picks[layer] = option
            network = made(tuple(picks))
            away[layer, option] = distance(network, reference.outputs, reference.batches)
            near[layer, option] = errors[address][quant].nearest
            fed[layer, option] = errors[address][quant].feedback
    middle = BITS.index(3)
    slopes = away[:, middle] / near[:, middle]
    return {"distance": away * fed / near, "slope": slopes[:, None] * fed}


def allocated(losses: FloatArray, weights: FloatArray, mean: float) -> Genotype:
    """The options with the least summed loss within so many mean bits per weight."""
    falling = np.minimum.accumulate(losses, axis=1)  # more bits are never worse
    costs = weights[:, None] * np.array(BITS)
    counts, budget = np.full(len(losses), len(BITS)), np.array([mean * weights.sum()])
    row = allocate(falling.ravel(), costs.ravel(), counts=counts, budgets=budget)[0]
    return tuple(int(option) for option in row)


def mixed(seed: int, folder: Path, *, mean: float) -> dict[str, object]:
    """The network of a budget: of allocations and uniform bits, the nearest on other images."""
    drawn = calibration(seed, IMAGES + JUDGED, batch=BATCH)
    images, judging = drawn[: IMAGES // BATCH], drawn[IMAGES // BATCH :]
    space = weights_only()
    made = maker(space, images, *WEIGHTS_ONLY)
    weights, known = sizes(made), scores(seed, images, folder)
    begun = time.process_time()
    tables = {name: np.array(table) for name, table in known["losses"].items()}
    found = {name: allocated(table, weights, mean) for name, table in tables.items()}
    solved = (time.process_time() - begun) / len(found)
    if mean in BITS:
        found["uniform"] = uniform(space, int(mean))
    module = made.full_precision(space.largest)
    with torch.no_grad():
        wanted = [module(**batch) for batch in judging]
    networks = {name: made(row) for name, row in found.items()}
    judged = {name: distance(one, wanted, judging) for name, one in networks.items()}
    seconds = known["seconds"] + time.process_time() - begun
    best = min(judged, key=lambda name: judged[name])
    bits = np.array([BITS[option] for option in found[best]])
    return {
        "accuracy": accuracy(networks[best].module(), TEST),
        "mean": float((bits * weights).sum() / weights.sum()),
        "by": best,
        "bits": " ".join(map(str, bits)),
        "distances": judged,
        "seconds": seconds,
        "allocation seconds": solved,
    }


def scores(seed: int, images: Sequence[Inputs], folder: Path) -> dict[str, Any]:
    """The losses of each layer and option, measured once for all budgets and kept in `folder`."""
    path = folder / f"scores-{seed}.json"
    if not path.exists():
        begun = time.process_time()
        found = losses(maker(weights_only(), images[: SCORED // BATCH], "nearest"))
        held = {name: table.tolist() for name, table in found.items()}
        content = {"losses": held, "seconds": time.process_time() - begun}
        write_atomic(path, json.dumps(content).encode())
    return json.loads(path.read_text())


def everywhere(seed: int, folder: Path, *, bits: int, images: int) -> dict[str, object]:  # noqa: ARG001
    """The network with the same bits for all weights, calibrated on so many images."""
    space = weights_only()
    made = maker(space, calibration(seed, images, batch=BATCH), *WEIGHTS_ONLY)
    begun = time.process_time()
    network = made(uniform(space, bits))
    seconds = time.process_time() - begun
    return {"accuracy": accuracy(network.module(), TEST), "seconds": seconds}


def four_bits(seed: int, folder: Path) -> dict[str, object]:  # noqa: ARG001
    """The network with weights and inputs of 4 bits, and of 8 in the first and last layers."""
    space = SearchSpace(
        opened(traced().graph, Opening(weights=(4,), activations=(4,), edges=(8,))),
        name="resnet20-w4a4",
    )
    begun = time.process_time()
    network = maker(space, calibration(seed, IMAGES, batch=BATCH), *WITH_INPUTS)(())
    seconds = time.process_time() - begun
    return {"accuracy": accuracy(network.module(), TEST), "seconds": seconds}


Part = Callable[[int, Path], Mapping[str, object]]
PARTS: Mapping[str, Part] = {
    "W4A4, edges 8": four_bits,
    **{f"mean {mean}": partial(mixed, mean=mean) for mean in MEANS},
    f"3 bits, {MANY} images": partial(everywhere, bits=3, images=MANY),
    f"3 bits, {FEW} images": partial(everywhere, bits=3, images=FEW),
}


def done(name: str, seed: int, folder: Path) -> Mapping[str, object]:
    """The result of a part; measured once, and kept."""
    path = folder / f"{name.replace(' ', '-').replace(',', '')}-{seed}.json"
    if not path.exists():
        write_atomic(path, json.dumps(PARTS[name](seed, folder)).encode())
        print(name, seed, path.read_text(), flush=True)
    return json.loads(path.read_text())


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--run", type=Path, default=Path("runs/own_model"))
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    results = {
        name: [done(name, seed, options.run) for seed in options.seeds] for name in options.parts
    }
    show(
        ["network", "accuracy, %, by seed", "mean", "bits by"],
        [[name, *_cells(found)] for name, found in results.items()],
    )


def _cells(found: Sequence[Mapping[str, object]]) -> list[str]:
    got = [float(str(one["accuracy"])) for one in found]
    ways = dict.fromkeys(str(one.get("by", "uniform")) for one in found)
    return [", ".join(f"{a:.2f}" for a in got), f"{np.mean(got):.2f}", ", ".join(ways)]


if __name__ == "__main__":
    main()
