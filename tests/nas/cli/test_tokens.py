"""A cluster that asks for a token, and jobs that are submitted to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
TOKEN, OTHER = "right" * 8, "wrong" * 8
EVALUATE = """
import sys
from pathlib import Path
from nas.evaluation.cluster import ClusterError, RayEvaluator
from nas.evaluation.evaluation import flat
from tests.nas.synthetic import Synthetic, factory

try:
    with RayEvaluator(factory(Path(sys.argv[1])), workers=1, address=sys.argv[2]) as evaluate:
        print(len(flat(evaluate([(Synthetic.ANSWER, 0)]))))
except ClusterError as error:
    print(error)
"""


def environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's, with a home that holds no token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "HOME": str(home), **settings}


def ran(command: list[str], *, home: Path, **settings: str) -> str:
    """What it prints."""
    done = subprocess.run(
        command,
        env=environment(home, settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout + done.stderr


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def evaluated(address: str, home: Path, **settings: str) -> str:
    return ran([sys.executable, "-c", EVALUATE, str(home), address], home=home, **settings)


@pytest.mark.ray
def test_a_missing_token_is_told(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        told = evaluated(address, tmp_path, RAY_AUTH_MODE="token")
    assert told.startswith(f"no Ray cluster can be reached at '{address}': Token authentication")
    assert "RAY_AUTH_MODE and the token must be the same" in told
    assert "Traceback" not in told


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of a head node that asks for a token: Ray's and the dashboard's."""
    pytest.importorskip("ray")
    gcs, dashboard, agent = free_ports(3)
    home = tmp_path_factory.mktemp("head")
    head = subprocess.Popen(
        [
            *(str(BIN / "ray"), "start", "--head", "--block", f"--port={gcs}"),
            *("--num-cpus=2", "--disable-usage-stats", "--include-dashboard=true"),
            *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
            f"--object-store-memory={100 << 20}",
        ],
        env=environment(home, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert head.stdout is not None
    assert any("runtime started" in line for line in head.stdout), "the head did not start"
    yield f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}"
    head.send_signal(signal.SIGTERM)
    head.communicate(timeout=60)


@pytest.mark.ray
@pytest.mark.slow
def test_the_right_token_is_let_in(cluster: tuple[str, str], tmp_path: Path) -> None:
    told = evaluated(cluster[0], tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    assert told.splitlines()[-1] == "1"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": OTHER}, {"RAY_AUTH_MODE": "disabled"}],
)
def test_another_token_is_told(
    cluster: tuple[str, str], tmp_path: Path, settings: dict[str, str]
) -> None:
    told = evaluated(cluster[0], tmp_path, **settings)
    assert f"no Ray cluster can be reached at '{cluster[0]}'" in told
    assert "RAY_AUTH_MODE and the token must be the same" in told


@pytest.mark.ray
@pytest.mark.slow
def test_a_submitted_job_runs_the_command_line(cluster: tuple[str, str], tmp_path: Path) -> None:
    command = [str(BIN / "ray"), "job", "submit", "--address", cluster[1], "--"]
    command += [sys.executable, "-m", "nas.cli.main", "--help"]
    told = ran(command, home=tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    assert "sweep" in told
    assert "succeeded" in told
    refused = ran(command, home=tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=OTHER)
    assert "Invalid authentication token" in refused
