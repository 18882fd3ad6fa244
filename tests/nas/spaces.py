"""Spaces and stand-ins that the tests of the engine share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from nas.evaluation.evaluation import Evaluation
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace


def small_space(*, channels: int = 1) -> SearchSpace:
    """A few hundred residual networks of two stages' widths, one elastic depth and precisions."""
    return residual(
        inputs=(Input("image", (channels, 8, 8)),),
        output=(10,),
        widths=((4, 8), (8, 16)),
        depths=((1, 2),),
        policy=Policy(weight_granularities=(PerTensor(), PerChannel())),
    )


def tiny_space() -> SearchSpace:
    """Four residual networks: two widths at two places."""
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        widths=((4, 8), (8, 16)),
        depths=((1,),),
        policy=Policy(weight_bits=(8,), activation_bits=(8,)),
    )


def measured(genotype: Genotype, *, where: str = "here") -> Evaluation:
    """A made-up measurement: a pure function of the genotype that needs all its digits."""
    digest = hashlib.sha256(repr(genotype).encode()).digest()
    error, loss = np.frombuffer(digest[:8], dtype=np.uint32) / 2**32
    return Evaluation(genotype, {"error": 100 * float(error), "loss": float(loss)}, 0, 0.5, where)


class Recorder:
    """An evaluator that notes what it was asked, and can fail at a certain evaluation."""

    def __init__(self, *, fail_at: int | None = None, error: BaseException | None = None) -> None:
        self.asked: list[Genotype] = []
        self._fail_at = fail_at
        self._error = error or KeyboardInterrupt()

    def __call__(self, genotypes: Sequence[Genotype]) -> Iterator[list[Evaluation]]:
        for genotype in genotypes:
            if len(self.asked) == self._fail_at:
                raise self._error
            self.asked.append(genotype)
            yield [measured(genotype)]


class Wanderer:
    """A searcher whose every proposal depends on all it was told, and on the order of it."""

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        self._space = space
        self._history: list[float] = [float(seed)]
        self._proposed: dict[Genotype, None] = {}

    def ask(self, count: int) -> list[Genotype]:
        seed = int.from_bytes(hashlib.sha256(repr(self._history).encode()).digest()[:8])
        rng = np.random.default_rng(seed)
        fresh: list[Genotype] = []
        while len(fresh) < count and len(self._proposed) < self._space.size:
            genotype = self._space.sample(rng)
            if genotype not in self._proposed:
                self._proposed[genotype] = None
                fresh.append(genotype)
        return fresh

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        self._history += [evaluation.metrics["loss"] for evaluation in evaluations]
        self._proposed.update((evaluation.genotype, None) for evaluation in evaluations)
