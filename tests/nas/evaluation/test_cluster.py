from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.archive.archive import Archive
from nas.evaluation.answers import Answers
from nas.evaluation.cluster import ClusterError, RayEvaluator
from nas.evaluation.evaluation import (
    Evaluation,
    EvaluationError,
    EvaluatorFactory,
    capacity_of,
    flat,
)
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.search.loop import search
from nas.tabular import load_table
from nas.tasks.criteria import Classification
from search_spaces.space import Genotype
from supernets.deploy import Deployment
from supernets.supernet import Supernet
from tests.nas.local_ray import local_ray
from tests.nas.spaces import Recorder, Wanderer, measured, small_space
from tests.nas.synthetic import Synthetic, factory, threads, writes_its_arrays
from tests.nas.tabular.made import EXAMPLE

CPUS = 6


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One local cluster for this file; four logical CPUs whatever the machine has."""
    with local_ray(CPUS) as ray:
        yield ray


def same(evaluations: list[Evaluation]) -> list[Evaluation]:
    """In one order and without what differs from place to place."""
    return sorted(
        (replace(e, seconds=0.0, where="") for e in evaluations), key=lambda e: e.genotype
    )


def expected(genotypes: list[Genotype]) -> list[Evaluation]:
    return same([measured(genotype) for genotype in genotypes])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workers of `evaluate` leave traces."""
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def evaluate(ray: Any, folder: Path) -> Iterator[RayEvaluator]:
    """Two workers that the tests of one cluster share: no test may leave them unusable."""
    with RayEvaluator(factory(folder), workers=2) as shared:
        yield shared


@pytest.mark.ray
class TestTwoWorkers:
    def test_work_is_shared_and_comes_as_it_finishes(self, evaluate: RayEvaluator) -> None:
        # The first ends only once the eleventh has begun: were they not shared, it would hang.
        genotypes = [(Synthetic.FOLLOW, 10), *((Synthetic.ANSWER, i) for i in range(20))]
        assert capacity_of(evaluate) == 2 + 1, "one is kept ready"
        found = flat(evaluate(genotypes))
        assert found[0].genotype != (Synthetic.FOLLOW, 10)
        assert same(found) == expected(genotypes)
        assert len({evaluation.where for evaluation in found}) == 2
        assert flat(evaluate([])) == []

    def test_a_slow_worker_holds_nobody_up_and_no_more_is_taken_than_is_needed(
        self, evaluate: RayEvaluator
    ) -> None:
        arrived: list[Genotype] = []
        ahead: list[int] = []

        def taken() -> Iterator[Genotype]:
            # The first ends once the last has begun.
            genotypes = [(Synthetic.ANSWER, 30 + i) for i in range(12)]
            for count, genotype in enumerate([(Synthetic.FOLLOW, 41), *genotypes], start=1):
                ahead.append(count - len(arrived))
                yield genotype

        for group in evaluate(taken()):
            arrived += [evaluation.genotype for evaluation in group]
        assert arrived.index((Synthetic.FOLLOW, 41)) >= 11, "all others ended meanwhile"
        assert max(ahead) == 3, "two under way and one ready"

    def test_a_worker_that_dies_loses_nothing(self, evaluate: RayEvaluator) -> None:
        genotypes = [(kind, i) for i in range(2) for kind in (Synthetic.DIE_ONCE, Synthetic.ANSWER)]
        assert same(flat(evaluate(genotypes))) == expected(genotypes)

    def test_a_worker_killed_in_mid_call_loses_nothing(
        self, evaluate: RayEvaluator, folder: Path
    ) -> None:
        genotypes = [(Synthetic.WAIT, 10 + i) for i in range(6)]
        trace = folder / f"{Synthetic.WAIT}-12"

        def kill_its_worker() -> None:
            while not trace.exists() or not trace.read_text():
                time.sleep(0.01)
            os.kill(int(trace.read_text()), signal.SIGKILL)

        killer = threading.Thread(target=kill_its_worker)
        killer.start()
        assert same(flat(evaluate(genotypes))) == expected(genotypes)
        killer.join()

    def test_an_evaluation_that_raises_is_told_after_the_others_are_given(
        self, evaluate: RayEvaluator
    ) -> None:
        stream = evaluate([(Synthetic.WAIT, 20), (Synthetic.RAISE, 7)])
        assert [one.genotype for one in next(stream)] == [(Synthetic.WAIT, 20)]
        with pytest.raises(EvaluationError, match="FloatingPointError: step size of 7") as told:
            next(stream)
        assert "failed 3 times" in str(told.value)
        assert str((Synthetic.RAISE, 7)) in str(told.value)
        assert "in _act" in "".join(told.value.__notes__)
        assert len(flat(evaluate([(Synthetic.ANSWER, 22)]))) == 1, "the workers are still there"

    @pytest.mark.slow
    def test_a_genotype_that_kills_every_worker_is_named(self, evaluate: RayEvaluator) -> None:
        died = r"genotype \(3, 5\) failed 3 times: 1. at .*: its worker died"
        with pytest.raises(EvaluationError, match=died):
            flat(evaluate([(Synthetic.DIE, 5)]))
        assert len(flat(evaluate([(Synthetic.ANSWER, 23)]))) == 1, "the workers are still there"

    def test_a_search_proposes_what_one_in_this_process_does(
        self, evaluate: RayEvaluator, tmp_path: Path
    ) -> None:
        space, found = small_space(), []
        for name, measure in (("remote", evaluate), ("local", Recorder())):
            archive = Archive(tmp_path / name, space, study="net")
            found.append(search(Wanderer(space), measure, archive, budget=12, batch=4))
        remote, local = ([replace(e, where="") for e in evaluations] for evaluations in found)
        assert remote == local


