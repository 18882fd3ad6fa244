"""The archive: the durable ledger of true evaluations, an Optuna study."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nas.answers import Answers
from nas.durable import WriteError, write_error
from nas.evaluate import Evaluation
from nas.journal import DamagedJournal, JournalLock, repair, sealed
from search_spaces.choice import Choice, Spec, is_open
from search_spaces.space import Genotype, InvalidGenotype, SearchSpace

OBJECTIVE = "error"


class ArchiveError(ValueError):
    """An archive that cannot be used, or an evaluation that cannot be archived."""


class Archive:
    """The evaluations of one search space, each on the disk before it counts.

    A genotype is evaluated once, but one that saw more images may follow: what a search was told is
    the first, what is reported the one that saw most. Several processes may append to the same
    archive; each sees the others' evaluations from its next append or refresh on.

    Args:
        location: The path of a journal file, created if missing (its folder is not), or a
            database URL such as `postgresql://user@host/database`.
        space: The space that the genotypes belong to.
        study: The name of the study in that file, such as a supernet's.

    Raises:
        ArchiveError: The study belongs to another space or the file is damaged before its end.
        WriteError: The file cannot be written.
    """

    def __init__(self, location: str | Path, space: SearchSpace, *, study: str) -> None:
        self.location = re.sub("//[^/@]*@", "//", str(location))  # no password in a message
        self.space = space
        self._distributions = {c.name: _distribution(c) for c in space.choices}
        self._first: dict[Genotype, Evaluation] = {}
        self._best: dict[Genotype, Evaluation] = {}
        self._read = 0
        with self._written():
            self._study = _open(_storage(str(location)), study)
        self._claim()
        self.refresh()

    def append(self, evaluation: Evaluation) -> None:
        """Put `evaluation` on the disk, unless one of its genotype that saw as much is there.

        Raises:
            ArchiveError: The genotype is not a canonical one of the space, the metrics lack
                `error` or are not finite.
            WriteError: The disk is full or the file not writable; the archive stays readable and
                holds what was appended before.
        """
        trial = self._trial(evaluation)
        self.refresh()
        if _tells_more(evaluation, self._best.get(evaluation.genotype)):
            with self._written():
                self._study.add_trial(trial)
            self.refresh()

    def refresh(self) -> None:
        """Take in what was written since the last look, by whomever."""
        with self._written():
            trials = self._study.get_trials(deepcopy=False)
        for trial in trials[self._read :]:
            if trial.state == TrialState.COMPLETE:
                evaluation = self._evaluation(trial)
                self._first.setdefault(evaluation.genotype, evaluation)
                if _tells_more(evaluation, self._best.get(evaluation.genotype)):
                    self._best[evaluation.genotype] = evaluation
        self._read = len(trials)

    def evaluations(self) -> list[Evaluation]:
        """Of every genotype the evaluation that saw most images, in the order they came first."""
        return [self._best[genotype] for genotype in self._first]

    def told(self) -> list[Evaluation]:
        """Of every genotype the first evaluation, which is the one that a search was told."""
        return list(self._first.values())

    def get(self, genotype: Genotype) -> Evaluation | None:
        """The first evaluation of `genotype`, or `None`."""
        return self._first.get(genotype)

    def __len__(self) -> int:
        return len(self._first)

    def _claim(self) -> None:
        """Mark a new study with the space; refuse one of another space."""
        known = self._study.user_attrs.get("space")
        if known is None and not self._study.get_trials(deepcopy=False):
            with self._written():
                self._study.set_user_attr("space", self.space.fingerprint)
        elif known != self.space.fingerprint:
            raise ArchiveError(
                f"study {self._study.study_name!r} of archive {self.location} holds evaluations of "
                f"the space {known or 'of another program'}, given space {self.space.name!r} "
                f"({self.space.fingerprint}); give the space it was made with, or another archive"
            )

    def _trial(self, evaluation: Evaluation) -> FrozenTrial:
        genotype, metrics = self._checked(evaluation)
        picked = zip(self._distributions.items(), genotype, strict=True)
        return optuna.trial.create_trial(
            params={name: kind.choices[index] for (name, kind), index in picked},
            distributions=dict(self._distributions),
            value=metrics[OBJECTIVE],
            user_attrs={
                "metrics": metrics,
                "seed": int(evaluation.seed),
                "seconds": float(evaluation.seconds),
                "where": evaluation.where,
                **_written_answers(evaluation.answers),
            },
        )

    def _checked(self, evaluation: Evaluation) -> tuple[Genotype, dict[str, float]]:
        metrics = {name: float(value) for name, value in evaluation.metrics.items()}
        if OBJECTIVE not in metrics or not all(map(math.isfinite, metrics.values())):
            raise ArchiveError(
                f"the evaluation of {evaluation.genotype} has the metrics {metrics}; an archive "
                f"keeps finite ones only, {OBJECTIVE!r} among them"
            )
        try:
            canonical = self.space.canonical(evaluation.genotype)
        except InvalidGenotype as error:
            raise ArchiveError(f"an archive keeps genotypes of its space only: {error}") from error
        if canonical != evaluation.genotype:
            raise ArchiveError(
                f"genotype {evaluation.genotype} is not canonical; evaluate and archive "
                f"{canonical}, which is the same network"
            )
        return canonical, metrics

    def _evaluation(self, trial: FrozenTrial) -> Evaluation:
        indices = (
            trial.distributions[n].to_internal_repr(trial.params[n]) for n in self.space.column
        )
        attributes = trial.user_attrs
        return Evaluation(
            genotype=tuple(int(index) for index in indices),
            metrics=attributes["metrics"],
            seed=attributes["seed"],
            seconds=attributes["seconds"],
            where=attributes["where"],
            answers=_read_answers(attributes),
        )

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except DamagedJournal as error:
            raise ArchiveError(str(error)) from error
        except WriteError:
            raise
        except OSError as error:
            raise write_error(self.location, error) from error


def _tells_more(evaluation: Evaluation, known: Evaluation | None) -> bool:
    """Whether it saw more images than what is known of its genotype."""
    seen, before = (one and one.answers and one.answers.seen for one in (evaluation, known))
    return known is None or (seen or 0) > (before or 0)


def _written_answers(answers: Answers | None) -> dict[str, Any]:
    if answers is None:
        return {}
    text = base64.b64encode(answers.bits).decode()
    return {"answers": {"wrong": text, "seen": answers.seen, "whole": answers.whole}}


def _read_answers(attributes: Mapping[str, Any]) -> Answers | None:
    if "answers" not in attributes:
        return None
    held = attributes["answers"]
    return Answers(base64.b64decode(held["wrong"]), held["seen"], held["whole"])


def _distribution(made: Choice[Any]) -> CategoricalDistribution:
    """The options as a dashboard shows them; the trial holds an index into them."""
    labels = [_label(option) for option in made.options]
    return CategoricalDistribution(
        labels if len(set(labels)) == len(labels) else list(map(repr, made.options))
    )


def _label(option: Any) -> bool | int | float | str | None:
    """A plain option as it is; a spec by its fields that are no decisions of their own."""
    if option is None or isinstance(option, bool | int | float | str):
        return option
    if not isinstance(option, Spec):
        return repr(option)
    held = {field.name: getattr(option, field.name) for field in fields(option)}
    shown = (f"{name}={_label(value)}" for name, value in held.items() if not is_open(value))
    return f"{type(option).__name__}({', '.join(shown)})"


class _Journal(JournalFileBackend):
    """Optuna's journal file with our lock and sealed records.

    Optuna's own lock is a link that a killed process leaves behind, to be waited for.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_obj=cast("Any", JournalLock(path)))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Put the records on the disk."""
        super().append_logs([sealed(log) for log in logs])


def _storage(location: str) -> BaseStorage:
    if "://" in location:
        return RDBStorage(location)
    path = Path(location)
    repair(path)
    return JournalStorage(_Journal(path))


def _open(storage: BaseStorage, name: str) -> optuna.Study:
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        pass
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=name, storage=storage, direction="minimize", load_if_exists=True
        )
    finally:
        optuna.logging.set_verbosity(level)
