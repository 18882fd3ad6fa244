"""The slimmed ResNet-20 of the table on slimming: its networks, their losses, and their widths."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.own_model.data import calibration, images, resnet
from nas.evaluation.rewrites import post_training
from nas.files.durable import write_atomic
from nas.parts import Parts
from search_spaces.choice import Choice
from search_spaces.costs import compile_cost, macs, total
from search_spaces.coupling import coupling
from search_spaces.slimming import slimmed
from search_spaces.space import Genotype, SearchSpace
from supernets.inputs import Inputs
from supernets.post_training import PostTraining, Reference, float_network
from supernets.slimming import sorted_by
from supernets.tracing import Traced, trace

IMAGES, TESTED = 256, 1000
ROUNDS, BLOCKS = 10, 3
JUDGED = ("train_20",)
SHARES = tuple(n / 16 for n in range(2, 17))

Widths = Mapping[str, int]


class Kept:
    """Figures that are measured once and kept in a file, within a time of the processor.

    Args:
        path: The file.
        seconds: The time after which the program ends, to be started again.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._held: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def __call__(self, key: str, measure: Callable[[], Any]) -> Any:
        """The figure of this key."""
        if key not in self._held:
            if time.process_time() > self._seconds:
                raise SystemExit("time is up; start again")
            self._held[key] = measure()
            write_atomic(self._path, json.dumps(self._held).encode())
        return self._held[key]


@cache
def traced() -> Traced:
    """The graph and the tensors of the trained network."""
    return trace(resnet(20), torch.zeros(2, 3, 32, 32))


