"""The workers on a Ray cluster; some may be away: dead, not answering, or being restarted."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

from nas.evaluation.evaluation import Evaluation, EvaluationError

_LOG = logging.getLogger(__name__)


class ClusterError(EvaluationError):
    """A cluster that is missing, too small or lost its workers."""


@dataclass(frozen=True)
class Failure:
    """An exception as text, since not every exception can be sent between processes."""

    message: str
    trace: str = ""


class Reply(NamedTuple):
    """A worker's reply: its evaluations up to the first failure, the failure, and its place."""

    evaluations: list[Evaluation]
    failure: Failure | None
    where: str


@dataclass(eq=False)
class Worker:
    """One worker: its Ray actor and the host and process where the actor was last seen."""

    actor: Any
    where: str = "a place that is not known yet"


@dataclass
class Crew:
    """The workers of an evaluator.

    Attributes:
        ray: The module `ray`.
        workers: All workers, also those that are away.
        factory: The evaluator's factory, which is an argument of every call to a worker.
        away: The call whose answer is awaited -> the worker, which gets no work before that
            answer, and the time at which the waiting ends.
        longest_s: The duration of the longest call that was answered, in seconds.
    """

    ray: ModuleType
    workers: list[Worker]
    factory: Sequence[Any]
    away: dict[Any, tuple[Worker, float]] = field(default_factory=dict[Any, tuple[Worker, float]])
    longest_s: float = 0.0

    @property
    def present(self) -> list[Worker]:
        """The workers that may be given work."""
        away = [worker for worker, _ in self.away.values()]
        return [worker for worker in self.workers if worker not in away]

    def lost(self, worker: Worker) -> None:
        """Wait for a worker that died; it answers once it has been restarted with its evaluator."""
        again = worker.actor.evaluate.options(max_task_retries=-1).remote(self.factory, [], {})
        self.away[again] = worker, math.inf

    def stopped(self, worker: Worker) -> None:
        """Kill a worker that does not answer, and wait for its restart."""
        self.ray.kill(worker.actor, no_restart=False)
        self.lost(worker)

    def returned(self, answer: Any) -> list[Worker]:
        """The worker that answered, in a list; an empty list if that worker is not available."""
        worker, until = self.away.pop(answer)
        try:
            reply = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:
            if until < math.inf:  # it died during a call that another worker has answered
                self.lost(worker)
                return []
            reply = Reply([], Failure(str(error).partition("\n")[0]), worker.where)
        worker.where = reply.where
        if reply.failure is None or until < math.inf:
            return [worker]
        self.workers.remove(worker)
        _LOG.warning("a worker is given up, it cannot be started anew: %s", reply.failure.message)
        return []

    def dismiss(self, *, ending_s: float) -> None:
        """Kill all workers, wait for the end of their calls, and drop all references to Ray.

        The order matters: stopping Ray while calls to dead workers are open can crash this process.
        """
        for worker in self.workers:
            self.ray.kill(worker.actor)
        if self.away:
            self.ray.wait(list(self.away), num_returns=len(self.away), timeout=ending_s)
        self.away.clear()
        self.workers.clear()
        self.factory = ()
