"""Policies of a user's network as evaluations: each network is made, run and judged once."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor, nn

from nas.evaluation.answers import Answers
from nas.evaluation.apart import apart, joined
from nas.evaluation.evaluation import Evaluation, EvaluationError, EvaluatorFactory
from search_spaces.space import Genotype
from supernets.deployed import Deployed

HELD_OUT = "held_out"
"""The metric of samples that the search does not see, in the unit of the searched one."""


class Deploying(Protocol):
    """A maker of deployed networks from genotypes, such as `PostTraining`."""

    def __call__(self, genotype: Genotype) -> Deployed:
        """The network that a device runs."""
        ...

    @property
    def given(self) -> Iterable[Tensor]:
        """The tensors that it was made of, to which nobody writes."""
        ...


class Judging(Protocol):
    """A judge of modules with the arguments of a graph's inputs."""

    def __call__(self, network: nn.Module) -> Judged:
        """What is found of a network."""
        ...

    @property
    def given(self) -> Iterable[Tensor]:
        """The tensors of its samples, to which nobody writes."""
        ...


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found of one network.

    Attributes:
        metrics: The losses by name, `error` among them.
        answers: The loss of each sample of which `error` is the mean, if it is known.
    """

    metrics: Mapping[str, float]
    answers: Answers | None = None


@dataclass(frozen=True, eq=False)
class PolicyEvaluator:
    """An evaluator of the policies of a user's network, as they ship.

    Attributes:
        deployment: Makes the networks.
        judge: Judges the networks.
        seed: The seed of the search, which every evaluation records.
    """

    deployment: Deploying
    judge: Judging
    seed: int

    def factory(self) -> EvaluatorFactory:
        """The factory that builds this evaluator in another process."""
        frame, arrays = apart(self, [*self.deployment.given, *self.judge.given])
        return EvaluatorFactory(partial(joined, frame), arrays)

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype, in the given order, made when the caller takes it.

        Raises:
            EvaluationError: A network cannot be made, or not be judged.
        """
        where = f"{socket.gethostname()}:{os.getpid()}:cpu"
        for genotype in genotypes:
            begun = time.perf_counter()
            try:
                found = self.found(genotype)
            except EvaluationError:
                raise
            except Exception as error:
                raise EvaluationError(
                    f"evaluating genotype {genotype} failed: {type(error).__name__}: {error}"
                ) from error
            seconds = time.perf_counter() - begun
            yield [Evaluation(genotype, found.metrics, self.seed, seconds, where, found.answers)]

    def found(self, genotype: Genotype) -> Judged:
        """What is found of a network."""
        return self.judge(self.deployment(genotype).module())
