"""Evaluation on a Ray cluster: actors hold the evaluator, receive genotypes and return results."""

from __future__ import annotations

import functools
import os
import socket
import sys
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from nas.evaluation.connection import Lifelines, check_room, connected, require_ray
from nas.evaluation.crew import ClusterError, Crew, Failure, Reply, Worker
from nas.evaluation.dispatch import Dispatch
from nas.evaluation.evaluation import (
    Evaluation,
    EvaluationError,
    Evaluator,
    EvaluatorFactory,
    RivalOf,
    StoppingEvaluator,
    no_rival,
)
from nas.settings.own_modules import import_modules, imported_modules
from search_spaces.space import Genotype

_START_S = 300.0  # for workers to start, or for one to come back when none is left
_EACH_S = 5.0  # more for each worker: a machine starts only as many at a time as it has cores
_END_S = 10.0  # for calls to workers that were killed
_RETRIES = 3


class RayEvaluator:
    """An evaluator whose workers are actors of a Ray cluster; its results equal local ones.

    A worker first imports the user's own modules that a recipe made this process import.

    Use the evaluator as a context manager: its exit stops the workers, and the cluster if the
    evaluator started it. If a worker dies or its machine is lost, another worker evaluates its
    genotypes, and a warning is logged; the lost worker is started again when the cluster has room.
    In a process that has called `ray.init`, the cluster of that call is used.

    Args:
        factory: Builds the evaluator in each worker. Its arrays are put into the cluster once; all
            workers of a machine read them from the same memory.
        workers: The number of actors.
        cpus_per_worker: CPUs reserved per actor, also its number of threads, which is at least 1;
            may be a fraction.
        gpus_per_worker: GPUs reserved per actor; may be a fraction.
        address: The address of the cluster; "local" starts a cluster on this machine.
        chunk: Genotypes per call. One gives the best balance; more save the 1 ms per call, which
            matters only for very short evaluations.
        deadline_s: Seconds that a call may take; then its worker is killed and started again.

    Raises:
        ClusterError: Ray is not installed, the cluster cannot be reached or has no room for the
            workers, or they do not start.
    """

    def __init__(
        self,
        factory: EvaluatorFactory,
        *,
        workers: int,
        cpus_per_worker: float = 1.0,
        gpus_per_worker: float = 0.0,
        address: str | None = None,
        chunk: int = 1,
        deadline_s: float = 1800.0,
    ) -> None:
        if min(workers, chunk) < 1 or min(cpus_per_worker, deadline_s) <= 0 or gpus_per_worker < 0:
            raise ValueError(
                "a cluster evaluator needs at least one worker, a chunk of at least one genotype, "
                f"CPUs and a deadline above 0 and GPUs from 0, given {workers=}, {chunk=}, "
                f"{cpus_per_worker=}, {deadline_s=}, {gpus_per_worker=}"
            )
        self._ray = require_ray()
        self._chunk, self._deadline_s = chunk, deadline_s
        self._stack = ExitStack()
        with ExitStack() as undo:
            undo.callback(self.close)
            self._stack.enter_context(connected(address))
            resources = {"CPU": cpus_per_worker, "GPU": gpus_per_worker}
            check_room(workers, resources)
            # The factory goes with every call, since a restarted worker has to build again; in a
            # list, since Ray would unpack a bare reference each time. As an argument of the actor,
            # the factory would be lost with the actor (ray-project/ray#53727).
            shared = [self._ray.put(factory)]
            self._lifelines = Lifelines(self._ray)
            self._crew = Crew(self._ray, [], shared)
            self._dispatch: Dispatch | None = None
            self._stream: Generator[list[Evaluation], None, None] | None = None
            self._stack.callback(self._dismiss)
            self._crew.workers += [Worker(self._actor(resources)) for _ in range(workers)]
            self._await_workers()
            undo.pop_all()

    def __enter__(self) -> RayEvaluator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def capacity(self) -> int:
        """The number of genotypes that workers can measure now or that are kept ready for them."""
        ahead = 1 if self._dispatch is None else self._dispatch.ahead
        return self._chunk * (len(self._crew.present) + ahead)

    def close(self) -> None:
        """Stop the workers, and the cluster if this evaluator started the cluster."""
        self._stack.close()

    def __call__(
        self, genotypes: Iterable[Genotype], rival_of: RivalOf = no_rival
    ) -> Iterator[list[Evaluation]]:
        """Evaluations, one per genotype, as they finish; a genotype is taken when a worker is free.

        After a failure, no new evaluation is started; those that are running are still returned
        before the failure is raised.

        Args:
            genotypes: The genotypes to measure.
            rival_of: The rival of each genotype, for evaluators that can stop early.

        Raises:
            EvaluationError: An evaluation raised, took longer than the deadline, or killed several
                workers; or no worker is left and none comes back.
        """
        remaining = iter(genotypes)
        chunks = iter(lambda: list(islice(remaining, self._chunk)), [])
        self._dispatch = Dispatch(
            self._crew,
            deadline_s=self._deadline_s,
            patience_s=_START_S,
            look=self._lifelines.check,
        )
        self._stream = self._dispatch.run(chunks, rival_of)
        return self._stream

    def _dismiss(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._crew.dismiss(ending_s=0.0 if self._lifelines.gone else _END_S)

    def _actor(self, resources: Mapping[str, float]) -> Any:
        threads = max(1, int(resources["CPU"]))
        made = self._ray.remote(_Actor).options(
            num_cpus=resources["CPU"],
            num_gpus=resources["GPU"],
            max_restarts=-1,
            runtime_env={"env_vars": thread_variables(threads)},
        )
        return made.remote(threads, imported_modules())

    def _await_workers(self) -> None:
        crew = self._crew
        calls = [
            worker.actor.evaluate.options(max_task_retries=_RETRIES).remote(crew.factory, [], {})
            for worker in crew.workers
        ]
        patience_s = _START_S + _EACH_S * len(calls)
        started, late = self._ray.wait(calls, num_returns=len(calls), timeout=patience_s)
        if late:
            raise ClusterError(
                f"only {len(started)} of {len(calls)} workers started within {patience_s:g} s; "
                f"what the cluster has free is {self._ray.available_resources()}; wait for its "
                "other work to end or ask for fewer workers"
            )
        try:
            replies: list[Reply] = self._ray.get(calls)
        except self._ray.exceptions.RayError as error:
            raise ClusterError(f"a worker died when it was started: {error}") from error
        for worker, reply in zip(crew.workers, replies, strict=True):
            worker.where = reply.where
            if reply.failure is not None:
                told = ClusterError(
                    f"building the evaluator in the worker at {reply.where} failed: "
                    f"{reply.failure.message}"
                )
                told.add_note(reply.failure.trace)
                raise told


def thread_variables(threads: int) -> dict[str, str]:
    """The environment of a worker whose libraries use this number of threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


class _Actor:
    """The class of the Ray actors: holds the evaluator, built at its first use after a start."""

    def __init__(self, threads: int, python: Sequence[str]) -> None:
        self._threads, self._python = threads, python
        self._evaluator: Evaluator | None = None

    def evaluate(
        self,
        factory: Sequence[Any],
        genotypes: Sequence[Genotype],
        rivals: Mapping[Genotype, Evaluation],
    ) -> Reply:
        """The evaluations up to the first failure, and that failure.

        Without genotypes, only the evaluator is built.
        """
        where = f"{socket.gethostname()}:{os.getpid()}"
        done: list[Evaluation] = []
        try:
            evaluate = self._built(*factory)
            if rivals:
                evaluate = functools.partial(
                    cast("StoppingEvaluator", evaluate), rival_of=rivals.get
                )
            for arrived in evaluate(genotypes):
                done.extend(arrived)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # raised by the driver
            return Reply(done, _failure(error), where)
        return Reply(done, None, where)

    def _built(self, reference: Any) -> Evaluator:
        if self._evaluator is None:
            import_modules(self._python, beside=Path())
            factory: EvaluatorFactory = require_ray().get(reference)
            self._evaluator = factory()
            torch = sys.modules.get("torch")
            if torch is not None:  # torch may have been loaded before the variables were set
                torch.set_num_threads(self._threads)
        return self._evaluator


def _failure(error: BaseException) -> Failure:
    named = "" if isinstance(error, EvaluationError) else f"{type(error).__name__}: "
    return Failure(f"{named}{error}", traceback.format_exc())
