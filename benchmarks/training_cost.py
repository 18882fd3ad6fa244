"""The time of elastic quantized training relative to plain training, as a Markdown table.

    python benchmarks/training_cost.py [--repetitions 15] [--batch 64] [--threads 2] [--device cpu]

All variants are timed once per repetition, in a new random order, so that other load on the machine
slows all of them. The figures are ratios within a repetition, as medians and quartiles over
repetitions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.supernet import Supernet
from supernets.training.sampling import Sandwich, sandwich
from supernets.training.schedule import TrainingSettings
from supernets.training.train import sandwich_step

Batch = tuple[torch.Tensor, torch.Tensor]
Run = Callable[[], object]
SETTINGS = TrainingSettings()
VARIANTS = (
    "largest subnet, full precision",
    "largest subnet, quantized",
    "sandwich of 4, full precision",
    "sandwich of 4, quantized",
)


def cifar_space() -> SearchSpace:
    """A residual space around ResNet-20: 16, 32 and 64 channels, up to three blocks a stage."""
    return residual(
        inputs=(Input("image", (3, 32, 32)),),
        output=(10,),
        widths=[(8, 12, 16), (8, 12, 16), (16, 24, 32), (32, 48, 64)],
        depths=[(1, 2, 3)] * 3,
        kernels=(3,),
        policy=Policy(weight_bits=(2, 3, 4, 6, 8), activation_bits=(4, 6, 8)),
    )


def plain_step(supernet: Supernet, batch: Batch, *, quantize: bool) -> None:
    """One forward and backward pass of the largest subnet, with the labels alone."""
    images, labels = batch
    logits = supernet(images, supernet.space.largest, quantize=quantize)
    F.cross_entropy(logits, labels).backward()


def variants(supernet: Supernet, batch: Batch, subnets: Sandwich) -> dict[str, Run]:
    """The timed variants by name; all sandwich steps have the same subnets."""
    plain = partial(plain_step, supernet, batch)
    step = partial(sandwich_step, supernet, batch, subnets, SETTINGS)
    runs = [
        partial(kind, quantize=quantize) for kind in (plain, step) for quantize in (False, True)
    ]
    return dict(zip(VARIANTS, runs, strict=True))


def seconds(run: Run, supernet: Supernet) -> float:
    """The seconds of one run on the clock; gradients are dropped before."""
    supernet.zero_grad()
    _wait(supernet)
    start = time.perf_counter()
    run()
    _wait(supernet)
    return time.perf_counter() - start


def _wait(supernet: Supernet) -> None:
    if next(supernet.parameters()).is_cuda:
        torch.cuda.synchronize()


def measure(supernet: Supernet, batch: Batch, repetitions: int) -> dict[str, np.ndarray]:
    """The seconds of every variant, one entry per repetition; each repetition has new subnets."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for repetition in range(repetitions + 2):
        runs = variants(supernet, batch, sandwich(supernet.space, rng, random=2))
        for place in rng.permutation(len(VARIANTS)):
            taken = seconds(runs[VARIANTS[place]], supernet)
            if repetition >= 2:  # the first ones warm up
                found[VARIANTS[place]].append(taken)
    return {name: np.array(times) for name, times in found.items()}


def table(found: dict[str, np.ndarray]) -> str:
    """The Markdown table: milliseconds and ratio per variant, and share of fake quantization."""
    plain = found["largest subnet, full precision"]
    rows = ["| step | ms | over the plain step |", "| --- | ---: | ---: |"]
    rows += [f"| {name} | {_spread(1e3 * t)} | {_spread(t / plain)} |" for name, t in found.items()]
    rows += ["", "| share of a quantized step that is fake quantization | |", "| --- | ---: |"]
    for kind in ("largest subnet", "sandwich of 4"):
        share = 1 - found[f"{kind}, full precision"] / found[f"{kind}, quantized"]
        rows.append(f"| {kind} | {_spread(100 * share)} % |")
    return "\n".join(rows)


def _spread(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    supernet = Supernet(cifar_space(), seed=0).to(arguments.device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(arguments.batch, 3, 32, 32, generator=generator).to(arguments.device)
    labels = torch.randint(10, (arguments.batch,), generator=generator).to(arguments.device)
    initialise_steps(supernet, [images])
    found = measure(supernet, (images, labels), arguments.repetitions)
    print(
        f"Forward and backward, batch {arguments.batch}, {arguments.device}, {arguments.threads} "
        f"threads, torch {torch.__version__}, {arguments.repetitions} interleaved repetitions; "
        "median (quartiles).\n"
    )
    print(table(found))


if __name__ == "__main__":
    main()
