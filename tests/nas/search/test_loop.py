from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from nas.archive.archive import Archive, ArchiveError
from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation, EvaluationError
from nas.problem.goals import Goal, Problem
from nas.search.early_stop import EarlyStopping
from nas.search.loop import search, search_asynchronously
from search_spaces.space import Genotype, SearchSpace
from tests.nas.spaces import Recorder, Wanderer, measured, small_space, tiny_space

BUDGET, BATCH = 10, 4


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return small_space()


@pytest.fixture
def archive(tmp_path: Path, space: SearchSpace) -> Archive:
    return Archive(tmp_path / "archive.journal", space, study="net")


@pytest.fixture
def uninterrupted(tmp_path: Path, space: SearchSpace) -> list[Evaluation]:
    archive = Archive(tmp_path / "uninterrupted.journal", space, study="net")
    return search(Wanderer(space), Recorder(), archive, budget=BUDGET, batch=BATCH)


def test_the_budget_is_spent_on_distinct_subnets_and_all_are_archived(
    archive: Archive, space: SearchSpace
) -> None:
    evaluate = Recorder()
    found = search(Wanderer(space), evaluate, archive, budget=BUDGET, batch=BATCH)
    assert len(set(evaluate.asked)) == len(evaluate.asked) == BUDGET
    assert archive.evaluations() == found
    assert [evaluation.genotype for evaluation in found] == evaluate.asked


@pytest.mark.parametrize("instant", range(BUDGET))
def test_killed_at_any_evaluation_and_resumed_it_is_as_if_nothing_happened(
    tmp_path: Path, space: SearchSpace, uninterrupted: list[Evaluation], instant: int
) -> None:
    path = tmp_path / "archive.journal"
    first = Recorder(fail_at=instant)
    with pytest.raises(KeyboardInterrupt):
        search(
            Wanderer(space),
            first,
            Archive(path, space, study="net"),
            budget=BUDGET,
            batch=BATCH,
        )
    second, archive = Recorder(), Archive(path, space, study="net")
    assert len(archive) == instant
    found = search(Wanderer(space), second, archive, budget=BUDGET, batch=BATCH)
    assert found == archive.evaluations() == uninterrupted
    assert sorted(first.asked + second.asked) == sorted(e.genotype for e in uninterrupted)


def test_workers_that_finish_in_any_order_change_nothing_but_the_archive_s_order(
    archive: Archive, space: SearchSpace, uninterrupted: list[Evaluation]
) -> None:
    def backwards(genotypes: Sequence[Genotype]) -> Iterator[list[Evaluation]]:
        for genotype in reversed(genotypes):
            yield [measured(genotype)]

    found = search(Wanderer(space), backwards, archive, budget=BUDGET, batch=BATCH)
    assert found == uninterrupted
    assert archive.evaluations() != found
    assert set(map(repr, archive.evaluations())) == set(map(repr, found))


@pytest.mark.parametrize("first", range(1, BUDGET))
def test_a_larger_budget_continues_as_if_it_had_been_given_at_first(
    archive: Archive, space: SearchSpace, uninterrupted: list[Evaluation], first: int
) -> None:
    search(Wanderer(space), Recorder(), archive, budget=first, batch=BATCH)
    evaluate = Recorder()
    found = search(Wanderer(space), evaluate, archive, budget=BUDGET, batch=BATCH)
    assert found == uninterrupted
    assert len(evaluate.asked) == BUDGET - first


def test_a_finished_search_evaluates_nothing_again(archive: Archive, space: SearchSpace) -> None:
    first = search(Wanderer(space), Recorder(), archive, budget=BUDGET, batch=BATCH)
    again = Recorder(fail_at=0)
    assert search(Wanderer(space), again, archive, budget=BUDGET, batch=BATCH) == first
    assert again.asked == []


def test_an_exhausted_space_ends_the_search(tmp_path: Path) -> None:
    space = tiny_space()
    archive = Archive(tmp_path / "archive.journal", space, study="net")
    found = search(Wanderer(space), Recorder(), archive, budget=1000, batch=3)
    assert len(found) == len(archive) == space.size


