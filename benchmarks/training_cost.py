"""The time and memory of elastic quantized training relative to plain training, as Markdown tables.

    python -m benchmarks.training_cost [--repetitions 15] [--threads 1] [--nets NAME ...]

The plain step is the forward and backward pass of the largest subnet in full precision, for the
labels alone. A sandwich has the largest subnet, two random ones and the smallest; it is compared
with as many plain steps. Two nets have a single architecture, so that all subnets of a sandwich
compute as much as the largest; the smaller subnets of the third compute less.

All variants are timed once per repetition, in a new random order, so that other load on the machine
slows all of them. Times are CPU seconds of the process; ratios are taken within a repetition.
Memory is the peak of what torch allocates during a step in addition to what was there before;
gradients are among it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from nas.tasks.criteria import Classification
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.inputs import channels_last
from supernets.quantizers import fake_quantize
from supernets.supernet import Supernet
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.freed_memory import keep_freed_memory
from supernets.training.methods import Methods
from supernets.training.samplers import Sandwich
from supernets.training.samplers.sandwich import sandwich
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.step import TrainingStep

_BITS = Policy(weight_bits=(2, 3, 4, 6, 8), activation_bits=(2, 3, 4, 6, 8))
_SUBNETS = 4
_WARM = 2  # repetitions that do not count


def cifar_space() -> SearchSpace:
    """A residual space around ResNet-20: 16, 32 and 64 channels, up to three blocks a stage."""
    return residual(
        inputs=(Input("image", (3, 32, 32)),),
        output=(10,),
        widths=[(8, 12, 16), (8, 12, 16), (16, 24, 32), (32, 48, 64)],
        depths=[(1, 2, 3)] * 3,
        policy=_BITS,
    )


def _single(side: int, widths: tuple[int, ...], depth: int) -> SearchSpace:
    """A residual network of one architecture with a choice of precisions."""
    return residual(
        inputs=(Input("image", (3, side, side)),),
        output=(10,),
        widths=[(width,) for width in widths],
        depths=[(depth,)] * 3,
        policy=_BITS,
    )


# Name -> space and batch size.
NETS = {
    "small-16": (_single(16, (8, 8, 32, 64), 1), 64),
    "resnet20-32": (_single(32, (16, 16, 32, 64), 3), 64),
    "space-32": (cifar_space(), 64),
}


@dataclass(frozen=True)
class Variant:
    """A timed step.

    Attributes:
        kind: `plain`, or `sandwich`.
        quantized: Whether subnets are quantized.
        fused: Whether fake quantization is compiled, where there is any.
        last: Whether channels are the last axis in memory.
    """

    kind: str
    quantized: bool
    fused: bool
    last: bool


VARIANTS = tuple(
    Variant(kind, quantized, fused, last)
    for last in (False, True)
    for kind in ("plain", "sandwich")
    for quantized in (False, True)
    for fused in ((False, True) if quantized else (True,))
)


@dataclass(frozen=True, eq=False)
class Training:
    """A training whose steps are measured."""

    step: TrainingStep
    batch: Batch

    @classmethod
    def made(cls, space: SearchSpace, size: int) -> Training:
        """A training on random images; quantizer steps fit them."""
        generator = torch.Generator().manual_seed(0)
        (image,) = space.graph.inputs.values()
        images = torch.randn(size, *image.shape, generator=generator)
        batch = {"image": images}, torch.randint(10, (size,), generator=generator)
        supernet, settings = Supernet(space, seed=0), TrainingSettings(float_epochs=1)
        initialise_steps(supernet, [images])
        context = TrainingContext(
            supernet, settings, schedule(settings, size), Classification(), lambda _: batch
        )
        return cls(TrainingStep(context, Methods()), batch)

    def run(self, variant: Variant, subnets: Sandwich) -> None:
        """Take the gradients of one step."""
        context = self.step.context
        inputs, labels = self.batch
        inputs = channels_last(inputs) if variant.last else inputs
        with _passes(fused=variant.fused):
            if variant.kind == "plain":
                largest = context.supernet.space.largest
                out = context.supernet(inputs, largest, quantize=variant.quantized)
                F.cross_entropy(out, labels).backward()
            else:
                moment = Moment(context.plan.float_steps if variant.quantized else 0, context.plan)
                self.step.gradients(moment, (inputs, labels), subnets)

    def drawn(self, rng: np.random.Generator) -> Sandwich:
        """The subnets of a step."""
        return sandwich(self.step.context.supernet.space, rng, random=_SUBNETS - 2)

    def seconds(self, variant: Variant, subnets: Sandwich) -> float:
        """The CPU seconds of one step; gradients are dropped before."""
        self.step.context.supernet.zero_grad()
        start = time.process_time()
        self.run(variant, subnets)
        return time.process_time() - start

    def megabytes(self, variant: Variant, subnets: Sandwich) -> float:
        """The peak of a step's allocations."""
        self.step.context.supernet.zero_grad()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            self.run(variant, subnets)
        events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
        changes = (e.nbytes() for e in sorted(events, key=lambda event: event.start_ns()))
        return max(accumulate(changes)) / 1e6


