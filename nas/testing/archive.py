"""The contract of an archive, whether it is a file or a database."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.archive.archive import Archive, ArchiveError
from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation
from search_spaces.space import Genotype, SearchSpace


def evaluated(space: SearchSpace, count: int, *, seed: int = 0) -> list[Evaluation]:
    """`count` evaluations of distinct genotypes, with metrics that need all their digits."""
    rng = np.random.default_rng(seed)
    metrics = np.random.default_rng([seed, 1])  # a longer list begins like a shorter one
    genotypes: dict[Genotype, None] = {}
    while len(genotypes) < count:
        genotypes[space.sample(rng)] = None
    return [
        Evaluation(
            genotype,
            {"error": float(metrics.uniform(0, 100)), "loss": float(metrics.lognormal(0, 9))},
            seed=seed,
            seconds=float(metrics.exponential()),
            where=f"host:{index}:cpü",
        )
        for index, genotype in enumerate(genotypes)
    ]


class ArchiveContract:
    """The tests of an archive.

    A subclass gives the fixtures `location` (a fresh path or URL), `space` and `other_space`.
    """

    @pytest.fixture
    def archive(self, location: str, space: SearchSpace) -> Archive:
        return Archive(location, space, study="net")

    @pytest.fixture
    def evaluations(self, space: SearchSpace) -> list[Evaluation]:
        return evaluated(space, 12)

    def test_a_new_archive_is_empty(self, archive: Archive, space: SearchSpace) -> None:
        assert len(archive) == 0
        assert archive.evaluations() == []
        assert archive.get(space.smallest) is None

    def test_what_is_appended_is_there_to_the_last_digit_and_in_order(
        self, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        for count, evaluation in enumerate(evaluations, start=1):
            archive.append(evaluation)
            assert len(archive) == count
            assert archive.get(evaluation.genotype) == evaluation
        assert archive.evaluations() == evaluations

    def test_reopened_it_holds_the_same_and_takes_more(
        self, location: str, space: SearchSpace, evaluations: list[Evaluation]
    ) -> None:
        for evaluation in evaluations:
            archive = Archive(location, space, study="net")
            archive.append(evaluation)
        again = Archive(location, space, study="net")
        assert again.evaluations() == evaluations
        assert again.get(evaluations[-1].genotype) == evaluations[-1]

    def test_numpy_numbers_come_back_as_numbers(self, archive: Archive, space: SearchSpace) -> None:
        metrics = {"error": np.float32(12.5), "loss": np.float64(0.1)}
        given = Evaluation(space.smallest, metrics, int(np.int64(3)), np.float64(1.5), "here")
        archive.append(given)
        assert archive.get(space.smallest) == given

    def test_the_first_evaluation_of_a_genotype_stands(
        self, location: str, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        first = evaluations[0]
        for again in (first, replace(first, metrics={"error": 0.0}), replace(first, where="else")):
            archive.append(again)
        assert archive.evaluations() == [first]
        assert Archive(location, archive.space, study="net").evaluations() == [first]

    def test_what_is_appended_together_is_as_if_it_were_one_by_one(
        self, location: str, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        seen = [replace(evaluations[0], answers=Answers.of(np.ones(n, bool), 3)) for n in (1, 3)]
        archive.append(evaluations[1], seen[0], evaluations[2], *seen, evaluations[1])
        archive.append()
        for kept in (archive, Archive(location, archive.space, study="net")):
            assert kept.told() == [evaluations[1], seen[0], evaluations[2]]
            assert kept.evaluations() == [evaluations[1], seen[1], evaluations[2]]

    def test_of_a_group_with_one_that_is_refused_nothing_is_appended(
        self, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        broken = replace(evaluations[1], metrics={"error": 1.0, "where": 2.0})
        with pytest.raises(ArchiveError, match="'where', which an archive uses itself"):
            archive.append(evaluations[0], broken, evaluations[2])
        archive.refresh()
        assert len(archive) == 0

    @pytest.mark.parametrize("bits", [True, False])
    def test_answers_come_back_and_the_evaluation_that_saw_more_is_reported(
        self, location: str, archive: Archive, evaluations: list[Evaluation], *, bits: bool
    ) -> None:
        drawn = np.random.default_rng(0).random(100)
        losses = 100.0 * (drawn < 0.3) if bits else drawn.astype(np.float32)
        stopped, whole, more = (
            replace(evaluations[0], metrics={"error": seen}, answers=Answers.of(losses[:seen], 80))
            for seen in (10, 80, 100)
        )
        for one in (stopped, evaluations[1], whole, stopped, more, whole):
            archive.append(one)
        for kept in (archive, Archive(location, archive.space, study="net")):
            assert kept.evaluations() == [more, evaluations[1]]
            assert kept.told() == [stopped, evaluations[1]]
            assert kept.get(stopped.genotype) == stopped
            assert len(kept) == 2

    def test_what_a_search_is_told_is_what_was_recorded_first(
        self, location: str, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        other = Archive(location, archive.space, study="net")
        other.append(evaluations[1])
        late = replace(evaluations[1], metrics={"error": 1.0})
        assert archive.append(evaluations[0], late) == evaluations[:2]
        assert archive.append() == []

    def test_measurements_are_the_evaluations_as_arrays(
        self, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        assert archive.measurements().rows.shape == (0, len(archive.space.choices))
        archive.append(*evaluations)
        measured = archive.measurements()
        assert list(measured.evaluations) == archive.evaluations()
        assert measured.losses.tolist() == [one.error for one in evaluations]
        assert archive.measurements() is measured
        more = replace(evaluations[0], answers=Answers.of(np.ones(3, bool), 4))
        archive.append(more)
        assert archive.measurements().evaluations[0] == more
        assert not archive.measurements().complete[0]

    def test_two_writers_see_each_other_and_keep_a_genotype_once(
        self, location: str, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        other = Archive(location, archive.space, study="net")
        for index, evaluation in enumerate(evaluations):
            (archive, other)[index % 2].append(evaluation)
        archive.append(replace(evaluations[-1], metrics={"error": 1.0}))
        assert archive.evaluations() == evaluations
        assert Archive(location, archive.space, study="net").evaluations() == evaluations

    def test_studies_of_one_place_are_apart(
        self, location: str, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        archive.append(evaluations[0])
        other = Archive(location, archive.space, study="other net")
        assert len(other) == 0
        other.append(evaluations[1])
        again = Archive(location, archive.space, study="net")
        assert again.evaluations() == evaluations[:1]

    def test_another_space_is_refused(
        self, location: str, archive: Archive, other_space: SearchSpace
    ) -> None:
        with pytest.raises(ArchiveError, match="give the space it was made with") as caught:
            Archive(location, other_space, study="net")
        assert archive.space.fingerprint in str(caught.value)
        assert other_space.fingerprint in str(caught.value)

    def test_a_genotype_outside_the_space_is_refused(
        self, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        for genotype in ((), (99,) * len(archive.space.choices)):
            with pytest.raises(ArchiveError, match="genotypes of its space"):
                archive.append(replace(evaluations[0], genotype=genotype))
        assert len(archive) == 0

    def test_a_genotype_that_is_not_canonical_is_refused(
        self, archive: Archive, evaluations: list[Evaluation]
    ) -> None:
        space = archive.space
        closed = next(
            (*space.smallest[:i], 1, *space.smallest[i + 1 :])
            for i, is_open in enumerate(space.active(space.smallest))
            if not is_open
        )
        with pytest.raises(ArchiveError, match="not canonical"):
            archive.append(replace(evaluations[0], genotype=closed))
