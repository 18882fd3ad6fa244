"""Who gets what and when, with a Ray whose calls end when the test says so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace

import pytest

from nas.evaluation import dispatch
from nas.evaluation.crew import ClusterError, Crew, Failure, Reply, Worker
from nas.evaluation.dispatch import Dispatch
from nas.evaluation.evaluation import EvaluationError, no_rival
from search_spaces.space import Genotype
from tests.nas.spaces import measured


class Actor:
    """A worker whose calls end as `Clockwork` plans; dead till it is started anew."""

    def __init__(self, ray: Clockwork) -> None:
        self._ray, self.dead = ray, False
        self.evaluate = self

    def options(self, **_options: object) -> Actor:
        self.dead = False
        return self

    def remote(self, _factory: object, genotypes: Sequence[Genotype], _rivals: object) -> int:
        return self._ray.called(self, list(genotypes))


class Clockwork:
    """Stands for Ray and for time, which passes where somebody waits.

    A call ends when it is in `ended`, or when somebody waits for the first that can end.

    Attributes:
        fates: What becomes of a genotype, the first time, the second and so on: it is `broken`,
            `slow` or `hangs`, or its worker `dies`; then it is sound.
    """

    exceptions = SimpleNamespace(RayTaskError=KeyError, RayError=OSError)

    def __init__(self) -> None:
        self.calls: dict[int, list[Genotype]] = {}
        self.at: dict[int, Actor] = {}
        self.fates: dict[Genotype, list[str]] = {}
        self.fate: dict[int, str] = {}
        self.until: dict[int, float] = {}
        self.ended: set[int] = set()
        self.killed: list[Actor] = []
        self.now = 1000.0

    def called(self, actor: Actor, genotypes: list[Genotype]) -> int:
        call = len(self.calls)
        self.calls[call], self.at[call] = genotypes, actor
        fates = self.fates.get(genotypes[0], []) if genotypes else []
        self.fate[call] = "dies" if actor.dead else fates.pop(0) if fates else "sound"
        self.until[call] = self.now + {"hangs": math.inf, "slow": 20.0}.get(self.fate[call], 0.0)
        actor.dead = self.fate[call] == "dies"
        return call

    def monotonic(self) -> float:
        return self.now

    def wait(
        self, calls: list[int], *, num_returns: int, timeout: float
    ) -> tuple[list[int], list[int]]:
        if timeout and not self.ended & set(calls):
            first = min(calls, key=self.until.__getitem__)
            if self.until[first] <= self.now + timeout:
                self.ended.add(first)
                timeout = max(min(timeout, 1.0), self.until[first] - self.now)
            self.now += timeout
        done = [call for call in calls if call in self.ended][:num_returns]
        return done, [call for call in calls if call not in done]

    def get(self, call: int) -> Reply:
        if self.fate[call] == "dies":
            raise OSError("killed by signal 9")
        failure = Failure("no weights", "trace") if self.fate[call] == "broken" else None
        done = [] if failure else [measured(one) for one in self.calls[call]]
        return Reply(done, failure, f"host:{id(self.at[call])}")

    def kill(self, actor: Actor, *, no_restart: bool = True) -> None:
        self.killed.append(actor)

    def begun(self) -> list[Genotype]:
        return [one for genotypes in self.calls.values() for one in genotypes]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    clockwork = Clockwork()
    monkeypatch.setattr(dispatch, "time", clockwork)
    return clockwork


def crew_of(ray: Clockwork, workers: int) -> Crew:
    return Crew(ray, [Worker(Actor(ray)) for _ in range(workers)], [])  # type: ignore[arg-type]


def dispatched(
    ray: Clockwork, workers: int | Crew, genotypes: Iterable[Genotype]
) -> Iterator[list[Genotype]]:
    crew = crew_of(ray, workers) if isinstance(workers, int) else workers
    made = Dispatch(crew, deadline_s=60.0, patience_s=60.0, look=lambda: None)
    for group in made.run(([genotype] for genotype in genotypes), no_rival):
        yield [evaluation.genotype for evaluation in group]


def test_what_arrives_while_the_caller_is_busy_comes_together(ray: Clockwork) -> None:
    groups = dispatched(ray, 4, ((number,) for number in range(12)))
    assert next(groups) == [(0,)]
    ray.ended |= {1, 2, 3}
    assert next(groups) == [(1,), (2,), (3,)]
    assert sorted([(0,), (1,), (2,), (3,), *(one for group in groups for one in group)]) == [
        (number,) for number in range(12)
    ]


def test_free_workers_have_their_next_before_the_caller_is_busy(ray: Clockwork) -> None:
    groups = dispatched(ray, 4, ((number,) for number in range(30)))
    for ended in ({0, 1, 2}, {3, 4, 5}, {6, 7, 8}):
        ray.ended |= ended
        next(groups)
    assert len(ray.begun()) == 4 + 9, "once three have arrived together, three are kept ready"


def test_as_many_are_chosen_ahead_as_last_arrived_together(ray: Clockwork) -> None:
    chosen: list[int] = []

    def choosing() -> Iterator[Genotype]:
        for number in range(30):
            chosen.append(number)
            yield (number,)

    groups = dispatched(ray, 4, choosing())
    for given in range(1, 5):  # one by one
        next(groups)
        assert len(chosen) == 4 + given
    ray.ended |= {4, 5, 6}
    assert len(next(groups)) == 3
    next(groups)
    assert len(chosen) == 4 + 4 + 3 + 3, "under way, answered before, answered now, ready"


def test_a_slow_choice_does_not_keep_what_arrives_from_the_caller(
    ray: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_FILL_S", -1.0)  # every choice is slow

    def choosing() -> Iterator[Genotype]:
        yield (0,)
        ray.ended.add(0)
        yield from ((number,) for number in range(1, 8))

    groups = dispatched(ray, 4, choosing())
    assert next(groups) == [(0,)]
    assert ray.begun() == [(0,), (1,)], "the others are chosen after it is archived"
    assert len([one for group in groups for one in group]) == 7


def numbers(count: int) -> list[Genotype]:
    return [(number,) for number in range(count)]


def test_of_what_arrives_with_a_failure_the_sound_is_given_first(ray: Clockwork) -> None:
    ray.fates[1,] = ["broken"] * 3
    groups = dispatched(ray, 3, numbers(12))
    next(groups)
    ray.ended |= {1, 2}
    assert next(groups) == [(2,)]
    ray.ended |= set(range(6))
    assert (1,) not in next(groups), "what is under way is awaited"
    with pytest.raises(EvaluationError, match=r"genotype \(1,\) failed 3 times"):
        list(groups)


def test_only_a_network_that_fails_again_and_again_ends_a_search(ray: Clockwork) -> None:
    ray.fates[1,] = ["broken"] * 3
    groups = dispatched(ray, 3, numbers(4))
    assert sorted(next(groups) + next(groups) + next(groups)) == [(0,), (2,), (3,)]
    with pytest.raises(EvaluationError) as told:
        next(groups)
    assert "evaluating genotype (1,) failed 3 times: 1. at host:" in str(told.value)
    assert str(told.value).count("no weights") == 3
    tried = [ray.at[call] for call, given in ray.calls.items() if given == [(1,)]]
    assert len(set(tried)) == 3, "each time another worker"


@pytest.mark.parametrize("fate", ["broken", "dies", "hangs"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_come_again_costs_nothing(ray: Clockwork, fate: str, workers: int) -> None:
    ray.fates[2,] = [fate, fate]
    found = [one for group in dispatched(ray, workers, numbers(6)) for one in group]
    assert sorted(found) == numbers(6)


def test_a_worker_that_was_dead_before_is_not_the_networks_fault(ray: Clockwork) -> None:
    crew = crew_of(ray, 6)
    for worker in crew.workers:
        worker.actor.dead = True  # as where their machine is lost, and Ray has not noticed yet
    assert list(dispatched(ray, crew, [(0,)])) == [[(0,)]]


def test_of_a_late_worker_that_is_told_and_another_one_takes_over(
    ray: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    ray.fates[1,] = ["hangs"]
    crew = crew_of(ray, 2)
    found = [one for group in dispatched(ray, crew, numbers(9)) for one in group]
    assert sorted(found) == numbers(9), "each once"
    [told] = [record.getMessage() for record in caplog.records]
    assert f"late: the worker at {crew.workers[1].where} " in told
    assert "evaluating genotype (1,) for" in told
    assert not ray.killed, "it has till the deadline"
    assert crew.present == [crew.workers[0]]
    ray.ended.add(1)
    again = [one for group in dispatched(ray, crew, [(9,), (10,)]) for one in group]
    assert sorted(again) == [(9,), (10,)], "its answer is nobody's"
    assert len(crew.present) == 2


def test_a_late_answer_counts_where_it_is_the_first(ray: Clockwork) -> None:
    ray.fates[1,] = ["slow", "hangs"]  # the worker, and who takes over
    crew = crew_of(ray, 2)
    found = [one for group in dispatched(ray, crew, numbers(4)) for one in group]
    assert sorted(found) == numbers(4)
    assert crew.present == [crew.workers[1]]


def test_a_worker_that_never_answers_is_started_anew(ray: Clockwork) -> None:
    ray.fates[0,] = ["hangs"]
    crew = crew_of(ray, 1)
    assert list(dispatched(ray, crew, [(0,)])) == [[(0,)]]
    assert ray.killed == [crew.workers[0].actor]


def test_a_network_that_hangs_everywhere_ends_the_search(ray: Clockwork) -> None:
    ray.fates[1,] = ["hangs"] * 9
    groups = dispatched(ray, 2, numbers(2))
    assert next(groups) == [(0,)]
    with pytest.raises(EvaluationError, match=r"\(1,\) failed 3 times.*deadline of 60 s") as told:
        next(groups)
    assert str(told.value).count("took longer") == 3


def test_a_cluster_that_is_gone_ends_the_search_though_answers_arrive(ray: Clockwork) -> None:
    def look() -> None:
        raise ClusterError("the cluster is gone")

    made = Dispatch(crew_of(ray, 2), deadline_s=60.0, patience_s=60.0, look=look)
    with pytest.raises(ClusterError, match="is gone"):
        list(made.run(([genotype] for genotype in numbers(99)), no_rival))
