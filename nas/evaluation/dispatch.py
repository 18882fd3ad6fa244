"""The distribution of one batch of genotypes over the workers of a Ray cluster."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.evaluation.crew import ClusterError, Crew, Failure, Reply, Worker
from nas.evaluation.evaluation import Evaluation, EvaluationError, RivalOf, no_rival
from search_spaces.space import Genotype

ATTEMPTS = 3
LOOK_S = 5.0
_FILL_S = 0.05  # results that arrive while a slow searcher proposes are picked up after this time
_LATE_OF_LONGEST, _LATE_OF_DEADLINE = 5.0, 1 / 60
_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """A group of genotypes that is sent to one worker at a time.

    Attributes:
        left: The genotypes without an evaluation yet.
        tried: The workers that got these genotypes.
        failures: The failure of every attempt that failed.
    """

    left: list[Genotype]
    tried: list[Worker] = field(default_factory=list[Worker])
    failures: list[Failure] = field(default_factory=list[Failure])

    def __str__(self) -> str:
        return f"genotype{'s' * (len(self.left) > 1)} {', '.join(map(str, self.left))}"

    def answered(self, given: Sequence[Evaluation]) -> list[Evaluation]:
        """The evaluations in a worker's answer that no other worker has returned before."""
        genotypes = {evaluation.genotype for evaluation in given}
        new = [one for one in given if one.genotype in self.left]
        self.left = [genotype for genotype in self.left if genotype not in genotypes]
        return new


@dataclass(eq=False)
class _Call:
    worker: Worker
    job: _Job
    alive: Any  # answered where the worker lived when the call reached it
    begun: float
    late: bool = False