def test_progress_is_told_of_every_evaluation_once(archive: Archive, space: SearchSpace) -> None:
    search(Wanderer(space), Recorder(), archive, budget=6, batch=BATCH)
    calls: list[tuple[int, int, int]] = []
    search(
        Wanderer(space),
        Recorder(),
        archive,
        budget=BUDGET,
        batch=BATCH,
        progress=lambda done, budget, latest: calls.append((done, budget, len(latest))),
    )
    assert calls == [(4, 10, 4), (6, 10, 2), (7, 10, 1), (8, 10, 1), (9, 10, 1), (10, 10, 1)]


def test_what_arrives_together_is_archived_by_one_write_before_progress_is_told(
    archive: Archive, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int, int]] = []
    writes: list[int] = []
    monkeypatch.setattr(os, "fsync", writes.append)

    def in_threes(genotypes: Sequence[Genotype]) -> Iterator[list[Evaluation]]:
        for start in range(0, len(genotypes), 3):
            yield [measured(genotype) for genotype in genotypes[start : start + 3]]

    def progress(done: int, budget: int, latest: Sequence[Evaluation]) -> None:
        reopened = Archive(archive.location, space, study="net")
        assert reopened.evaluations()[-len(latest) :] == list(latest)
        told.append((done, len(latest), len(writes)))

    found = search(Wanderer(space), in_threes, archive, budget=BUDGET, batch=5, progress=progress)
    assert told == [(3, 3, 1), (5, 2, 2), (8, 3, 3), (10, 2, 4)]
    assert found == archive.evaluations()


def test_of_what_arrives_together_what_was_asked_for_is_archived_and_the_first_fault_is_told(
    archive: Archive, space: SearchSpace
) -> None:
    proposed = Wanderer(space).ask(BATCH)
    strangers = [g for g in Wanderer(space, seed=1).ask(BATCH) if g not in proposed][:2]

    def partly(genotypes: Sequence[Genotype]) -> Iterator[list[Evaluation]]:
        yield [measured(g) for g in (genotypes[0], *strangers, *genotypes[2:])]

    with pytest.raises(EvaluationError, match="not asked for") as caught:
        search(Wanderer(space), partly, archive, budget=BUDGET, batch=BATCH)
    assert str(strangers[0]) in str(caught.value)
    assert [e.genotype for e in archive.evaluations()] == [proposed[0], *proposed[2:]]


def test_an_evaluator_that_raises_is_one_sentence_and_what_was_done_is_kept(
    archive: Archive, space: SearchSpace
) -> None:
    evaluate = Recorder(fail_at=3, error=MemoryError("no memory"))
    with pytest.raises(EvaluationError, match="failed: MemoryError: no memory; what was") as caught:
        search(Wanderer(space), evaluate, archive, budget=BUDGET, batch=BATCH)
    assert isinstance(caught.value.__cause__, MemoryError)
    failed = Wanderer(space).ask(BATCH)[3]
    assert f"genotype {failed}" in str(caught.value)
    assert [e.genotype for e in archive.evaluations()] == evaluate.asked


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["error", "loss"])
def test_a_metric_that_is_not_finite_is_not_archived(
    archive: Archive, space: SearchSpace, metric: str, value: float
) -> None:
    def diverged(genotypes: Sequence[Genotype]) -> list[list[Evaluation]]:
        metrics = {"error": 1.0, "loss": 1.0, metric: value}
        return [[Evaluation(genotype, metrics, 0, 0.0, "here")] for genotype in genotypes]

    first = Wanderer(space).ask(1)[0]
    with pytest.raises(EvaluationError, match="divergence") as caught:
        search(Wanderer(space), diverged, archive, budget=BUDGET, batch=1)
    assert str(first) in str(caught.value)
    assert len(archive) == 0


def test_an_evaluator_must_give_an_error(archive: Archive, space: SearchSpace) -> None:
    def wordless(genotypes: Sequence[Genotype]) -> list[list[Evaluation]]:
        return [[Evaluation(genotype, {"loss": 1.0}, 0, 0.0, "here") for genotype in genotypes]]

    with pytest.raises(EvaluationError, match=r"\['loss'\].*must give 'error'"):
        search(Wanderer(space), wordless, archive, budget=BUDGET, batch=BATCH)


