"""A cluster of several Ray nodes on this machine, one of which is lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from nas.cluster import ClusterError, RayEvaluator
from tests.nas.synthetic import Synthetic, factory

NODE_CPUS = 2


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A head without room for workers, and two nodes with room for two each."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=NODE_CPUS, object_store_memory=100 << 20)
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_lost_node_costs_no_evaluation(nodes, tmp_path):
    wanted = [(Synthetic.WAIT, number) for number in range(24)]
    with RayEvaluator(factory(tmp_path), workers=2 * NODE_CPUS, cpus_per_worker=1) as evaluate:
        arrived = []
        for evaluation in evaluate(wanted):
            arrived.append(evaluation.genotype)
            if len(arrived) == 5:
                nodes.remove_node([*nodes.worker_nodes][-1], allow_graceful=False)
                # Room for the workers that lost theirs.
                nodes.add_node(num_cpus=NODE_CPUS, object_store_memory=100 << 20)
    assert Counter(arrived) == Counter(wanted)


def test_workers_must_fit_on_single_nodes(nodes, tmp_path):
    with pytest.raises(ClusterError, match="room for 0 of the 1"):
        RayEvaluator(factory(tmp_path), workers=1, cpus_per_worker=NODE_CPUS + 1)
