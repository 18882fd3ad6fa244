"""One batch on its way over the workers of a Ray cluster."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from nas.evaluate import Evaluation, EvaluationError, RivalOf, no_rival
from search_spaces.space import Genotype

RETRIES = 3
_FILL_S = 0.05  # what arrives while a slow searcher chooses for many is not left lying for long
_LOG = logging.getLogger(__name__)


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


class Crew:
    """The workers, of whom some may be away: dead, and started anew by Ray once there is room."""

    def __init__(self, ray: ModuleType, workers: Sequence[Any], factory: Sequence[Any]) -> None:
        self.factory = factory
        self.away: dict[Any, Any] = {}
        self._ray, self._workers = ray, list(workers)

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def present(self) -> list[Any]:
        """Those that may be given work."""
        away = list(self.away.values())
        return [worker for worker in self._workers if worker not in away]

    def lost(self, worker: Any) -> None:
        """Await a worker that died; it answers when it and its evaluator are there again."""
        again = worker.evaluate.options(max_task_retries=-1).remote(self.factory, [], {})
        self.away[again] = worker

    def returned(self, answer: Any) -> list[Any]:
        """The worker that answered, or nothing if it never comes back."""
        worker = self.away.pop(answer)
        try:
            _, failure = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            failure = Failure(str(error), "")
        if failure is None:
            return [worker]
        self._workers.remove(worker)
        _LOG.warning("a worker is given up, it cannot be started anew: %s", failure.message)
        return []


@dataclass(frozen=True)
class _Call:
    worker: Any
    genotypes: Sequence[Genotype]
    deadline: float


class Dispatch:
    """One batch on its way: every worker has at most one call, the next goes to who is free.

    What a worker had when it died goes to another. Ray repeats no call by itself, so nothing is
    answered twice.
    """

    def __init__(
        self, ray: ModuleType, crew: Crew, *, deadline_s: float, patience_s: float
    ) -> None:
        self._ray, self._crew = ray, crew
        self._deadline_s, self._patience_s = deadline_s, patience_s
        self._idle = deque(crew.present)
        self._chunks: Iterator[Sequence[Genotype]] = iter(())
        self._rival_of: RivalOf = no_rival
        self._waiting: deque[Sequence[Genotype]] = deque()
        self._ahead = 1
        self._calls: dict[Any, _Call] = {}
        self._deaths: Counter[tuple[Genotype, ...]] = Counter()
        self._failure: EvaluationError | None = None

    def run(
        self, chunks: Iterable[Sequence[Genotype]], rival_of: RivalOf
    ) -> Iterator[list[Evaluation]]:
        """The evaluations as they arrive; raises the first failure when all calls have ended.

        As many chunks are ready as last arrived together, one at least, so that no worker waits
        while the caller is busy with what arrived or with choosing the next.
        """
        self._chunks, self._rival_of = iter(chunks), rival_of
        more = self._fill()
        while self._calls or self._waiting or more:
            arrived = self._arrived(wait=not more)
            self._submit()  # before the caller is busy
            if arrived:
                yield arrived
            more = self._fill()
            if self._failure is not None and not self._calls:
                raise self._failure

    def _fill(self) -> bool:
        """Keep workers busy and chunks ready; whether to go on after a look at what arrived."""
        until = time.monotonic() + _FILL_S
        while len(self._waiting) < self._ahead and self._failure is None:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._waiting.append(chunk)
            self._submit()
            if time.monotonic() > until:
                return True
        self._submit()
        return False

    def _submit(self) -> None:
        while self._waiting and self._idle and self._failure is None:
            worker, genotypes = self._idle.popleft(), self._waiting.popleft()
            rivals = {one: rival for one in genotypes if (rival := self._rival_of(one))}
            reference = worker.evaluate.remote(self._crew.factory, genotypes, rivals)
            deadline = time.monotonic() + self._deadline_s
            self._calls[reference] = _Call(worker, genotypes, deadline)

    def _arrived(self, *, wait: bool) -> list[Evaluation]:
        """What came since the last look; where there is nothing, may wait until something does."""
        done = self._done(0.0)
        if wait and not done:
            done = self._done(self._deadline() if self._calls else self._patience_s)
            if not done and not self._calls:
                self._fail(self._nobody_left())
        answers = [reference for reference in done if reference in self._calls]
        for reference in done:
            if reference not in self._calls:
                self._idle.extend(self._crew.returned(reference))
        self._ahead = len(answers) or self._ahead
        given = [self._result(self._calls.pop(reference), reference) for reference in answers]
        self._drop_overdue()
        return [evaluation for evaluations in given for evaluation in evaluations]

    def _done(self, timeout_s: float) -> list[Any]:
        """Calls that have ended: all where it need not wait, else the first."""
        awaited = [*self._calls, *self._crew.away]
        if not awaited:
            return []
        count = 1 if timeout_s else len(awaited)
        return self._ray.wait(awaited, num_returns=count, timeout=timeout_s)[0]

    def _deadline(self) -> float:
        """Seconds until the first call is overdue."""
        return max(0.0, min(call.deadline for call in self._calls.values()) - time.monotonic())

    def _result(self, call: _Call, reference: Any) -> list[Evaluation]:
        """What a call gave; nothing where its worker died and another does it again."""
        try:
            evaluations, failure = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # such as an answer that cannot travel
            evaluations, failure = [], Failure(str(error.cause), str(error))
        except self._ray.exceptions.RayError as error:
            self._repeat(call, error)
            return []
        self._idle.append(call.worker)
        if failure is not None:
            named = _named(call.genotypes)
            self._fail(told(EvaluationError, failure, f"a worker failed on {named}"))
        return evaluations

    def _repeat(self, call: _Call, error: Exception) -> None:
        """Let another worker do what a dead one had, unless it kills every one."""
        self._crew.lost(call.worker)
        genotypes, named = tuple(call.genotypes), _named(call.genotypes)
        self._deaths[genotypes] += 1
        if self._deaths[genotypes] > RETRIES:
            self._fail(
                ClusterError(
                    f"the worker evaluating {named} died {RETRIES + 1} times: {error}; "
                    "look for a lack of memory on its machine"
                )
            )
            return
        self._waiting.appendleft(call.genotypes)
        _LOG.warning(
            "the worker evaluating %s died or its machine is lost; another one takes over "
            "(%d of %d workers are left)",
            *(named, len(self._crew.present), len(self._crew)),
        )

    def _drop_overdue(self) -> None:
        now = time.monotonic()
        for reference, call in list(self._calls.items()):
            if call.deadline <= now:
                del self._calls[reference]  # a late answer is nobody's
                self._ray.kill(call.worker, no_restart=False)
                self._crew.lost(call.worker)
                self._fail(
                    ClusterError(
                        f"evaluating {_named(call.genotypes)} took longer than the deadline of "
                        f"{self._deadline_s:g} s and was stopped; raise "
                        "`compute.deadline_seconds`, or look why the evaluator hangs"
                    )
                )

    def _nobody_left(self) -> ClusterError:
        return ClusterError(
            "no worker is left: all died or were lost with their machines and none could be "
            "started again; what was evaluated before is archived, so search again when the "
            "cluster has room for workers"
        )

    def _fail(self, error: EvaluationError) -> None:
        self._failure = self._failure or error


def _named(genotypes: Sequence[Genotype]) -> str:
    return f"genotype{'s' * (len(genotypes) > 1)} {', '.join(map(str, genotypes))}"