@pytest.mark.parametrize("answered", [[], [0], [0, 1, 1], [0, 1, 2, 3, 3]])
def test_an_evaluator_must_answer_every_genotype_once(
    archive: Archive, space: SearchSpace, answered: list[int]
) -> None:
    def confused(genotypes: Sequence[Genotype]) -> list[list[Evaluation]]:
        return [[measured(genotypes[index]) for index in answered]]

    with pytest.raises(EvaluationError, match="must give one evaluation per genotype"):
        search(Wanderer(space), confused, archive, budget=BUDGET, batch=BATCH)
    assert {e.genotype for e in archive.evaluations()} <= set(Wanderer(space).ask(BATCH))


def test_a_searcher_that_repeats_itself_is_refused(archive: Archive, space: SearchSpace) -> None:
    class Parrot(Wanderer):
        def ask(self, count: int) -> list[Genotype]:
            return [space.smallest]

    with pytest.raises(ValueError, match=r"Parrot proposed .* again"):
        search(Parrot(space), Recorder(), archive, budget=BUDGET, batch=BATCH)
    assert len(archive) == 1


@pytest.mark.parametrize("how", [functools.partial(search, batch=1), search_asynchronously])
def test_a_searcher_that_proposes_what_is_not_canonical_is_refused(
    archive: Archive, space: SearchSpace, how: Callable[..., object]
) -> None:
    closed = next(g for g in itertools.product(*map(range, space.counts)) if is_closed(space, g))

    class Sloppy(Wanderer):
        def ask(self, count: int) -> list[Genotype]:
            return [tuple(map(int, closed))]

    with pytest.raises(ArchiveError, match="not canonical; ask for"):
        how(Sloppy(space), Recorder(), archive, budget=BUDGET)
    assert len(archive) == 0


def is_closed(space: SearchSpace, genotype: Genotype) -> bool:
    return space.canonical(genotype) != genotype


