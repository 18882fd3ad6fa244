"""Where subnets are measured: in this process, or by workers on a Ray cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from nas.evaluation.evaluation import EvaluatorFactory

if TYPE_CHECKING:
    from nas.evaluation.cluster import RayEvaluator


@runtime_checkable
class Rebuildable(Protocol):
    """An evaluator that can be built in other processes, such as `SupernetEvaluator`."""

    def __call__(self, genotypes: Any) -> Any:
        """Evaluations, see `nas.evaluation.evaluation.Evaluator`."""
        ...

    def factory(self) -> EvaluatorFactory:
        """A factory that builds this evaluator in another process."""
        ...


Here = TypeVar("Here", bound=Rebuildable)


@dataclass(frozen=True)
class Workers:
    """The workers that measure subnets.

    Attributes:
        count: The number of workers; 0 measures in this process.
        cpus: The CPUs that each worker reserves.
        gpus: The GPUs that each worker reserves.
        address: The address of the cluster; None starts a cluster on this machine.
        deadline_s: The seconds after which a worker is killed and its work begun anew.
    """

    count: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    deadline_s: float = 1800.0

    def check(self) -> None:
        """Raise `ClusterError`, before there is work, if the workers cannot be had."""
        if self.count:
            from nas.evaluation.connection import check_cluster

            each = {"CPU": self.cpus, "GPU": self.gpus}
            check_cluster(self.count, each, address=self.address)

    @contextlib.contextmanager
    def measuring(self, evaluator: Here) -> Iterator[Here | RayEvaluator]:
        """A context with the evaluator itself, or with one that gives its work to the workers.

        Raises:
            ClusterError: The workers cannot be had.
        """
        if not self.count:
            yield evaluator
            return
        from nas.evaluation.cluster import RayEvaluator

        with RayEvaluator(
            evaluator.factory(),
            workers=self.count,
            cpus_per_worker=self.cpus,
            gpus_per_worker=self.gpus,
            address=self.address,
            deadline_s=self.deadline_s,
        ) as remote:
            yield remote