def _none(*_: object) -> None:
    """In place of the compiled passes; a mock of its own would keep all tensors it is given."""


@contextmanager
def _passes(*, fused: bool) -> Iterator[None]:
    """Fake quantization by the compiled passes, or by torch's operators only."""
    if fused:
        yield
    else:
        with mock.patch.object(fake_quantize, "fused_passes", _none):
            yield


def measure(training: Training, repetitions: int) -> dict[Variant, np.ndarray]:
    """The seconds of every variant, one entry per repetition; each repetition has new subnets."""
    rng = np.random.default_rng(0)
    found: dict[Variant, list[float]] = {variant: [] for variant in VARIANTS}
    for repetition in range(repetitions + _WARM):
        subnets = training.drawn(rng)
        for place in rng.permutation(len(VARIANTS)):
            taken = training.seconds(VARIANTS[place], subnets)
            if repetition >= _WARM:
                found[VARIANTS[place]].append(taken)
    return {variant: np.array(times) for variant, times in found.items()}


def rows(name: str, repetitions: int) -> list[str]:
    """The rows of the table for a net."""
    training = Training.made(*NETS[name])
    times, subnets = measure(training, repetitions), training.drawn(np.random.default_rng(0))
    memory = {v: training.megabytes(v, subnets) for v in VARIANTS}
    first = Variant("plain", quantized=False, fused=True, last=False)
    lines = []
    for v in VARIANTS:
        plain = Variant("plain", quantized=False, fused=True, last=v.last)
        count = _SUBNETS if v.kind == "sandwich" else 1
        cells = (
            name,
            "channels last" if v.last else "channels first",
            f"{v.kind}, {'quantized' if v.quantized else 'float'}",
            ("compiled" if v.fused else "torch") if v.quantized else "",
            _spread(1e3 * times[v]),
            _spread(times[v] / (count * times[plain])),
            _spread(times[v] / (count * times[first])),
            f"{memory[v]:.3g}",
            f"{memory[v] / memory[plain]:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _spread(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    sizes = ", ".join(f"{name} {NETS[name][1]}" for name in arguments.nets)
    print(
        f"Forward and backward, {arguments.threads} thread(s), {arguments.repetitions} interleaved "
        f"repetitions, median (quartiles); images per batch: {sizes}.\n"
    )
    print(
        "| net | layout | step | fake quantization | CPU ms | over its passes x the plain float "
        "step of the same layout | of channels first | peak MB | over plain float |"
    )
    print("| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name in arguments.nets:
        print("\n".join(rows(name, arguments.repetitions)), flush=True)


if __name__ == "__main__":
    main()
