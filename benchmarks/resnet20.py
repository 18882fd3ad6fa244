"""ResNet-20 on CIFAR-10 at full size: one set of weights at 8, 4, 3 and 2 bits.

    python -m benchmarks.resnet20 [--parts elastic 8 4 3 2] [--epochs 2] [--threads 1]
        [--run FOLDER]

The training starts from published float weights (91.73 %, see `cifar_resnet_weights`). Every 3x3
convolution but the first chooses the bits of its weight, per channel, and the bits of its input,
per tensor, from 8, 4, 3 and 2. As is usual, the first convolution and the classifier have 8 bits,
and additions have full precision. A shortcut that halves the image takes every second pixel and
adds channels of zeros (option A of He et al. 2016): here a 1x1 convolution with fixed weights 0
and 1, which is neither quantized nor trained. A 2-bit weight is -1, 0 or 1 times a step.

The part `elastic` trains all bits at once; the part `4` trains 4 bits everywhere and nothing else,
from the same weights, for the same number of epochs, with the same settings. All networks are
deployed, with batch norms folded and integer biases, and measured on all 10,000 test images. The
statistics of norms are those of augmented training images.

Every part continues from its checkpoint in FOLDER, and its result is kept there; start a killed run
again with the same command. Several processes may do different parts at once. The table has all
results that are there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.cifar10_npz import labels, tiles
from benchmarks.ranking import only
from benchmarks.tables import ROOT
from nas.files.durable import write_atomic
from nas.tasks.augment import Augment
from nas.tasks.criteria import Classification
from nas.tasks.images import ImageAugmentation
from nas.tasks.task import Split, TrainSplit
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
)
from search_spaces.policy import Policy, uniform
from search_spaces.space import Genotype, SearchSpace
from supernets.checkpoint import load, save
from supernets.deploy import Deployment
from supernets.inputs import Inputs
from supernets.supernet import Supernet, set_weights
from supernets.training.schedule import TrainingSettings
from supernets.training.train import train

BITS = (2, 3, 4, 8)
PARTS = ("elastic", *map(str, reversed(BITS)))
WIDTHS, BLOCKS = (16, 32, 64), 3
MIXED = 5  # random mixed subnets that are measured
BATCH_SIZE, CALIBRATION_IMAGES, PORTION = 128, 4096, 500
TRAIN, TEST = [f"train_{n:02}" for n in range(25)], [f"test_{n:02}" for n in range(5)]
# The pixel statistics with which the float weights were trained.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHORTCUT = "skip"
SETTINGS = {
    "float_epochs": 0,
    "batch_size": BATCH_SIZE,
    "learning_rate": 0.04,
    "weight_decay": 1e-4,
    "distillation": 0.5,
    "random_subnets": 2,
    "schedule": "cosine",
    "mix": "constant",
}


def resnet20() -> SearchSpace:
    """ResNet-20 (He et al. 2016, section 4.2), of which every inner layer chooses its bits."""
    policy = Policy(weight_bits=BITS, activation_bits=BITS, fineness="layer")
    graph = Graph(Input("image", (3, 32, 32)))
    graph.add("conv1", Conv2d(WIDTHS[0], 3, **policy.edge()))
    graph.add("conv1.norm", BatchNorm2d())
    x = graph.add("conv1.relu", Activation("relu"))
    for s, width in enumerate(WIDTHS):
        for b in range(BLOCKS):
            stride = 2 if s and not b else 1
            x = _block(graph, x, (f"layer{s + 1}", f"{b}"), (width, stride), policy)
    graph.add("pool", GlobalPool(), x)
    graph.add("flatten", Flatten())
    graph.add("linear", Linear(10, **policy.edge()))
    return SearchSpace(graph, name="resnet20")


def _block(
    graph: Graph, x: str, where: tuple[str, str], shape: tuple[int, int], policy: Policy
) -> str:
    here, (width, stride) = ".".join(where), shape
    for number, steps in ((1, stride), (2, 1)):
        layer = f"{here}.conv{number}"
        precision = policy.layer(*where, f"conv{number}")
        graph.add(layer, Conv2d(width, 3, steps, **precision), *([x] if number == 1 else []))
        main = graph.add(f"{layer}.norm", BatchNorm2d())
        if number == 1:
            graph.add(f"{layer}.relu", Activation("relu"))
    skip = x if stride == 1 else graph.add(f"{here}.{SHORTCUT}", Conv2d(width, 1, stride), x)
    graph.add(f"{here}.add", Add(), main, skip)
    return graph.add(f"{here}.relu", Activation("relu"))


def published() -> dict[str, Tensor]:
    """The published float weights, and those of shortcuts, by the names of our supernet."""
    held: dict[str, Tensor] = {}
    with np.load(ROOT / "cifar_resnet_weights" / "resnet20.npz", allow_pickle=False) as file:
        for name, values in file.items():
            *where, layer, kind = name.split(".")
            if layer.startswith("bn") and kind in ("weight", "bias"):
                layer, kind = f"conv{layer[2:]}.norm", {"weight": "scale", "bias": "shift"}[kind]
            if not kind.startswith("running"):
                held[".".join((*where, layer, kind))] = torch.from_numpy(values)
    for s, (narrow, wide) in enumerate(pairwise(WIDTHS), start=2):
        held[f"layer{s}.0.{SHORTCUT}.weight"] = option_a(narrow, wide)
    return held


def option_a(narrow: int, wide: int) -> Tensor:
    """The weight `(wide, narrow, 1, 1)` that adds as many channels of zeros on either side."""
    added = torch.zeros((wide - narrow) // 2, narrow, 1, 1)
    return torch.cat([added, torch.eye(narrow).reshape(narrow, narrow, 1, 1), added])


def started(space: SearchSpace) -> Supernet:
    """The supernet of `space` with the published weights and with shortcuts that do not learn."""
    supernet = Supernet(space, seed=0)
    set_weights(supernet, published())
    for address in space.graph.nodes:
        if address.endswith(f".{SHORTCUT}"):
            supernet.node(address).tensors["weight"].requires_grad = False
    return supernet


@cache
def images(train_sheets: tuple[str, ...], test_sheets: tuple[str, ...]) -> tuple[TrainSplit, Split]:
    """The images of some sheets, `(n, 3, 32, 32)`, normalised; the first ones with augmentation."""
    known = labels(ROOT / "cifar10")
    mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (MEAN, STD))

    def split(names: tuple[str, ...]) -> tuple[dict[str, Tensor], Tensor]:
        sheets = [tiles(ROOT / "cifar10" / f"{name}.webp") for name in names]
        pixels = torch.from_numpy(np.concatenate(sheets)).permute(0, 3, 1, 2).float()
        found = torch.from_numpy(np.concatenate([known[name] for name in names]).astype(np.int64))
        return {"image": pixels.div_(255).sub_(mean).div_(std)}, found

    augment = ImageAugmentation(Augment(shift=4, flip=True), (-mean / std).reshape(-1))
    return TrainSplit(*split(train_sheets), augment), Split(*split(test_sheets))


def calibration(split: TrainSplit) -> list[Inputs]:
    """Batches of augmented training images, of which deployment takes the statistics of norms.

    Weights trained on shifted images expect their statistics: the published float weights lose 3.7
    points on a test sheet (92.1 to 88.4 %) with those of images that are not shifted.
    """
    rng = np.random.default_rng(0)
    order = np.arange(CALIBRATION_IMAGES).reshape(-1, BATCH_SIZE)
    return [split.batch(rows, rng)[0] for rows in order]


def accuracy(module: torch.nn.Module, split: Split) -> float:
    """The accuracy of a network in percent."""
    with torch.no_grad():
        right = sum(int((module(**x).argmax(1) == y).sum()) for x, y in split.batches(PORTION))
    return 100 * right / len(split)


def measured(space: SearchSpace) -> dict[str, Genotype]:
    """The subnets that are measured, by name: the same bits everywhere, then mixed ones."""
    found = {f"W{b}A{b}": uniform(space, b, space.smallest) for b in reversed(BITS)}
    rng = np.random.default_rng(0)
    mixed = {f"mixed {n}": space.sample(rng) for n in range(1, MIXED + 1)}
    return {name: genotype for name, genotype in found.items() if genotype is not None} | (
        mixed if space.choices else {}
    )


def result_of(part: str, epochs: int, folder: Path) -> Path:
    """The file with the result of a part."""
    return folder / f"{part}-{epochs}.json"


def done(part: str, epochs: int, folder: Path) -> Mapping[str, float]:
    """The test accuracies of a part's subnets in percent; trained and measured once, and kept."""
    result = result_of(part, epochs, folder)
    if not result.exists():
        space = resnet20()
        if part != "elastic":
            chosen = uniform(space, int(part), space.smallest)
            assert chosen is not None
            space = only(space, chosen)
        settings = TrainingSettings(**SETTINGS, quantized_epochs=epochs)
        train_split, test = images(tuple(TRAIN), tuple(TEST))
        supernet = trained(part, settings, space, train_split, folder)
        deployment = Deployment(supernet, calibration(train_split))
        names = measured(space) if part == "elastic" else {f"W{part}A{part}": ()}
        found = {n: accuracy(deployment(g).module(), test) for n, g in names.items()}
        write_atomic(result, json.dumps({"settings": asdict(settings), "accuracy": found}).encode())
    return json.loads(result.read_text())["accuracy"]


