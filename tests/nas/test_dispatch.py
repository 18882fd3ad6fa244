"""Who gets what and when, with a Ray whose calls end when the test says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from nas import dispatch
from nas.dispatch import Crew, Dispatch
from nas.evaluate import Evaluation, EvaluationError, no_rival
from search_spaces.space import Genotype
from tests.nas.spaces import measured


class Worker:
    """Notes its calls in a log that all share."""

    def __init__(self, log: dict[int, list[Genotype]]) -> None:
        self._log = log
        self.evaluate = self

    def remote(self, _factory: object, genotypes: Sequence[Genotype], _rivals: object) -> int:
        self._log[len(self._log)] = list(genotypes)
        return len(self._log) - 1


class Clockwork:
    """Stands for Ray: a call ends when it is in `ended`, or when somebody waits for the first."""

    exceptions = SimpleNamespace(RayTaskError=KeyError, RayError=OSError)

    def __init__(self) -> None:
        self.calls: dict[int, list[Genotype]] = {}
        self.ended: set[int] = set()
        self.broken: set[int] = set()

    def wait(
        self, calls: list[int], *, num_returns: int, timeout: float
    ) -> tuple[list[int], list[int]]:
        if timeout and not self.ended & set(calls):
            self.ended.add(calls[0])
        done = [call for call in calls if call in self.ended][:num_returns]
        return done, [call for call in calls if call not in done]

    def get(self, call: int) -> tuple[list[Evaluation], Any]:
        failure = dispatch.Failure("no weights", "trace") if call in self.broken else None
        return [] if failure else [measured(one) for one in self.calls[call]], failure

    def begun(self) -> list[Genotype]:
        return [one for genotypes in self.calls.values() for one in genotypes]


@pytest.fixture
def ray() -> Clockwork:
    return Clockwork()


def dispatched(
    ray: Clockwork, workers: int, genotypes: Iterator[Genotype]
) -> Iterator[list[Genotype]]:
    crew = Crew(ray, [Worker(ray.calls) for _ in range(workers)], [])  # type: ignore[arg-type]
    made = Dispatch(ray, crew, deadline_s=60.0, patience_s=60.0)  # type: ignore[arg-type]
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


def test_of_what_arrives_with_a_failure_the_sound_is_given_first(ray: Clockwork) -> None:
    groups = dispatched(ray, 3, ((number,) for number in range(12)))
    next(groups)
    ray.broken.add(1)
    ray.ended |= {1, 2}
    assert next(groups) == [(2,)]
    assert next(groups) == [(3,)], "what is under way is awaited"
    with pytest.raises(EvaluationError, match=r"worker failed on genotype \(1,\): no weights"):
        next(groups)
    assert len(ray.begun()) <= 6
