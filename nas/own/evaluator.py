"""Policies of a user's network as evaluations: each network is made, run and judged once."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation, EvaluationError
from search_spaces.space import Genotype
from supernets.deployed import Deployed

HELD_OUT = "held_out"
"""The metric of samples that the search does not see, in the unit of the searched one."""


class Deploying(Protocol):
    """A maker of deployed networks from genotypes, such as `PostTraining`."""

    def __call__(self, genotype: Genotype) -> Deployed:
        """The network that a device runs."""
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
        judge: Judges a module with the arguments of the graph's inputs.
        seed: The seed of the search, which every evaluation records.
    """

    deployment: Deploying
    judge: Callable[[nn.Module], Judged]
    seed: int

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype, in the given order, made when the caller takes it.

        Raises:
            EvaluationError: A network cannot be made, or not be judged.
        """
        where = f"{socket.gethostname()}:{os.getpid()}:cpu"
        for genotype in genotypes:
            begun = time.perf_counter()
            try:
                found = self.judge(self.deployment(genotype).module())
            except EvaluationError:
                raise
            except Exception as error:
                raise EvaluationError(
                    f"evaluating genotype {genotype} failed: {type(error).__name__}: {error}"
                ) from error
            seconds = time.perf_counter() - begun
            yield [Evaluation(genotype, found.metrics, self.seed, seconds, where, found.answers)]
