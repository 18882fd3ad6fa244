"""An evaluator that sleeps instead of measuring and can be told to fail; its module loads fast."""

from __future__ import annotations

import math
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nas.evaluation.evaluation import Arrays, Evaluation, Evaluator, EvaluatorFactory
from search_spaces.space import Genotype

MEBIBYTE = 1 << 20
_SIGMA = 0.5


class Sleeper:
    """An evaluator that sleeps, then answers with a function of the genotype alone.

    Args:
        seconds: The duration of an evaluation.
        folder: The folder with the notes on measured genotypes and on the planned fault.
    """

    def __init__(self, seconds: float, folder: Path | None = None) -> None:
        self._seconds, self._folder = seconds, folder

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype."""
        for genotype in genotypes:
            time.sleep(self._seconds)
            error = float(np.random.default_rng(genotype).uniform(0, 100))
            if self._folder is not None:
                fault = due(self._folder, FAULTS)
                error = error if fault is None else FAULTS[fault]()
                with (self._folder / "log").open("a") as file:
                    file.write(f"{genotype}\n")
            yield [Evaluation(genotype, {"error": error}, 0, self._seconds, "here")]


def factory(seconds: float, folder: Path | None = None) -> EvaluatorFactory:
    """A factory for sleepers in other processes, which note their number in `workers`."""
    return EvaluatorFactory(partial(_built, seconds=seconds, folder=folder), {})


def _built(_arrays: Arrays, *, seconds: float, folder: Path | None) -> Sleeper:
    if folder is not None:
        (folder.parent / "workers" / str(os.getpid())).touch()
    return Sleeper(seconds, folder)


def uneven(mean_s: float) -> EvaluatorFactory:
    """A factory for sleepers whose durations are log-normal with sigma 0.5, as of unlike networks.

    They answer with the time of the end as the place of the evaluation.
    """
    return EvaluatorFactory(partial(_uneven, mean_s=mean_s), {})


def _uneven(_arrays: Arrays, *, mean_s: float) -> Evaluator:
    return partial(_sleep_unevenly, mean_s=mean_s)


def _sleep_unevenly(genotypes: Iterable[Genotype], *, mean_s: float) -> Iterator[list[Evaluation]]:
    for genotype in genotypes:
        drawn = np.random.default_rng(genotype).lognormal(-(_SIGMA**2) / 2, _SIGMA)
        time.sleep(mean_s * drawn)
        yield [Evaluation(genotype, {"error": 0.0}, 0, mean_s * drawn, str(time.time()))]


def plan(folder: Path, fault: str, instant: int) -> None:
    """Plan that `fault` happens once, when `instant` evaluations have been measured."""
    (folder / "plan").write_text(f"{fault} {instant}")


def due(folder: Path, faults: Sequence[str] | dict[str, Callable[[], float]]) -> str | None:
    """The planned fault, if it is among `faults` and due now; only one caller gets the fault."""
    if not (folder / "plan").exists() or (folder / "struck").exists():
        return None
    fault, instant = (folder / "plan").read_text().split()
    if fault not in faults or measured(folder) < int(instant):
        return None
    try:
        (folder / "struck").touch(exist_ok=False)
    except FileExistsError:
        return None
    return fault


def measured(folder: Path) -> int:
    """The number of measured evaluations."""
    log = folder / "log"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _raises() -> float:
    raise FloatingPointError("the step size of a quantizer is zero")


def _hangs() -> float:
    time.sleep(3600)
    return math.nan


def _stops() -> float:
    """Stop this process until it is continued, as a user, a debugger or a frozen container does."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return math.nan


def _memory_refused() -> float:
    """Allocate more memory than a limit on the address space of this process allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 64 * MEBIBYTE, hard))
    try:
        return float(np.ones(1024 * MEBIBYTE, np.uint8)[0])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _killed_for_memory() -> float:
    """Kill this process, as the kernel does with a process that took too much memory."""
    taken = np.ones(256 * MEBIBYTE, np.uint8)
    os.kill(os.getpid(), signal.SIGKILL)
    return float(taken[0])


FAULTS: dict[str, Callable[[], float]] = {
    "raises": _raises,
    "nan": lambda: math.nan,
    "hangs": _hangs,
    "stops": _stops,
    "memory-refused": _memory_refused,
    "memory-killed": _killed_for_memory,
}