@pytest.mark.ray
@pytest.mark.usefixtures("ray")
def test_workers_look_up_in_a_table_what_this_process_does() -> None:
    table = load_table(EXAMPLE)
    genotypes = [table.space.smallest, table.space.largest]
    with RayEvaluator(table.evaluator().factory(), workers=1) as remote:
        assert same(flat(remote(genotypes))) == same(flat(table.evaluator()(genotypes)))


@pytest.mark.ray
@pytest.mark.usefixtures("ray")
class TestOwnWorkers:
    def test_a_supernet_is_evaluated_as_in_this_process(self) -> None:
        space = small_space()
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(40, 1, 8, 8, generator=generator)
        labels = torch.randint(10, (40,), generator=generator)
        parts = zip(images.split(10), labels.split(10), strict=True)
        batches = [({"image": x}, y) for x, y in parts]
        supernet = Supernet(space, seed=0)
        deployment = Deployment(supernet, [images[:16]])
        local = SupernetEvaluator(
            deployment, batches, criterion=Classification(), seed=3, threads=1
        )
        rng = np.random.default_rng(0)
        genotypes = sorted({space.sample(rng) for _ in range(6)})
        answers = Answers.of(np.zeros(40), 40)
        flawless = Evaluation(genotypes[0], {"error": 0.0}, 3, 0.0, "", answers)
        rivals = dict.fromkeys(genotypes[::2], flawless)
        with RayEvaluator(local.factory(), workers=1, chunk=4) as remote:
            found, stopped = flat(remote(genotypes)), flat(remote(genotypes, rivals.get))
        assert same(found) == same(flat(local(genotypes)))
        assert same(stopped) == same(flat(local(genotypes, rivals.get)))
        assert [one.genotype for one in stopped if not one.complete] == genotypes[::2]
        assert str(os.getpid()) not in {evaluation.where.split(":")[1] for evaluation in found}

    def test_more_workers_than_fit_are_refused_at_once(self, tmp_path: Path) -> None:
        start = time.monotonic()
        with pytest.raises(ClusterError, match=rf"room for {CPUS} of the {CPUS + 1} workers"):
            RayEvaluator(factory(tmp_path), workers=CPUS + 1)
        with pytest.raises(ClusterError, match=r"room for 0 of the 1 workers .*'GPU': 1.0"):
            RayEvaluator(factory(tmp_path), workers=1, gpus_per_worker=1.0)
        assert time.monotonic() - start < 5

    def test_an_evaluator_that_cannot_be_built_is_told(self, tmp_path: Path) -> None:
        broken = factory(tmp_path, broken=np.zeros(1))
        with pytest.raises(ClusterError, match="OSError: the data are not on this machine"):
            RayEvaluator(broken, workers=1)

    @pytest.mark.slow
    def test_a_chunk_whose_worker_dies_in_its_midst_is_evaluated_whole(
        self, tmp_path: Path
    ) -> None:
        genotypes = [(kind, i) for i in range(3) for kind in (Synthetic.ANSWER, Synthetic.DIE_ONCE)]
        with RayEvaluator(factory(tmp_path), workers=2, chunk=3) as evaluate:
            assert same(flat(evaluate(genotypes))) == expected(genotypes)

    @pytest.mark.slow
    def test_an_evaluation_that_hangs_ends_at_the_deadline(self, tmp_path: Path) -> None:
        with RayEvaluator(factory(tmp_path), workers=2, deadline_s=2.0) as evaluate:
            stream = evaluate([(Synthetic.HANG, 0), (Synthetic.ANSWER, 0)])
            assert [one.genotype for one in next(stream)] == [(Synthetic.ANSWER, 0)]
            with pytest.raises(EvaluationError, match=r"genotype \(5, 0\) failed 3 times.* of 2 s"):
                next(stream)
            assert len(flat(evaluate([(Synthetic.ANSWER, 1)]))) == 1, "the other worker goes on"

    @pytest.mark.slow
    def test_a_stopped_worker_is_told_and_its_network_done_by_another(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        genotypes = [(Synthetic.ANSWER, 0), *((Synthetic.WAIT, number) for number in range(6))]
        with RayEvaluator(factory(tmp_path), workers=2, deadline_s=60.0) as evaluate:
            found: list[Evaluation] = []
            for arrived in evaluate(genotypes):
                if not found:
                    os.kill(int(arrived[0].where), signal.SIGSTOP)
                found += arrived
        assert same(found) == expected(genotypes)
        [late] = [one.getMessage() for one in caplog.records if "late" in one.getMessage()]
        assert f":{found[0].where} has been evaluating genotype (1, " in late

    @pytest.mark.slow
    def test_a_worker_whose_evaluation_hangs_is_started_anew(self, tmp_path: Path) -> None:
        with RayEvaluator(factory(tmp_path), workers=1, deadline_s=1.0) as evaluate:
            with pytest.raises(EvaluationError, match="took longer"):
                flat(evaluate([(Synthetic.HANG, 0)]))
            assert len(flat(evaluate([(Synthetic.ANSWER, 1)]))) == 1

    @pytest.mark.slow
    def test_a_worker_that_cannot_be_started_anew_is_given_up(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        once = factory(tmp_path, **{"built once": np.zeros(1)})
        with RayEvaluator(once, workers=1) as evaluate:
            stream = evaluate([(Synthetic.ANSWER, 0), (Synthetic.DIE_ONCE, 0)])
            assert [one.genotype for one in next(stream)] == [(Synthetic.ANSWER, 0)]
            with pytest.raises(ClusterError, match=r"no worker is left.* search again"):
                next(stream)
        took_over, given_up = (record.getMessage() for record in caplog.records)
        assert "genotype (2, 0): its worker died" in took_over
        assert "(0 of 1 workers are left)" in took_over
        assert "FileExistsError" in given_up

    def test_an_evaluator_that_leaves_its_process_is_told(self, evaluate: RayEvaluator) -> None:
        with pytest.raises(EvaluationError, match=r"SystemExit: the licence server"):
            flat(evaluate([(Synthetic.EXIT, 0)]))
        assert len(flat(evaluate([(Synthetic.ANSWER, 24)]))) == 1, "the workers are still there"

    @pytest.mark.slow
    def test_workers_may_share_a_cpu(self, tmp_path: Path) -> None:
        with RayEvaluator(factory(tmp_path), workers=6, cpus_per_worker=0.5) as evaluate:
            assert len(flat(evaluate([(Synthetic.ANSWER, i) for i in range(6)]))) == 6

    @pytest.mark.slow
    @pytest.mark.parametrize(("cpus", "count"), [(0.5, 1), (2.0, 2)])
    def test_threads_are_pinned_to_the_cpus(self, cpus: float, count: int) -> None:
        made = EvaluatorFactory(threads, {})
        with RayEvaluator(made, workers=1, cpus_per_worker=cpus) as evaluate:
            ((evaluation,),) = evaluate([(0,)])
        assert evaluation.metrics == {"error": count, "omp": count}

    @pytest.mark.slow
    def test_workers_cannot_change_what_they_share(self) -> None:
        shared = EvaluatorFactory(writes_its_arrays, {"weights": np.zeros(1 << 20)})
        with pytest.raises(ClusterError, match="read-only"):
            RayEvaluator(shared, workers=1)

    @pytest.mark.slow
    def test_closing_makes_room_for_the_next_and_leaves_the_cluster_running(
        self, tmp_path: Path, ray: Any
    ) -> None:
        for _ in range(2):
            with RayEvaluator(factory(tmp_path), workers=CPUS - 2) as evaluate:
                assert len(flat(evaluate([(Synthetic.ANSWER, 0)]))) == 1
        assert ray.is_initialized()


OWN_CLUSTER = """
import sys
from pathlib import Path
import ray
from nas.evaluation.cluster import ClusterError, RayEvaluator
from nas.evaluation.evaluation import flat
from tests.nas.synthetic import Synthetic, factory

made = factory(Path(sys.argv[1]))
for settings in ({"address": "127.0.0.1:1", "workers": 1}, {"workers": 10_000}):
    try:
        RayEvaluator(made, **settings)
    except ClusterError as error:
        print(error)
    assert not ray.is_initialized()
with RayEvaluator(made, workers=1) as evaluate:
    print(len(flat(evaluate([(Synthetic.ANSWER, 0), (Synthetic.ANSWER, 1)]))))
assert not ray.is_initialized()
"""


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_of_its_own_is_started_and_stopped_without_a_word(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", OWN_CLUSTER, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    unreachable, too_small, answered = ran.stdout.splitlines()
    assert "no Ray cluster can be reached at '127.0.0.1:1'" in unreachable
    assert "of the 10000 workers asked for" in too_small
    assert answered == "2"


def test_without_ray_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_ray(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(ClusterError, match=r'pip install "elastic-nas\[cluster\]"'):
        RayEvaluator(factory(tmp_path), workers=1)


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"chunk": 0}, {"cpus_per_worker": 0.0}, {"deadline_s": 0.0}]
)
def test_impossible_settings_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs at least one worker"):
        RayEvaluator(factory(tmp_path), **{"workers": 1, **wrong})
