"""A cluster of several Ray nodes on this machine, some of which are lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from nas.evaluation import cluster as engine
from nas.evaluation.cluster import ClusterError, RayEvaluator
from nas.evaluation.connection import check_cluster
from nas.evaluation.evaluation import flat
from tests.nas.synthetic import Synthetic, factory

NODE_CPUS = 2
NODES = 2
# Without what takes long to start; a port that no other cluster on this machine has.
HEAD = {"num_cpus": 0, "include_dashboard": False, "dashboard_agent_listen_port": 0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for workers."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def nodes(cluster: Any) -> Any:
    """The head and two nodes with room for two workers each."""
    while len(cluster.worker_nodes) < NODES:
        add(cluster)
    cluster.wait_for_nodes()
    return cluster


def add(nodes: Any) -> None:
    nodes.add_node(num_cpus=NODE_CPUS, object_store_memory=100 << 20)


def lose(nodes: Any) -> None:
    nodes.remove_node([*nodes.worker_nodes][-1], allow_graceful=False)


def test_workers_must_fit_on_single_nodes(nodes: Any, tmp_path: Any) -> None:
    with pytest.raises(ClusterError, match="room for 0 of the 1"):
        RayEvaluator(factory(tmp_path), workers=1, cpus_per_worker=NODE_CPUS + 1)


def test_every_machine_that_takes_workers_is_tried(nodes: Any) -> None:
    check_cluster(NODES * NODE_CPUS, {"CPU": 1.0, "GPU": 0.0}, address=nodes.address)
    with pytest.raises(ClusterError, match="room for 4 of the 5 workers"):
        check_cluster(NODES * NODE_CPUS + 1, {"CPU": 1.0, "GPU": 0.0}, address=nodes.address)


@pytest.mark.parametrize("replaced", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_lost_node_costs_no_evaluation(
    nodes: Any, tmp_path: Any, caplog: pytest.LogCaptureFixture, *, replaced: bool
) -> None:
    wanted = [(Synthetic.WAIT, number) for number in range(24)]
    with RayEvaluator(factory(tmp_path), workers=NODES * NODE_CPUS) as evaluate:
        arrived = []
        for group in evaluate(wanted):
            before = len(arrived)
            arrived += [evaluation.genotype for evaluation in group]
            if before < 5 <= len(arrived):
                lose(nodes)
                if replaced:
                    add(nodes)
        again = (Synthetic.ANSWER, 0)
        assert [evaluation.genotype for evaluation in flat(evaluate([again]))] == [again]
    assert Counter(arrived) == Counter(wanted)
    assert "another one takes over" in caplog.text


@pytest.mark.slow
def test_when_all_nodes_are_lost_that_is_told(
    nodes: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RayEvaluator(factory(tmp_path), workers=NODES * NODE_CPUS) as evaluate:
        monkeypatch.setattr(engine, "_START_S", 1.0)
        stream = evaluate([(Synthetic.ANSWER, 0), *((Synthetic.WAIT, n) for n in range(12))])
        assert [one.genotype for one in next(stream)] == [(Synthetic.ANSWER, 0)]
        for _ in range(NODES):
            lose(nodes)
        with pytest.raises(ClusterError, match="no worker is left"):
            list(stream)