@pytest.mark.parametrize("how", [functools.partial(search, batch=BATCH), search_asynchronously])
def test_a_searcher_is_told_what_the_archive_holds_and_nothing_else(
    archive: Archive, space: SearchSpace, how: Callable[..., object]
) -> None:
    """Numbers of numpy, and an evaluation that another driver archived meanwhile."""
    other = Archive(archive.location, space, study="net")

    def careless(genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        for genotype in genotypes:
            if not len(other):
                other.append(measured(genotype, where="there"))
            answers = Answers.of(np.array([100.0, 0.0]), 2)
            metrics = {"error": np.float32(0.1), "loss": np.float64(1 / 3)}
            yield [Evaluation(genotype, metrics, 0, np.float32(0.1), "here", answers)]

    searcher = Student(space)
    how(searcher, careless, archive, budget=BUDGET)
    held = {id(evaluation) for evaluation in archive.told()}
    assert len(searcher.told) >= BUDGET - 1, "the last is told in batches only"
    assert all(id(evaluation) in held for evaluation in searcher.told)
    assert searcher.told[0].where == "there"
    assert {type(value) for one in searcher.told for value in one.metrics.values()} == {float}


def test_a_budget_of_nothing_is_refused(archive: Archive, space: SearchSpace) -> None:
    for budget, batch in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            search(Wanderer(space), Recorder(), archive, budget=budget, batch=batch)


class Workers:
    """So many evaluations under way at once; who ends next is drawn by their durations.

    Time is counted, not waited for: `ended` holds every genotype with the time of its end, `begun`
    that of its beginning. A call goes on where the last one ended.
    """

    def __init__(self, count: int, *, seed: int = 0, slow: float | None = None) -> None:
        self.begun: dict[Genotype, float] = {}
        self.ended: dict[Genotype, float] = {}
        self._count, self._slow, self._now = count, slow, 0.0
        self._rng = np.random.default_rng(seed)

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        waiting, busy = iter(genotypes), {}
        while True:
            for genotype in itertools.islice(waiting, self._count - len(busy)):
                self.begun[genotype] = self._now
                busy[genotype] = self._now + self._duration()
            if not busy:
                return
            genotype = min(busy, key=lambda genotype: busy[genotype])
            self._now = self.ended[genotype] = busy.pop(genotype)
            yield [measured(genotype)]

    def _duration(self) -> float:
        if self._slow is not None and len(self.begun) == 1:
            return self._slow
        return float(self._rng.lognormal())

    @property
    def end(self) -> float:
        return max(self.ended.values())


class Student(Wanderer):
    """Remembers what it was told, and how much was under way when it was asked."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        self.told: list[Evaluation] = []
        self.pending: list[int] = []
        self.counts: list[int] = []

    def ask(self, count: int) -> list[Genotype]:
        asked = super().ask(count)
        self.counts.append(count)
        self.pending.append(len(self._proposed) - len(self.told) - len(asked))
        return asked

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        super().tell(evaluations)
        self.told += evaluations


class InGroups:
    """So many workers, of which three end at the same time."""

    capacity = 4

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        waiting = iter(genotypes)
        while busy := list(itertools.islice(waiting, self.capacity)):
            while len(busy) == self.capacity:
                yield [measured(busy.pop()) for _ in range(3)]
                busy += itertools.islice(waiting, 3)
            yield [measured(genotype) for genotype in busy]


class TestAsynchronously:
    def test_one_question_is_for_all_free_workers_and_for_no_more_than_the_budget(
        self, archive: Archive, space: SearchSpace
    ) -> None:
        searcher = Student(space)
        search_asynchronously(searcher, InGroups(), archive, budget=12)
        assert searcher.counts == [4, 3, 3, 2]
        assert searcher.told == archive.evaluations()[:9], "all before the last question"
        assert len(archive) == 12

    def test_what_can_stop_early_has_the_same_capacity(self, space: SearchSpace) -> None:
        problem = Problem(space, (Goal("any", {"cost": lambda rows: rows[:, 0]}, ("cost",)),))
        for evaluate, capacity in ((InGroups(), 4), (Recorder(), 1)):
            assert EarlyStopping(problem, Wanderer(space), evaluate).capacity == capacity

    def test_the_budget_is_spent_and_everything_is_archived_and_told_as_it_arrives(
        self, archive: Archive, space: SearchSpace
    ) -> None:
        searcher, workers = Student(space), Workers(4)
        search_asynchronously(searcher, workers, archive, budget=30)
        arrived = sorted(workers.ended, key=lambda genotype: workers.ended[genotype])
        assert [e.genotype for e in archive.evaluations()] == arrived
        assert len(arrived) == 30
        assert searcher.pending == [0, 1, 2, *[3] * 27], "3 more are under way at every question"
        assert searcher.told == archive.evaluations()[:27], "all but those after the last question"

    def test_a_slow_worker_holds_nobody_up(self, tmp_path: Path, space: SearchSpace) -> None:
        meanwhile = []
        for how in (functools.partial(search, batch=8), search_asynchronously):
            workers = Workers(8, slow=1e6)
            archive = Archive(tmp_path / f"{len(meanwhile)}", space, study="net")
            how(Wanderer(space), workers, archive, budget=40)
            slow = next(iter(workers.begun))
            meanwhile.append(sum(end < workers.ended[slow] for end in workers.ended.values()))
        assert meanwhile == [7, 39]

    @pytest.mark.parametrize("seed", range(3))
    def test_it_ends_before_a_search_in_batches(
        self, tmp_path: Path, space: SearchSpace, seed: int
    ) -> None:
        streamed, batched = Workers(8, seed=seed), Workers(8, seed=seed)
        archive = Archive(tmp_path / "streamed", space, study="net")
        search_asynchronously(Wanderer(space), streamed, archive, budget=80)
        archive = Archive(tmp_path / "batched", space, study="net")
        search(Wanderer(space), batched, archive, budget=80, batch=8)
        assert streamed.end < 0.8 * batched.end

    @pytest.mark.parametrize("instant", range(0, 30, 3))
    def test_killed_and_resumed_it_loses_nothing_and_evaluates_nothing_twice(
        self, tmp_path: Path, space: SearchSpace, instant: int
    ) -> None:
        path, first, second = tmp_path / "archive.journal", Workers(4), Workers(4, seed=1)

        def killed(genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
            for count, evaluation in enumerate(first(genotypes)):
                if count == instant:
                    raise KeyboardInterrupt
                yield evaluation

        with pytest.raises(KeyboardInterrupt):
            search_asynchronously(
                Wanderer(space), killed, Archive(path, space, study="net"), budget=30
            )
        archive, searcher = Archive(path, space, study="net"), Student(space)
        before = archive.evaluations()
        assert len(before) == instant
        search_asynchronously(searcher, second, archive, budget=30)
        assert len(archive) == 30
        assert not set(second.ended) & {evaluation.genotype for evaluation in before}
        assert searcher.told[:instant] == before

    def test_what_others_archive_meanwhile_is_told_and_counts(
        self, tmp_path: Path, space: SearchSpace
    ) -> None:
        path = tmp_path / "archive.journal"
        mine, theirs = (Archive(path, space, study="net") for _ in range(2))
        other = Wanderer(space, seed=1)

        def shared(genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
            for genotype in genotypes:
                for found in other.ask(1):
                    theirs.append(measured(found, where="there"))
                yield [measured(genotype)]

        searcher = Student(space)
        search_asynchronously(searcher, shared, mine, budget=20)
        assert {e.where for e in searcher.told} == {"here", "there"}
        assert searcher.told == mine.evaluations()[: len(searcher.told)]
        assert len(mine) == 20

    def test_what_was_known_before_is_told_and_not_counted(
        self, archive: Archive, space: SearchSpace
    ) -> None:
        for genotype in Wanderer(space, seed=1).ask(5):
            archive.append(measured(genotype))
        searcher, calls = Student(space), []
        search_asynchronously(
            searcher,
            Workers(2),
            archive,
            budget=3,
            known=5,
            progress=lambda done, budget, latest: calls.append((done, budget, len(latest))),
        )
        assert len(searcher.told[:5]) == 5
        assert calls == [(1, 3, 1), (2, 3, 1), (3, 3, 1)]
        again = Recorder(fail_at=0)
        search_asynchronously(Wanderer(space), again, archive, budget=3, known=5)
        assert again.asked == []

    def test_an_exhausted_space_ends_it(self, tmp_path: Path) -> None:
        space = tiny_space()
        archive = Archive(tmp_path / "archive.journal", space, study="net")
        search_asynchronously(Wanderer(space), Workers(3), archive, budget=1000)
        assert len(archive) == space.size

    def test_a_searcher_that_fails_is_told_as_it_is_when_what_is_under_way_is_archived(
        self, archive: Archive, space: SearchSpace
    ) -> None:
        class Failing(Wanderer):
            def ask(self, count: int) -> list[Genotype]:
                if len(self._proposed) == 6:
                    raise FloatingPointError("singular")
                return super().ask(count)

        with pytest.raises(FloatingPointError, match="singular"):
            search_asynchronously(Failing(space), Workers(3), archive, budget=20)
        assert len(archive) == 6

    def test_an_evaluator_that_raises_or_answers_wrongly_is_told(
        self, archive: Archive, space: SearchSpace
    ) -> None:
        broken = Recorder(fail_at=3, error=MemoryError("no memory"))
        with pytest.raises(EvaluationError, match="failed: MemoryError: no memory"):
            search_asynchronously(Wanderer(space), broken, archive, budget=20)
        assert len(archive) == 3

        def confused(genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
            taken = next(iter(genotypes))
            yield [measured(taken)]
            yield [measured(taken)]

        with pytest.raises(EvaluationError, match="answered before"):
            search_asynchronously(Wanderer(space, seed=2), confused, archive, budget=20)

    def test_a_searcher_that_repeats_itself_is_refused(
        self, archive: Archive, space: SearchSpace
    ) -> None:
        class Parrot(Wanderer):
            def ask(self, count: int) -> list[Genotype]:
                return [space.smallest]

        with pytest.raises(ValueError, match=r"Parrot proposed .* again"):
            search_asynchronously(Parrot(space), Workers(2), archive, budget=5)
        assert len(archive) == 1
        with pytest.raises(ValueError, match="at least 1"):
            search_asynchronously(Wanderer(space), Workers(2), archive, budget=0)