class Dispatch:
    """The distribution of one batch: each worker has at most one call, free workers get the next.

    If a worker dies, fails or does not answer, another worker gets its genotypes, and the first
    answer counts. Ray repeats no call by itself, so no evaluation is returned twice.

    Args:
        crew: The workers.
        deadline_s: Seconds that a call may take; then its worker is killed and started again.
        patience_s: Seconds to wait for a worker to come back when none is left.
        look: Called every few seconds; raises `ClusterError` if the cluster is gone.

    Attributes:
        ahead: The number of chunks that are kept ready: as many as last arrived together.
    """

    def __init__(
        self, crew: Crew, *, deadline_s: float, patience_s: float, look: Callable[[], None]
    ) -> None:
        self._ray, self._crew, self._look = crew.ray, crew, look
        self._deadline_s, self._patience_s = deadline_s, patience_s
        self._idle = deque(crew.present)
        self._chunks: Iterator[Sequence[Genotype]] = iter(())
        self._rival_of: RivalOf = no_rival
        self._waiting: deque[_Job] = deque()
        self.ahead = 1
        self._calls: dict[Any, _Call] = {}
        self._working = self._looked = time.monotonic()
        self._failure: EvaluationError | None = None

    def run(
        self, chunks: Iterable[Sequence[Genotype]], rival_of: RivalOf
    ) -> Generator[list[Evaluation], None, None]:
        """The evaluations as they arrive; the first failure is raised when all calls have ended.

        As many chunks are kept ready as last arrived together, at least one, so that no worker
        waits while the caller is busy. After a failure, late calls are not waited for.

        Args:
            chunks: The groups of genotypes; each is taken when a worker will soon be free.
            rival_of: The rival of each genotype, for evaluators that can stop early.
        """
        self._chunks, self._rival_of = iter(chunks), rival_of
        try:
            more = self._fill()
            while self._calls or self._waiting or more:
                arrived = self._arrived(wait=not more)
                self._submit()  # before the caller is busy
                if arrived:
                    yield arrived
                more = self._fill()
                if self._failure is not None and all(call.late for call in self._calls.values()):
                    raise self._failure
        finally:
            self._hand_over(list(self._calls))

    def _fill(self) -> bool:
        """Keep workers busy and chunks ready; True if it stopped early and must be called again."""
        until = time.monotonic() + _FILL_S
        while len(self._waiting) < self.ahead and self._failure is None:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._waiting.append(_Job(list(chunk)))
            self._submit()
            if time.monotonic() > until:
                return True
        self._submit()
        return False

    def _submit(self) -> None:
        for job in list(self._waiting) if self._failure is None else ():
            worker = self._worker_for(job)
            if worker is None:
                continue
            self._waiting.remove(job)
            self._idle.remove(worker)
            rivals = {one: rival for one in job.left if (rival := self._rival_of(one))}
            evaluate, factory = worker.actor.evaluate, self._crew.factory
            alive = evaluate.remote(factory, [], {}) if job.failures else None
            reference = evaluate.remote(factory, list(job.left), rivals)
            job.tried.append(worker)
            self._calls[reference] = _Call(worker, job, alive, time.monotonic())

    def _worker_for(self, job: _Job) -> Worker | None:
        """A free worker, if possible one that has not tried `job`.

        None if no worker is free, or if a worker that has not tried `job` will soon be free.
        """
        fresh = [worker for worker in self._idle if worker not in job.tried]
        busy = [call for call in self._calls.values() if not call.late]
        if fresh or not self._idle:
            return fresh[0] if fresh else None
        soon = any(call.worker not in job.tried for call in busy)
        return None if soon else self._idle[0]

    def _arrived(self, *, wait: bool) -> list[Evaluation]:
        """The evaluations since the last look; with `wait`, may wait until there are some."""
        self._look_around()
        done = self._done(0.0)
        if wait and not done:
            done = self._done(min(LOOK_S, self._next_event()))
            if not done:
                self._check_anybody_left()
        answers = [reference for reference in done if reference in self._calls]
        for reference in done:
            if reference in self._crew.away:
                self._idle.extend(self._crew.returned(reference))
        self.ahead = len(answers) or self.ahead
        given = [self._result(self._calls.pop(reference), reference) for reference in answers]
        self._drop_overdue()
        self._tell_late()
        return [evaluation for evaluations in given for evaluation in evaluations]

    def _look_around(self) -> None:
        if time.monotonic() >= self._looked + LOOK_S:
            self._look()
            self._looked = time.monotonic()

    def _done(self, timeout_s: float) -> list[Any]:
        """The calls that have ended; if none has, the first that ends within `timeout_s`."""
        awaited = [*self._calls, *self._crew.away]
        if not awaited:
            return []
        count = 1 if timeout_s else len(awaited)
        return self._ray.wait(awaited, num_returns=count, timeout=timeout_s)[0]

    def _next_event(self) -> float:
        """Seconds until the first call is late or overdue, or the wait for a worker ends."""
        until = [until for _, until in self._crew.away.values()]
        for call in self._calls.values():
            until.append(call.begun + (self._deadline_s if call.late else self._late_s))
        if not self._calls:
            until.append(self._working + self._patience_s)
        return max(0.0, min(until) - time.monotonic())

    def _check_anybody_left(self) -> None:
        if self._calls:
            self._working = time.monotonic()
        elif not self._crew.away or time.monotonic() >= self._working + self._patience_s:
            self._fail(
                ClusterError(
                    "no worker is left: all died or were lost with their machines and none could "
                    "be started again; what was evaluated before is archived, so search again "
                    "when the cluster has room for workers"
                )
            )

    def _result(self, call: _Call, reference: Any) -> list[Evaluation]:
        """The evaluations from a call; if some are missing, another worker gets the rest."""
        try:
            reply: Reply = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # such as an answer that cannot travel
            reply = Reply([], Failure(str(error.cause), str(error)), call.worker.where)
        except self._ray.exceptions.RayError as error:
            self._crew.lost(call.worker)
            died = f"its worker died ({type(error).__name__}), look for a lack of memory there"
            self._repeat(call, Failure(died, str(error)), counts=self._was_alive(call))
            return []
        call.worker.where = reply.where
        self._idle.append(call.worker)
        self._crew.longest_s = max(self._crew.longest_s, time.monotonic() - call.begun)
        given = call.job.answered(reply.evaluations)
        if reply.failure is not None and call.job.left:
            self._repeat(call, reply.failure)
        else:
            self._settle(call.job)
        return given

    def _was_alive(self, call: _Call) -> bool:
        """Whether a worker that died was alive when `call` began; then `call` may be the cause."""
        try:
            return call.alive is None or self._ray.get(call.alive) is not None
        except self._ray.exceptions.RayError:
            return False

    def _settle(self, job: _Job) -> None:
        """Mark a job as done; a worker still busy with this job gets no other before it ends."""
        job.left = []
        if job in self._waiting:
            self._waiting.remove(job)
        self._hand_over([ref for ref, call in self._calls.items() if call.job is job])

    def _hand_over(self, references: Sequence[Any]) -> None:
        for reference in references:
            call = self._calls.pop(reference)
            self._crew.away[reference] = call.worker, call.begun + self._deadline_s

    def _repeat(self, call: _Call, failure: Failure, *, counts: bool = True) -> None:
        """Give a job that failed on one worker to another, unless the job failed too often."""
        job = call.job
        if counts:
            message = f"at {call.worker.where}: {failure.message}"
            job.failures.append(Failure(message, failure.trace))
        if len(job.failures) >= ATTEMPTS:
            self._fail(_ended(job))
        elif job.left:
            if job not in self._waiting:
                self._waiting.appendleft(job)
            _LOG.warning(
                "%s: %s; another one takes over (%d of %d workers are left)",
                *(str(job), failure.message, len(self._crew.present), len(self._crew.workers)),
            )

    def _drop_overdue(self) -> None:
        now = time.monotonic()
        for reference, (worker, until) in list(self._crew.away.items()):
            if until <= now:
                del self._crew.away[reference]
                self._crew.stopped(worker)
        for reference, call in list(self._calls.items()):
            if call.begun + self._deadline_s <= now:
                del self._calls[reference]  # a late answer is ignored
                self._crew.stopped(call.worker)
                self._repeat(
                    call,
                    Failure(
                        f"took longer than the deadline of {self._deadline_s:g} s and was stopped; "
                        "raise `compute.deadline_seconds`, or look why the evaluator hangs"
                    ),
                )

    @property
    def _late_s(self) -> float:
        """Seconds after which a call is late, by the longest call so far; at most the deadline."""
        if not self._crew.longest_s:
            return self._deadline_s
        least = self._deadline_s * _LATE_OF_DEADLINE
        return min(self._deadline_s, max(least, self._crew.longest_s * _LATE_OF_LONGEST))

    def _tell_late(self) -> None:
        """Log which calls are late, and give the job of each to one other worker as well."""
        now = time.monotonic()
        for call in self._calls.values():
            if call.late or now < call.begun + self._late_s:
                continue
            call.late = True
            _LOG.warning(
                "late: the worker at %s has been evaluating %s for %.3g s, the longest before "
                "took %.3g s; another worker evaluates it too, the first answer counts",
                *(call.worker.where, str(call.job), now - call.begun, self._crew.longest_s),
            )
            at_it = sum(other.job is call.job for other in self._calls.values())
            if at_it < 2 and call.job not in self._waiting and self._failure is None:
                self._waiting.appendleft(call.job)

    def _fail(self, error: EvaluationError) -> None:
        self._failure = self._failure or error


def _ended(job: _Job) -> EvaluationError:
    """The error that ends a search after a job failed too often, with all its failures."""
    times = "; ".join(f"{n}. {failure.message}" for n, failure in enumerate(job.failures, start=1))
    error = EvaluationError(
        f"evaluating {job} failed {len(job.failures)} times: {times}; what was evaluated before is "
        "archived, so search again when the cause is gone"
    )
    for failure in job.failures:
        error.add_note(failure.trace)
    return error
