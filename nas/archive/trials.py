"""Conversion between evaluations and the trials of an Optuna study, and trials in a journal."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import ValidationError

from nas.archive.records import (
    COMPLETE,
    MAKE_STUDY,
    MAKE_TRIAL,
    HeldAnswers,
    TrialAttributes,
    problem,
)
from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import ERROR, Evaluation, EvaluationError
from search_spaces.space import Genotype, InvalidGenotype, SearchSpace

DIGEST = "digest"
_OWN = ("metrics", "seed", "seconds", "where", "answers", DIGEST)


class ArchiveError(ValueError):
    """An archive that cannot be used, or an evaluation that cannot be archived."""


class OtherMadeError(ArchiveError):
    """An archive whose evaluations were made with something else than what is given.

    Attributes:
        kind: What differs: `space`, `supernet` or `figure`.
    """

    def __init__(self, told: str, kind: str) -> None:
        super().__init__(told)
        self.kind = kind


class NoStudyError(ArchiveError):
    """An archive that holds no study of a name."""


Choose = Callable[[Sequence[Evaluation]], Sequence[Evaluation]]
"""A function that gets the evaluations added since the last look and returns those to add."""


class Trials(Protocol):
    """The finished trials of one study, in a journal or in a database."""

    def add(self, choose: Choose) -> None:
        """Write the evaluations that `choose` returns, in this order.

        `choose` gets the evaluations added since the last look. After a fault it may be called
        again, with the evaluations added until then.
        """
        ...

    def new(self) -> Sequence[Evaluation]:
        """The evaluations added by any process since the last call, in order."""
        ...

    def reserve(self, genotypes: Sequence[Genotype]) -> Sequence[Genotype]:
        """Reserve and return those of `genotypes` that no other driver is measuring."""
        ...

    def elsewhere(self) -> Collection[Genotype]:
        """The genotypes that other drivers are measuring."""
        ...

    def free(self, genotypes: Collection[Genotype] | None = None) -> None:
        """End the reservations of `genotypes`; without argument, of all."""
        ...


class Records(Protocol):
    """A journal as Optuna defines it: a list of numbered records."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append the records and flush them to the disk."""
        ...

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The records from number `log_number_from` on, counted from 0."""
        ...

    def refuse(self, number: int, reason: str) -> Exception:
        """The exception for the record of this number."""
        ...


class JournalTrials:
    """Trials in a journal; trials that are added together need one write and one flush.

    Optuna itself would need one write per trial, check the trial three times and keep a second
    copy in memory: a few milliseconds in a space with many choices. The records written here are
    equal to Optuna's.

    Args:
        records: The journal.
        study: The number of the study in the journal.
        space: The space of the genotypes.
        distributions: The distribution of every choice, in the order of the genotype, as Optuna's
            JSON.
    """

    def __init__(
        self, records: Records, study: int, space: SearchSpace, distributions: Mapping[str, str]
    ) -> None:
        self._records, self._study, self._space = records, study, space
        self._distributions = distributions
        self._read = self._studies = 0

    def add(self, choose: Choose) -> None:
        """Write the evaluations that `choose` returns, given those added since the last look."""
        if added := choose(self.new()):
            self._records.append_logs([self._record(evaluation) for evaluation in added])

    def new(self) -> list[Evaluation]:
        """The evaluations added by any process since the last call, in order."""
        records = list(self._records.read_logs(self._read))
        found = list(self._evaluations(records))
        self._read += len(records)
        return found

    def reserve(self, genotypes: Sequence[Genotype]) -> Sequence[Genotype]:
        """All of `genotypes`, since a run folder has only one driver."""
        return genotypes

    def elsewhere(self) -> Collection[Genotype]:
        """An empty collection, since there is no other driver."""
        return ()

    def free(self, genotypes: Collection[Genotype] | None = None) -> None:
        """Do nothing, since a journal has no reservations."""

    def _evaluations(self, records: Iterable[Mapping[str, Any]]) -> Iterator[Evaluation]:
        for number, record in enumerate(records, start=self._read):
            if record["op_code"] == MAKE_STUDY:
                self._studies += 1
            elif record["study_id"] >= self._studies:
                raise self._records.refuse(number, "it is of a study that was not made before it")
            elif record["op_code"] == MAKE_TRIAL and record["study_id"] == self._study:
                try:
                    yield restored_from(record, self._space)
                except ArchiveError as error:
                    raise self._records.refuse(number, str(error)) from error

    def _record(self, evaluation: Evaluation) -> dict[str, Any]:
        now = datetime.now(tz=UTC).isoformat(timespec="microseconds")
        return {
            "op_code": MAKE_TRIAL,
            "worker_id": "nas",
            "study_id": self._study,
            "datetime_start": now,
            "state": COMPLETE,
            "value": evaluation.error,
            "values": None,
            "datetime_complete": now,
            "distributions": self._distributions,
            "params": dict(zip(self._distributions, evaluation.genotype, strict=True)),
            "user_attrs": attributes(evaluation),
            "system_attrs": {},
            "intermediate_values": {},
        }


def attributes(evaluation: Evaluation) -> dict[str, Any]:
    """The attributes of the trial of an evaluation, beside its parameters and its value."""
    return {
        **{n: value for n, value in evaluation.metrics.items() if n != ERROR},  # to sort by
        "metrics": evaluation.metrics,
        "seed": evaluation.seed,
        "seconds": evaluation.seconds,
        "where": evaluation.where,
        **_written_answers(evaluation.answers),
    }


def require_archivable(evaluation: Evaluation, space: SearchSpace) -> None:
    """Refuse an evaluation that no archive of `space` keeps.

    This is the only check that the genotype of an evaluation is canonical.

    Raises:
        ArchiveError: The genotype is not a canonical one of the space, or a metric has a name that
            an archive uses itself.
    """
    if taken := {*evaluation.metrics} & {*_OWN}:
        raise ArchiveError(
            f"the evaluation of {evaluation.genotype} has a metric called {min(taken)!r}, which an "
            f"archive uses itself; name it otherwise than {', '.join(_OWN)}"
        )
    try:
        canonical = space.canonical(evaluation.genotype)
    except InvalidGenotype as error:
        raise ArchiveError(f"an archive keeps genotypes of its space only: {error}") from error
    if canonical != evaluation.genotype:
        raise ArchiveError(
            f"genotype {evaluation.genotype} is not canonical; ask for, evaluate and archive "
            f"{canonical}, which is the same network"
        )


def restored_from(trial: Mapping[str, Any], space: SearchSpace) -> Evaluation:
    """The evaluation that a trial holds.

    Args:
        trial: The trial as Optuna's JSON: `params`, the option index of each choice by name;
            `value`, the error; `user_attrs`, the `attributes`.
        space: The space of the genotype.

    Raises:
        ArchiveError: The trial is not one that an archive of the space holds.
    """
    picked, names = trial["params"], [made.name for made in space.choices]
    if {*picked} != {*names}:
        raise ArchiveError(
            f"its parameters are {', '.join(sorted(picked)) or 'none'}, but the choices of space "
            f"{space.name!r} are {', '.join(names)}"
        )
    genotype = tuple(picked[name] for name in names)
    evaluation = restored(genotype, trial["user_attrs"])
    require_archivable(evaluation, space)
    if trial["value"] != evaluation.error:
        raise ArchiveError(
            f"its value is {trial['value']}, but its {ERROR!r} {evaluation.error}; an "
            "archive holds the same in both"
        )
    if attributes(evaluation) != trial["user_attrs"]:
        raise ArchiveError(
            "its attributes are not those of an evaluation; an archive holds "
            f"{', '.join(attributes(evaluation))} and each metric with one value"
        )
    return evaluation


def restored(genotype: Genotype, attrs: Mapping[str, Any]) -> Evaluation:
    """The evaluation of `genotype` whose `attributes` are `attrs`."""
    try:
        held = TrialAttributes.model_validate(attrs)
        answers = _read_answers(held.answers)
    except ValidationError as error:
        raise ArchiveError(f"its attributes are not an evaluation's: {problem(error)}") from error
    except ValueError as error:
        raise ArchiveError(f"its answers are no answers: {error}") from error
    try:
        return Evaluation(genotype, held.metrics, held.seed, held.seconds, held.where, answers)
    except EvaluationError as error:
        raise ArchiveError(f"it is no evaluation: {error}") from error


def _written_answers(answers: Answers | None) -> dict[str, Any]:
    if answers is None:
        return {}
    kind, text = "wrong" if answers.packed else "losses", base64.b64encode(answers.held).decode()
    return {"answers": {kind: text, "seen": answers.seen, "whole": answers.whole}}


def _read_answers(held: HeldAnswers | None) -> Answers | None:
    if held is None:
        return None
    packed = held.wrong is not None
    text = held.wrong if packed else held.losses
    content = base64.b64decode(text or "", validate=True)
    return Answers(content, held.seen, held.whole, packed)