def trained(
    part: str, settings: TrainingSettings, space: SearchSpace, split: TrainSplit, folder: Path
) -> Supernet:
    """The trained weights of a part; from `folder` if they are there."""
    path = folder / f"{part}-{settings.quantized_epochs}.safetensors"
    if path.exists():
        return load(space, path)
    supernet, state = started(space), path.with_suffix(".state")
    begun = time.monotonic()

    def progress(step: int, total: int, losses: Mapping[str, float]) -> None:
        if step % 50 == 0 or step == total:
            seen = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            seconds = time.monotonic() - begun
            print(f"{part}: step {step} of {total}, {seconds:.0f} s, {seen}", flush=True)

    train(
        supernet,
        split,
        settings,
        criterion=Classification(label_smoothing=0.0),
        state_path=state,
        progress=progress,
    )
    save(supernet, path)
    state.unlink()
    return supernet


def table(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The lines of the table of all results that are there, by part."""
    shared = results.get("elastic", {})
    alone = {name: value for part in PARTS[1:] for name, value in results.get(part, {}).items()}

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    lines = ["| bits | one set of weights, % | trained for these bits alone, % | difference |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for name in dict.fromkeys([*shared, *alone]):
        one, other = shared.get(name), alone.get(name)
        gap = "" if one is None or other is None else f"{one - other:+.2f}"
        lines.append(f"| {name} | {cell(one)} | {cell(other)} | {gap} |")
    return lines


def main() -> None:
    """Do the parts that are asked for, and print the table of all results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", type=Path, default=Path("runs/resnet20"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.run.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        done(part, options.epochs, options.run)
    there = [p for p in PARTS if result_of(p, options.epochs, options.run).exists()]
    for line in table({part: done(part, options.epochs, options.run) for part in there}):
        print(line)


if __name__ == "__main__":
    main()
