"""Whether a cluster is still there, with sockets in place of Ray's servers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas.evaluation import connection
from nas.evaluation.connection import Lifelines, check_cluster
from nas.evaluation.crew import ClusterError
from nas.run import sweep
from nas.terminal.display import Silent

HERE = "ab" * 28


class Servers:
    """A head and a server of this machine that listen; stands for Ray too."""

    def __init__(self) -> None:
        self.head, self.server = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.exceptions = SimpleNamespace(RayError=OSError)

    def get_runtime_context(self) -> Any:
        host, port = self.head.getsockname()
        return SimpleNamespace(gcs_address=f"{host}:{port}", get_node_id=lambda: HERE)

    def nodes(self) -> list[dict[str, Any]]:
        host, port = self.server.getsockname()
        here = {"NodeID": HERE, "NodeManagerAddress": host, "NodeManagerPort": port}
        return [{**here, "Alive": True, "Resources": {"CPU": 1.0}}]

    def remote(self, _function: object) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: object()))

    def wait(self, calls: list[Any], **_settings: object) -> tuple[list[Any], list[Any]]:
        self.server.close()  # killed from outside, so that no run ever ends
        return [], calls

    def get(self, _call: object, **_settings: object) -> None:
        raise OSError("No module named 'nas'")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    made = Servers()

    @contextlib.contextmanager
    def connected(_address: str | None) -> Iterator[Servers]:
        yield made

    for module in (connection, sweep):
        monkeypatch.setattr(module, "connected", connected)
        monkeypatch.setattr(module, "check_room", lambda *_: None)
    with made.head, made.server:
        yield made


def test_a_server_that_has_ended_is_told_at_once(servers: Servers) -> None:
    lifelines = Lifelines(servers)  # type: ignore[arg-type]
    lifelines.check()
    servers.server.close()
    with pytest.raises(ClusterError, match=r"Ray's server at 127.* has ended .*; what was done is"):
        lifelines.check()
    assert lifelines.gone


def test_a_head_that_is_away_is_waited_for(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: clock.now))
    lifelines = Lifelines(servers)  # type: ignore[arg-type]
    place = servers.head.getsockname()
    servers.head.close()
    lifelines.check()
    clock.now += 30.0
    lifelines.check()
    [told] = [record.getMessage() for record in caplog.records]
    assert "does not answer" in told
    with socket.create_server(place):
        lifelines.check()
        clock.now += 30.0
    lifelines.check()
    clock.now += 41.0
    with pytest.raises(ClusterError, match="is gone"):
        lifelines.check()


def test_a_sweep_whose_cluster_was_killed_from_outside_ends(
    servers: Servers, recipe: Path, tmp_path: Path
) -> None:
    todo = sweep.jobs([recipe], out=tmp_path)
    with pytest.raises(ClusterError, match="has ended"):
        sweep.sweep(todo, cpus=1, display=Silent())


def test_a_machine_without_the_engine_is_told(servers: Servers) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ClusterError, match=r"machine 127.0.0.1 .* No module named 'nas'; install"):
        check_cluster(1, {"CPU": 1.0}, address="127.0.0.1:6379")
