"""The loss of a search when its process, workers, machines, disk or evaluator fail.

    python -m benchmarks.faults [--rounds 20] [--only worker]    # rows whose name holds "worker"

In every round, a search meets a fault at a random instant. The search is then resumed without a
fault, and the archive is examined. Rounds and instants are seeded. The columns, over all rounds:

- struck: rounds in which the fault came before the search's end;
- lost: evaluations that the finished archive lacks;
- duplicated: second records of a genotype, evaluations that the resumed search measured although
  the archive held them, and evaluations that two drivers measured;
- wrong: evaluations that differ from those of a search without faults, or are not among them;
- again: evaluations that were reported as archived and had to be measured again;
- ends: how searches ended before they were resumed: complete despite the fault, with an error, or
  cut short by the fault.

If damage is reported as an error, the journal is sealed, or the database is restored from a copy,
before the search is resumed. The rows with an absent database need PostgreSQL's server programs.

The Ray rows share one cluster on this machine: three Ray nodes, one of which belongs to the driver,
and four workers.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import sleeper
from benchmarks.database_faults import AWAY, FILE, SharedRound, on_server
from benchmarks.fault_rounds import BUDGET, SECONDS, SPACE, Fault, Round, compared
from nas.archive.archive import ArchiveError
from nas.archive.sealing import seal_journal
from nas.evaluation.cluster import RayEvaluator
from nas.evaluation.evaluation import Evaluation
from search_spaces.space import Genotype

WORKERS, NODES, DEADLINE_S = 4, 2, 10.0
FIRST = 3  # the line of the first evaluation in a journal, from 0
# Settings without services that start slowly, and with a port that no other cluster here uses.
HEAD = {"num_cpus": 0, "include_dashboard": False, "dashboard_agent_listen_port": 0}


def driver_killed(round_: Round) -> None:
    """Kill the driver by SIGKILL at a random time after the first evaluation."""
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.faults", "--in", round_.folder])
    while not round_.told:
        time.sleep(0.01)
    time.sleep(float(round_.rng.uniform(0, 1.2 * BUDGET * SECONDS)))
    child.send_signal(signal.SIGKILL)
    child.wait()


def disk_full(round_: Round) -> None:
    """Let every file refuse further bytes after a random number of them."""
    round_.search(budget=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = round_.journal.stat().st_size + int(round_.rng.integers(1, 60_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        round_.search()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def last_line_torn(round_: Round) -> None:
    """Cut the journal within its last record."""
    round_.search(budget=int(round_.rng.integers(1, BUDGET)))
    size, last = _last_line(round_.journal)
    os.truncate(round_.journal, int(round_.rng.integers(last + 1, size)))


def last_line_corrupted(round_: Round) -> None:
    """Change a byte in the last record."""
    round_.search(budget=int(round_.rng.integers(1, BUDGET)))
    size, last = _last_line(round_.journal)
    with round_.journal.open("r+b") as file:
        file.seek(int(round_.rng.integers(last, size - 1)))
        file.write(bytes(round_.rng.integers(128, 255, size=1, dtype=np.uint8)))


def line_lost(round_: Round) -> None:
    """Remove a line within the journal; seal the rest when the damage is reported."""

    def lose(lines: list[bytes]) -> None:
        del lines[int(round_.rng.integers(1, len(lines) - 1))]

    _damaged(round_, lose)


def lines_swapped(round_: Round) -> None:
    """Swap two lines of the journal; seal the journal when the damage is reported."""

    def swap(lines: list[bytes]) -> None:
        one, other = sorted(round_.rng.choice(np.arange(FIRST, len(lines)), 2, replace=False))
        lines[one], lines[other] = lines[other], lines[one]

    _damaged(round_, swap)


def _damaged(round_: Round, change: Callable[[list[bytes]], None]) -> None:
    round_.search(budget=int(round_.rng.integers(3, BUDGET)))
    lines = round_.journal.read_bytes().splitlines(keepends=True)
    change(lines)
    round_.journal.write_bytes(b"".join(lines))
    (round_.folder / "struck").touch()
    try:
        round_.search()
    except ArchiveError:
        seal_journal(round_.journal, SPACE, study="net")
        raise


def _last_line(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    return len(content), content.rfind(b"\n", 0, len(content) - 1) + 1


def evaluator(fault: str) -> Fault:
    """The fault of an evaluator in this process."""

    def strike(round_: Round) -> None:
        round_.plan(fault)
        round_.search()

    return strike


LOCAL: dict[str, Fault] = {
    "driver killed": driver_killed,
    "disk full": disk_full,
    "last line of the journal torn": last_line_torn,
    "last line of the journal corrupted": last_line_corrupted,
    "a line of the journal lost": line_lost,
    "two lines of the journal swapped": lines_swapped,
    "evaluator raises": evaluator("raises"),
    "evaluator gives NaN": evaluator("nan"),
    "evaluator out of memory (`MemoryError`)": evaluator("memory-refused"),
}


class Cluster:
    """A cluster of three Ray nodes and four workers, which all rounds share.

    Args:
        root: The folder of the workers; the link `round` in it leads to the folder of the round.
    """

    def __init__(self, root: Path) -> None:
        from ray.cluster_utils import Cluster as Nodes

        self.root = root
        (root / "workers").mkdir()
        self._nodes = Nodes(initialize_head=True, head_node_args=HEAD)
        for _ in range(NODES):
            self.add_node()

    @property
    def address(self) -> str:
        """The address of the cluster."""
        return str(self._nodes.address)

    def add_node(self) -> None:
        """Add a node with room for its share of the workers."""
        self._nodes.add_node(num_cpus=WORKERS // NODES, object_store_memory=100 * sleeper.MEBIBYTE)

    def lose_node(self) -> None:
        """End the processes of a node and of its workers."""
        self._nodes.remove_node([*self._nodes.worker_nodes][-1], allow_graceful=False)

    def workers(self) -> list[int]:
        """The process numbers of the workers that are alive."""
        pids = [int(path.name) for path in (self.root / "workers").iterdir()]
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]

    def restore(self, remote: RayEvaluator) -> None:
        """Bring back all nodes and workers, each with its evaluator."""
        while len(self._nodes.worker_nodes) < NODES:
            self.add_node()
        self.lead_to(self.root / "between")
        while len(self.workers()) < WORKERS:
            list(remote([(number,) for number in range(2 * WORKERS)]))

    def lead_to(self, folder: Path) -> None:
        """Let the link of the workers lead to `folder`."""
        folder.mkdir(exist_ok=True)
        (self.root / "round").unlink(missing_ok=True)
        (self.root / "round").symlink_to(folder)

    def close(self) -> None:
        """Stop the nodes."""
        self._nodes.shutdown()

    def kill(self, count: int) -> None:
        """Kill so many workers at once by SIGKILL."""
        for pid in sorted(self.workers())[-count:]:
            os.kill(pid, signal.SIGKILL)

    def replace_node(self) -> None:
        """Lose a node, then add another."""
        self.lose_node()
        self.add_node()


def on_workers(
    fault: str, remote: RayEvaluator, cluster: Cluster, *, act: Callable[[], None] | None = None
) -> Fault:
    """The fault of an evaluator in a Ray worker, or of the cluster if `act` is given."""

    def measure(genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        for arrived in remote(genotypes):
            yield arrived
            if act is not None and sleeper.due(cluster.root / "round", [fault]):
                try:
                    act()
                except Exception as error:
                    # A search would report it as the failure of an evaluation.
                    raise SystemExit(f"the fault itself failed: {error!r}") from error

    def strike(round_: Round) -> None:
        cluster.restore(remote)
        cluster.lead_to(round_.folder)
        round_.plan(fault)
        round_.search(measure)

    return strike


def remote_faults(remote: RayEvaluator, cluster: Cluster) -> dict[str, Fault]:
    """The faults of workers and nodes, by name."""
    acts: dict[str, Callable[[], None]] = {
        "one of four workers killed": lambda: cluster.kill(1),
        "half of the workers killed": lambda: cluster.kill(WORKERS // 2),
        "a node lost, another added": cluster.replace_node,
        "a node lost for good": cluster.lose_node,
    }
    faults = {
        "a worker's evaluator raises": "raises",
        "a worker's evaluator gives NaN": "nan",
        "a worker out of memory (`MemoryError`)": "memory-refused",
        "a worker out of memory (killed)": "memory-killed",
        "a worker's evaluator hangs": "hangs",
        "a worker stopped (`SIGSTOP`)": "stops",
    }
    return {name: on_workers(fault, remote, cluster) for name, fault in faults.items()} | {
        name: on_workers(name.replace(" ", "-"), remote, cluster, act=act)
        for name, act in acts.items()
    }


@contextmanager
def four_workers() -> Iterator[tuple[RayEvaluator, Cluster]]:
    """A context with the cluster and its evaluator, in which the end of a node prints nothing."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        made = sleeper.factory(SECONDS, cluster.root / "round")
        try:
            with RayEvaluator(
                made, workers=WORKERS, address=cluster.address, deadline_s=DEADLINE_S
            ) as remote:
                yield remote, cluster
        finally:
            cluster.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--verbose", action="store_true", help="print errors and warnings too")
    parser.add_argument("--in", type=Path, dest="folder", help=argparse.SUPPRESS)
    parser.add_argument("--shared", action="store_true", help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR)
    if options.folder is not None:
        (SharedRound if options.shared else Round)(options.folder, np.random.default_rng()).search()
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Round(Path(folder), np.random.default_rng(0))
        whole.search()
        expected = whole.archive().evaluations()
    print(f"{options.rounds} rounds each, {BUDGET} evaluations of {SECONDS * 1e3:g} ms a search\n")
    print("| fault | struck | lost | duplicated | wrong | again | ends |")
    print("| --- | --- | --- | --- | --- | --- | --- |")

    out = sys.stdout

    def rows(faults: dict[str, Fault], kind: type[Round] = Round) -> None:
        for name, fault in faults.items():
            if options.only in name:
                row = compared(name, fault, options.rounds, expected, kind=kind)
                print(row, file=out, flush=True)

    rows(LOCAL)
    rows(FILE, SharedRound)
    if options.only in AWAY:
        with on_server() as faults:
            rows(faults, SharedRound)
    with redirect_stdout(sys.stderr), four_workers() as (remote, cluster):  # Ray prints much
        rows(remote_faults(remote, cluster))


if __name__ == "__main__":
    main()
