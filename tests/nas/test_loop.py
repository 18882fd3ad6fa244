from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from nas.archive import Archive
from nas.evaluate import Evaluation, EvaluationError
from nas.search.loop import search
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
    def backwards(genotypes: Sequence[Genotype]) -> Iterator[Evaluation]:
        yield from map(measured, reversed(genotypes))

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
    def diverged(genotypes: Sequence[Genotype]) -> list[Evaluation]:
        metrics = {"error": 1.0, "loss": 1.0, metric: value}
        return [Evaluation(genotype, metrics, 0, 0.0, "here") for genotype in genotypes]

    first = Wanderer(space).ask(1)[0]
    with pytest.raises(EvaluationError, match="divergence") as caught:
        search(Wanderer(space), diverged, archive, budget=BUDGET, batch=1)
    assert str(first) in str(caught.value)
    assert len(archive) == 0


def test_an_evaluator_must_give_an_error(archive: Archive, space: SearchSpace) -> None:
    def wordless(genotypes: Sequence[Genotype]) -> list[Evaluation]:
        return [Evaluation(genotype, {"loss": 1.0}, 0, 0.0, "here") for genotype in genotypes]

    with pytest.raises(EvaluationError, match=r"\['loss'\].*must give 'error'"):
        search(Wanderer(space), wordless, archive, budget=BUDGET, batch=BATCH)


@pytest.mark.parametrize("answered", [[], [0], [0, 1, 1], [0, 1, 2, 3, 3]])
def test_an_evaluator_must_answer_every_genotype_once(
    archive: Archive, space: SearchSpace, answered: list[int]
) -> None:
    def confused(genotypes: Sequence[Genotype]) -> list[Evaluation]:
        return [measured(genotypes[index]) for index in answered]

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


def test_a_budget_of_nothing_is_refused(archive: Archive, space: SearchSpace) -> None:
    for budget, batch in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            search(Wanderer(space), Recorder(), archive, budget=budget, batch=batch)