@dataclass
class Slimming:
    """The slimmed network with channels sorted by a score, calibrated on the images of a seed."""

    seed: int
    kept: Kept
    score: str = "reconstruction"
    rewrites: tuple[str, ...] = ("least-squares",)

    def __post_init__(self) -> None:
        graph = traced().graph
        self.name = f"{self.score} {', '.join(self.rewrites)}"
        self.batches = calibration(self.seed, IMAGES)
        self.space = SearchSpace(slimmed(graph, shares=SHARES)).restrict(_inside_blocks)
        self.options: dict[str, tuple[int, ...]] = {c.name: c.options for c in self.space.choices}
        self.whole, self.cost = total(macs, graph), compile_cost(self.space, macs)

    @cached_property
    def numbers(self) -> dict[str, list[float]]:
        """The scores of all units, which are kept."""

        def measured() -> dict[str, list[float]]:
            graph, tensors = traced().graph, traced().tensors
            reference = Reference(float_network(graph, tensors), self.batches)
            scores = Parts("importance")[self.score](reference, coupling(graph))
            return {name: numbers.tolist() for name, numbers in scores.items()}

        return self.kept(f"{self.score} numbers", measured)

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of the trained network, sorted by the score."""
        if not self.score:
            return traced().tensors
        held = {name: torch.tensor(numbers) for name, numbers in self.numbers.items()}
        graph, tensors = traced().graph, traced().tensors
        return sorted_by(lambda *_: held, graph, tensors=tensors, batches=self.batches)

    @cached_property
    def made(self) -> PostTraining:
        """The maker of narrower networks."""
        return post_training(self.space, self.tensors, self.batches, rewrites=self.rewrites)

    @cached_property
    def exact(self) -> Tensor:
        """The outputs of the float network for the calibration images."""
        return torch.cat([*self.made.reference(self.space.largest).outputs])

    def genotype(self, widths: Widths) -> Genotype:
        """The genotype with these options, and the largest ones of other choices."""
        return tuple(
            found.index(widths.get(name, found[-1])) for name, found in self.options.items()
        )

    def module(self, widths: Widths) -> nn.Module:
        """The network in floats."""
        return self.made.full_precision(self.genotype(widths))

    def width(self, name: str, widths: Widths) -> int:
        """The option that a choice has."""
        return widths.get(name, self.options[name][-1])

    def saved(self, widths: Widths) -> float:
        """The share of multiplications that is saved."""
        return 1 - float(self.cost(np.array([self.genotype(widths)]))[0]) / self.whole

    def distance(self, widths: Widths) -> float:
        """The divergence of the outputs from those of the float network, on calibration images."""

        def measured() -> float:
            module = self.module(widths)
            return divergence(shown(module, self.batches), self.exact)

        key = f"{self.name} distance {sorted(widths.items())}"
        return self.kept(key, measured)

    def tested(self, widths: Widths, sheets: Sequence[str]) -> float:
        """The accuracy in percent on the first 1,000 images of some sheets."""
        key = f"{self.name} accuracy {sorted(widths.items())}"
        return self.kept(key, lambda: tested(self.module(widths), sheets))


def _inside_blocks(made: Choice[Any], option: object) -> bool:
    """Whether an option keeps the channels between blocks, of which all are always kept."""
    inner = made.name.endswith(".present") or made.name.removesuffix(".conv1.width") != made.name
    return inner or option == made.options[-1]


def divergence(given: Tensor, wanted: Tensor) -> float:
    """The mean Kullback-Leibler divergence of outputs from the wanted ones."""
    logs = given.log_softmax(1), wanted.log_softmax(1)
    return float(F.kl_div(*logs, reduction="batchmean", log_target=True))


def shown(module: nn.Module, batches: Sequence[Inputs]) -> Tensor:
    """The outputs for all batches."""
    with torch.no_grad():
        return torch.cat([module(**batch) for batch in batches])


def tested(module: nn.Module, sheets: Sequence[str]) -> float:
    """The accuracy in percent on the first 1,000 images of some sheets."""
    right = given(module, sheets).argmax(1) == images(tuple(sheets))[1][:TESTED]
    return 100 * float(right.double().mean())


def given(module: nn.Module, sheets: Sequence[str]) -> Tensor:
    """The outputs for the first 1,000 images of some sheets."""
    with torch.no_grad():
        return torch.cat([module(x) for x in images(tuple(sheets))[0][:TESTED].split(250)])


def alike(made: Slimming, cut: float) -> dict[str, int]:
    """The same share of channels in every group, the largest share that saves at least `cut`."""
    inner = [name for name in made.options if name.endswith(".width")]
    for place in reversed(range(len(SHARES))):
        found = {name: made.options[name][place] for name in inner}
        if made.saved(found) >= cut:
            return found
    raise ValueError(f"no share of channels saves {cut:.0%}; offer smaller shares")


class Foretold:
    """The loss of every group at every width: measured at half of it, and spread by the score."""

    def __init__(self, made: Slimming) -> None:
        self.loss: dict[str, dict[int, float]] = {}
        for name, found in made.options.items():
            if name.endswith(".present"):
                self.loss[name] = {True: 0.0, False: made.distance({name: False})}
                continue
            rising = [0.0, *sorted(made.numbers[name])]
            error = {width: rising[found[-1] - width] for width in found}
            half = found[len(found) // 2 - 1]
            per_error = made.distance({name: half}) / max(error[half], 1e-9)
            self.loss[name] = {width: per_error * e for width, e in error.items()}

    def cheapest(self, made: Slimming, widths: Widths, cut: float) -> dict[str, int]:
        """Widths that save `cut`: step by step, that which loses the least for what it saves."""
        found = dict(widths)
        while (before := made.saved(found)) < cut:
            steps = {
                (name, width): (loss - losses[made.width(name, found)])
                / max(made.saved({**found, name: width}) - before, 1e-9)
                for name, losses in self.loss.items()
                for width, loss in losses.items()
                if width < made.width(name, found)
            }
            name, width = min(steps, key=lambda step: steps[step])
            found[name] = width
        return found


def allocated(made: Slimming, foretold: Foretold, cut: float) -> dict[str, int]:
    """The widths that save `cut` and come nearest to the float network, of those tried.

    Tried are the cheapest widths with all blocks, and without each of the blocks that lose least,
    and then changes of the nearest of them.
    """
    rng = np.random.default_rng(0)
    lost = {name: found[False] for name, found in foretold.loss.items() if False in found}
    starts = [{}, *({name: False} for name in sorted(lost, key=lambda n: lost[n])[:BLOCKS])]
    best = min((foretold.cheapest(made, start, cut) for start in starts), key=made.distance)
    names = [name for name in made.options if name not in lost]
    for _ in range(ROUNDS):
        name = names[rng.integers(len(names))]
        options = made.options[name]
        place = options.index(made.width(name, best))
        higher = min(len(options) - 1, place + int(rng.integers(1, 4)))
        if higher == place:
            continue
        tried = foretold.cheapest(made, {**best, name: options[higher]}, cut)
        if tried.get(name) == options[higher] and made.distance(tried) < made.distance(best):
            best = tried
    return best
