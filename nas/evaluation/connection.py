"""Connection to a Ray cluster: start or reach a cluster, and check its room and its software."""

from __future__ import annotations

import importlib
import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from nas.evaluation.crew import ClusterError
from nas.settings.own_modules import import_modules, imported_modules
from nas.settings.urls import cluster_address

_CONNECT_S = 10.0
_ENGINE_S = 120.0
_HEAD_S = 40.0  # Ray ends a process that has been without its head for a minute
_LOG = logging.getLogger(__name__)
_UNREACHABLE = (
    "no Ray cluster can be reached at {address!r}: {error}; start one with `ray start --head`, or "
    "leave out the address to use this machine; if one runs there, RAY_AUTH_MODE and the token "
    "must be the same here (docs/cluster.md)"
)
_NOT_STARTED = (
    "no Ray cluster can be started on this machine: {error}; Ray must be able to write its files "
    "to the folder of temporary files (another by RAY_TMPDIR) and its token to HOME; or evaluate "
    "without workers, with compute.workers = 0"
)


def require_ray() -> ModuleType:
    """The module `ray`; raises `ClusterError` if Ray is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage data is sent by default
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ClusterError(
            "evaluating on a cluster needs Ray, which is not installed; "
            'run: pip install "elastic-nas[cluster]"'
        ) from error
    return ray


def require_ray_train() -> ModuleType:
    """The module `ray` with `ray.train.torch`; raises `ClusterError` if either is missing."""
    ray = require_ray()
    try:
        import ray.train.torch
    except ImportError as error:
        raise ClusterError(
            f"training on a cluster needs Ray Train, which cannot be imported ({error}); "
            'run: pip install "elastic-nas[cluster]"'
        ) from error
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """The module `ray`, connected to this process's cluster, to `address`, or to a new cluster.

    Raises:
        ClusterError: Ray is not installed, or no cluster can be reached at `address`.
    """
    ray = require_ray()
    if ray.is_initialized():
        yield ray
        return
    try:
        address = cluster_address(address or "local")
    except ValueError as error:
        raise ClusterError(f"the address of the cluster {error}") from error
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        _check_reachable(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **local)
    except Exception as error:  # of many kinds, bare ones among them
        told = _NOT_STARTED if local else _UNREACHABLE
        raise ClusterError(told.format(address=address, error=error)) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Try to connect to `address` once, since Ray itself would try for many minutes."""
    host, separator, port = address.rpartition("//")[2].rpartition(":")
    if separator and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


class Lifelines:
    """The two servers that this process needs: the cluster's head, and Ray's on this machine.

    If a server is gone, Ray itself waits and then ends this process without a message.

    Attributes:
        gone: Whether a server was found to be gone for good.

    Args:
        ray: The module `ray`, connected.
    """

    def __init__(self, ray: ModuleType) -> None:
        here = ray.get_runtime_context()
        nodes = {node["NodeID"]: node for node in ray.nodes()}
        own = nodes[here.get_node_id()]
        self._head: str = here.gcs_address
        self._server = f"{own['NodeManagerAddress']}:{own['NodeManagerPort']}"
        self._missed: float | None = None
        self.gone = False

    def check(self) -> None:
        """Raise `ClusterError` if a server is gone; a head that may come back is waited for."""
        try:
            _check_reachable(self._server)
        except OSError as error:
            raise self._gone(f"Ray's server at {self._server} has ended ({error})") from error
        try:
            _check_reachable(self._head)
            self._missed = None
        except OSError as error:
            now = time.monotonic()
            if self._missed is None:
                self._missed = now
                _LOG.warning(
                    "the head of the Ray cluster at %s does not answer (%s); waiting up to %g s",
                    *(self._head, error, _HEAD_S),
                )
            if now >= self._missed + _HEAD_S:
                raise self._gone(f"the Ray cluster at {self._head} is gone ({error})") from error

    def _gone(self, what: str) -> ClusterError:
        self.gone = True
        return ClusterError(
            f"{what}; what was done is kept, so start the cluster and go on from there"
        )


def check_room(workers: int, each: Mapping[str, float]) -> None:
    """Refuse workers for which the cluster has no room, since Ray would wait for ever.

    Args:
        workers: The number of workers that must fit at the same time.
        each: The resources of one worker, such as `{"CPU": 1, "GPU": 0.25}`.

    Raises:
        ClusterError: The cluster has too little room; the message says what the cluster has.
    """
    machines = [node["Resources"] for node in require_ray().nodes() if node["Alive"]]
    asked = {kind: amount for kind, amount in each.items() if amount}
    room = sum(
        min(math.floor(has.get(kind, 0.0) / amount + 1e-6) for kind, amount in asked.items())
        for has in machines
    )
    if room < workers:
        has = [{kind: machine.get(kind, 0.0) for kind in ("CPU", "GPU")} for machine in machines]
        raise ClusterError(
            f"the cluster has room for {room} of the {workers} workers asked for, each with "
            f"{asked}; its machines have {has}; ask for fewer or smaller workers or add machines"
        )


def check_cluster(workers: int, each: Mapping[str, float], *, address: str | None) -> None:
    """Check, before there is work, that a cluster can be reached or started and has room.

    Args:
        workers: The number of workers that must fit at the same time.
        each: The resources of one worker, such as `{"CPU": 1, "GPU": 0.25}`.
        address: The address of the cluster; None starts one on this machine.

    Raises:
        ClusterError: The cluster cannot be reached or has no room, or a machine of the cluster
            lacks this package or one of the user's own modules.
    """
    with connected(address) as ray:
        check_room(workers, each)
        if address not in (None, "local"):
            _check_engine(ray, each)


def _check_engine(ray: ModuleType, each: Mapping[str, float]) -> None:
    """Check that each machine with room for a worker can import the modules of a worker."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    for node in ray.nodes():
        if not node["Alive"] or any(node["Resources"].get(k, 0.0) < v for k, v in each.items()):
            continue
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(_engine).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        try:
            ray.get(task.remote(imported_modules()), timeout=_ENGINE_S)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            raise ClusterError(
                f"the machine {node['NodeManagerAddress']} of the cluster cannot run the engine: "
                f"{cause}; install elastic-nas there, in the same version as here, and put the "
                "modules that a recipe names under python where they are here"
            ) from error


def _engine(python: Sequence[str]) -> None:
    """Import the modules that a worker imports; runs on the machines of the cluster."""
    import_modules(python, beside=Path())
    importlib.import_module("nas.evaluation.supernet_evaluator")
