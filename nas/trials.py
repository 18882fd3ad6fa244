"""An evaluation as a trial of an Optuna study: what is kept of it, and as a record of a journal."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from nas.answers import Answers
from nas.evaluate import Evaluation
from search_spaces.space import Genotype

OBJECTIVE = "error"
_CREATE_TRIAL, _COMPLETE = 4, 1  # as Optuna numbers operations and states


class Trials(Protocol):
    """The finished trials of one study, wherever they are kept."""

    def add(self, evaluations: Sequence[Evaluation]) -> None:
        """Put them on the disk, in this order."""
        ...

    def new(self) -> Sequence[Evaluation]:
        """What was added since the last call, by whomever, in order."""
        ...


class Records(Protocol):
    """A journal as Optuna has it: numbered records."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Put the records on the disk."""
        ...

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The records from this number on."""
        ...


class JournalTrials:
    """Trials in a journal, all that are added at once by one write and one flush.

    Optuna takes one trial per write, checks it three times and keeps all in memory once more, a few
    milliseconds where a space has many choices. The records here are those that it writes.

    Args:
        records: The journal.
        study: The study's number in it.
        distributions: Of every choice, in the order of the genotype, as Optuna's JSON.
    """

    def __init__(self, records: Records, study: int, distributions: Mapping[str, str]) -> None:
        self._records, self._study, self._distributions = records, study, distributions
        self._read = 0

    def add(self, evaluations: Sequence[Evaluation]) -> None:
        """Put them on the disk, in this order."""
        self._records.append_logs([self._record(evaluation) for evaluation in evaluations])

    def new(self) -> list[Evaluation]:
        """What was added since the last call, by whomever, in order."""
        records = list(self._records.read_logs(self._read))
        self._read += len(records)
        return list(self._evaluations(records))

    def _evaluations(self, records: Iterable[Mapping[str, Any]]) -> Iterator[Evaluation]:
        for record in records:
            mine = record["op_code"] == _CREATE_TRIAL and record["study_id"] == self._study
            if mine and record.get("state") == _COMPLETE:
                genotype = tuple(record["params"][name] for name in self._distributions)
                yield restored(genotype, record["user_attrs"])

    def _record(self, evaluation: Evaluation) -> dict[str, Any]:
        now = datetime.now(tz=UTC).isoformat(timespec="microseconds")
        return {
            "op_code": _CREATE_TRIAL,
            "worker_id": "nas",
            "study_id": self._study,
            "datetime_start": now,
            "state": _COMPLETE,
            "value": evaluation.metrics[OBJECTIVE],
            "values": None,
            "datetime_complete": now,
            "distributions": self._distributions,
            "params": dict(zip(self._distributions, evaluation.genotype, strict=True)),
            "user_attrs": attributes(evaluation),
            "system_attrs": {},
            "intermediate_values": {},
        }


def attributes(evaluation: Evaluation) -> dict[str, Any]:
    """What a trial holds beside its parameters and its value."""
    return {
        **{n: value for n, value in evaluation.metrics.items() if n != OBJECTIVE},  # to sort by
        "metrics": evaluation.metrics,
        "seed": evaluation.seed,
        "seconds": evaluation.seconds,
        "where": evaluation.where,
        **_written_answers(evaluation.answers),
    }


def restored(genotype: Genotype, held: Mapping[str, Any]) -> Evaluation:
    """The evaluation that had these `attributes`."""
    return Evaluation(
        genotype=genotype,
        metrics=held["metrics"],
        seed=held["seed"],
        seconds=held["seconds"],
        where=held["where"],
        answers=_read_answers(held),
    )


def _written_answers(answers: Answers | None) -> dict[str, Any]:
    if answers is None:
        return {}
    text = base64.b64encode(answers.bits).decode()
    return {"answers": {"wrong": text, "seen": answers.seen, "whole": answers.whole}}


def _read_answers(held: Mapping[str, Any]) -> Answers | None:
    if "answers" not in held:
        return None
    answers = held["answers"]
    return Answers(base64.b64decode(answers["wrong"]), answers["seen"], answers["whole"])
