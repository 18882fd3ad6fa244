"""Evaluators that Ray workers import: they answer at once, wait, fail or die on demand."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from nas.evaluation.evaluation import Arrays, Evaluation, EvaluatorFactory
from search_spaces.space import Genotype
from tests.nas.spaces import measured


class Synthetic:
    """Does what the first number of a genotype says; answers with a pure function of it.

    Args:
        folder: Where each genotype leaves a file when it is first evaluated.
    """

    ANSWER, WAIT, DIE_ONCE, DIE, RAISE, HANG, FOLLOW, EXIT = range(8)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        for genotype in genotypes:
            self._act(genotype)
            yield [measured(genotype, where=str(os.getpid()))]

    def _act(self, genotype: Genotype) -> None:
        trace = self._folder / "-".join(map(str, genotype))
        again = trace.exists()
        trace.write_text(str(os.getpid()))
        match genotype[0]:
            case self.WAIT:
                time.sleep(0.3)
            case self.FOLLOW:
                while not (self._folder / f"{self.ANSWER}-{genotype[1]}").exists():
                    time.sleep(0.01)
            case kind if kind == self.DIE or (kind == self.DIE_ONCE and not again):
                os.kill(os.getpid(), signal.SIGKILL)
            case self.RAISE:
                raise FloatingPointError(f"step size of {genotype[1]} is zero")
            case self.HANG:
                time.sleep(60)
            case self.EXIT:
                sys.exit("the licence server does not answer")


def factory(folder: Path, **arrays: np.ndarray) -> EvaluatorFactory:
    return EvaluatorFactory(partial(_build, folder=folder), arrays)


def _build(arrays: Arrays, *, folder: Path) -> Synthetic:
    if "broken" in arrays:
        raise OSError("the data are not on this machine")
    if "built once" in arrays:
        (folder / "built").touch(exist_ok=False)
    return Synthetic(folder)


def writes_its_arrays(arrays: Arrays) -> Synthetic:
    arrays["weights"][0] = 1.0
    raise AssertionError("workers must not be able to change what they share")


class Threads:
    """Answers with the threads of its process."""

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        import torch

        metrics = {
            "error": float(torch.get_num_threads()),
            "omp": float(os.environ["OMP_NUM_THREADS"]),
        }
        for genotype in genotypes:
            yield [Evaluation(genotype, metrics, 0, 0.0, "")]


def threads(arrays: Arrays) -> Threads:
    import torch  # noqa: F401  # loaded before the worker pins its threads

    return Threads()
