"""The context of a searcher: all that a search offers beside the problem and a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import Problem
from nas.search.searcher import Searcher
from predictors.features import Column
from predictors.gaussian import gaussian
from predictors.predictor import Predictor
from search_spaces.space import Genotype, SearchSpace

FloatArray = NDArray[np.float64]


class Knowledge(Protocol):
    """Knowledge of a space before any evaluation in it."""

    def columns(self) -> list[Column]:
        """Features of networks for a predictor."""
        ...

    def first(self, count: int) -> list[Genotype]:
        """Up to `count` networks that should be evaluated first."""
        ...


class Exchange(Protocol):
    """A function that estimates the changes in a network's loss from other picks."""

    def __call__(
        self, genotype: Genotype, others: Sequence[Genotype], rng: np.random.Generator
    ) -> FloatArray:
        """The loss of each of `others` minus that of `genotype`, to first order, `(n,)`.

        `rng` draws the samples on which the difference is measured.
        """
        ...


class Context:
    """The offers of a search; a run of a recipe makes more of them than this base class.

    Attributes:
        known: The number of evaluations of the space that the searcher is told at the start.
        probe: Knowledge from zero-cost proxies and sensitivities; None without a probe.
        experience: Knowledge from a run of a related space; None without one.
    """

    @property
    def known(self) -> int:
        """No evaluation is told at the start."""
        return 0

    @property
    def probe(self) -> Knowledge | None:
        """Nothing was probed."""
        return None

    @property
    def experience(self) -> Knowledge | None:
        """No other run is known."""
        return None

    @property
    def exchange(self) -> Exchange:
        """The first-order effect of other picks on the loss of a trained supernet.

        Raises:
            ValueError: There is no trained supernet.
        """
        raise ValueError(
            "this searcher follows the gradient of a trained supernet, which only the recipe of a "
            "supernet has; take another searcher here"
        )

    def predictor(self, space: SearchSpace, columns: Sequence[Column]) -> Predictor:
        """A new predictor of the loss, from picks and further features."""
        return gaussian(space, columns)


class Make(Protocol):
    """A function that makes a searcher; the table of parts has one for each name."""

    def __call__(self, problem: Problem, seed: int, context: Context, /) -> Searcher:
        """A searcher for a problem; `seed` and the evaluations told determine its proposals."""
        ...


def plain(kind: Callable[..., Searcher], **options: Any) -> Make:
    """The function that makes searchers of a class which needs only the problem and a seed.

    Args:
        kind: The class.
        options: Further arguments of the class.
    """

    def make(problem: Problem, seed: int, _context: Context) -> Searcher:
        return kind(problem, seed=seed, **options)

    make.__module__, make.__qualname__ = kind.__module__, kind.__qualname__
    return make
