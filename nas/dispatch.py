"""One batch on its way over the workers of a Ray cluster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from nas.evaluate import Evaluation, EvaluationError
from search_spaces.space import Genotype

RETRIES = 3
_PATIENCE = 60  # seconds for a worker that cannot be reached to start on another node


class ClusterError(EvaluationError):
    """A cluster that is missing, too small or lost its workers."""


@dataclass(frozen=True)
class Failure:
    """An exception in words, since not every exception can travel."""

    message: str
    trace: str


def told(kind: type[EvaluationError], failure: Failure, what: str) -> EvaluationError:
    """The failure as an exception of this process, its trace as a note."""
    error = kind(f"{what}: {failure.message}")
    error.add_note(failure.trace)
    return error


@dataclass(frozen=True)
class _Call:
    worker: Any
    genotypes: Sequence[Genotype]
    deadline: float
    attempts: int = 0


class Dispatch:
    """One batch on its way: every worker has at most one call, the next goes to who is free."""

    def __init__(
        self, ray: ModuleType, workers: list[Any], factory: Sequence[Any], deadline_s: float
    ) -> None:
        self._ray, self._workers = ray, workers
        self._factory, self._deadline_s = factory, deadline_s
        self._calls: dict[Any, _Call] = {}
        self._failure: EvaluationError | None = None

    def run(self, chunks: Sequence[Sequence[Genotype]]) -> Iterator[Evaluation]:
        """The evaluations as they arrive; raises the first failure when all calls have ended."""
        waiting, idle = deque(chunks), deque(self._workers)
        while True:
            while waiting and idle and self._failure is None:
                self._submit(idle.popleft(), waiting.popleft())
            if not self._calls:
                break
            nearest = min(call.deadline for call in self._calls.values())
            timeout = max(0.0, nearest - time.monotonic())
            done, _ = self._ray.wait(list(self._calls), timeout=timeout)
            arrived: list[Evaluation] = []
            for reference in done:
                call = self._calls.pop(reference)
                arrived = self._result(reference, call)
                idle.extend(self._free(call.worker))
                if waiting and idle and self._failure is None:  # before the caller is busy
                    self._submit(idle.popleft(), waiting.popleft())
            self._drop_overdue()
            yield from arrived
        if self._failure is None and waiting:
            raise ClusterError("no worker is left; build a new RayEvaluator")
        if self._failure is not None:
            raise self._failure

    def _submit(self, worker: Any, genotypes: Sequence[Genotype]) -> None:
        self._make(_Call(worker, genotypes, time.monotonic() + self._deadline_s))

    def _make(self, call: _Call) -> None:
        self._calls[call.worker.evaluate.remote(self._factory, call.genotypes)] = call

    def _free(self, worker: Any) -> list[Any]:
        """The worker, unless its call was made anew."""
        return [] if any(call.worker is worker for call in self._calls.values()) else [worker]

    def _result(self, reference: Any, call: _Call) -> list[Evaluation]:
        """What a call gave; nothing where its worker went with a node and it was made anew."""
        try:
            evaluations, failure = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            gone = isinstance(error, self._ray.exceptions.ActorUnavailableError)
            if gone and call.attempts < _PATIENCE:
                time.sleep(1)  # till its node is known to be lost, and it starts on another
                self._make(replace(call, attempts=call.attempts + 1))
                return []
            self._fail(
                ClusterError(
                    f"the worker evaluating {_named(call.genotypes)} died {RETRIES + 1} times: "
                    f"{error}; look for a lack of memory on its machine"
                )
            )
            return []
        if failure is not None:
            self._fail(
                told(EvaluationError, failure, f"a worker failed on {_named(call.genotypes)}")
            )
        return evaluations

    def _drop_overdue(self) -> None:
        now = time.monotonic()
        for reference, call in list(self._calls.items()):
            if call.deadline <= now:
                del self._calls[reference]
                self._workers.remove(call.worker)
                self._ray.kill(call.worker)
                self._fail(
                    ClusterError(
                        f"evaluating {_named(call.genotypes)} took longer than the deadline of "
                        f"{self._deadline_s:g} s; raise deadline_s, or look whether the evaluator "
                        "hangs or its machine is lost"
                    )
                )

    def _fail(self, error: EvaluationError) -> None:
        self._failure = self._failure or error


def _named(genotypes: Sequence[Genotype]) -> str:
    return f"genotype{'s' * (len(genotypes) > 1)} {', '.join(map(str, genotypes))}"
