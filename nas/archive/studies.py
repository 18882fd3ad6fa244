"""The Optuna study of an archive: opening, marking and adding, in a journal or a database."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from nas.archive.database import Reservations, connection_options, patiently
from nas.archive.journal import Journal, ReadJournal, digest
from nas.archive.trials import (
    DIGEST,
    ArchiveError,
    Choose,
    JournalTrials,
    NoStudyError,
    OtherMadeError,
    Trials,
    attributes,
    restored_from,
)
from nas.evaluation.evaluation import ERROR, Evaluation
from nas.settings.urls import database_url, reading, shown
from search_spaces.labels import labels
from search_spaces.space import Genotype, SearchSpace

UNUSABLE = (SQLAlchemyError, StorageInternalError)
"""The exceptions of a database that cannot be used."""

SEALED = (
    "sealed"  # by number, the digests of trials of earlier versions; none of what is no evaluation
)

_RESTORE = "restore the database from a copy, or give the run another archive"

Distributions = Mapping[str, CategoricalDistribution]


def opened(
    location: str,
    space: SearchSpace,
    *,
    study: str,
    marks: Mapping[str, str],
    read_only: bool = False,
) -> Trials:
    """The trials of a study, which is made and marked if it is missing.

    Args:
        location: The path of a journal or the URL of a database.
        space: The space of the genotypes.
        study: The name of the study.
        marks: Kind -> text that identifies the content of the study; a study with other marks is
            refused.
        read_only: Whether the study is only read: nothing is made, marked, locked or written.

    Raises:
        ArchiveError: The study has other marks, is missing and only to be read, or needs a
            database driver that is not installed; or the URL may hold a secret.
        DamagedJournal: The file cannot be read.
        OSError: The file cannot be written.
        UNUSABLE: The database cannot be used.
    """
    kinds = {made.name: CategoricalDistribution(labels(made.options)) for made in space.choices}
    if "://" in location:
        try:
            url = database_url(location)
        except ValueError as error:
            raise ArchiveError(f"an archive cannot be there: {error}") from error
        if read_only:
            return _read_database(url, space, kinds, study=study, marks=marks)
        text = url.render_as_string(hide_password=False)
        return patiently(text, lambda: _in_database(text, space, kinds, study=study, marks=marks))
    journal = ReadJournal(Path(location)) if read_only else Journal(Path(location))
    storage = JournalStorage(cast("Any", journal))
    found = _existing(storage, study) if read_only else _study(storage, study)
    _mark(found, marks, space, location, read_only=read_only)
    written = {name: distribution_to_json(kind) for name, kind in kinds.items()}
    return JournalTrials(journal, storage.get_study_id_from_name(study), space, written)


def _in_database(
    url: str,
    space: SearchSpace,
    kinds: Distributions,
    *,
    study: str,
    marks: Mapping[str, str],
) -> DatabaseTrials:
    storage, reservations = _connected(url, study)
    found = _study(storage, study)
    _mark(found, marks, space, shown(url))

    def retry(action: Callable[[], Any]) -> Any:
        def attempt() -> Any:
            try:
                return action()
            except BaseException:
                storage.remove_session()  # it is of no use after a broken connection
                raise

        return patiently(url, attempt)

    return DatabaseTrials(found, space, kinds, reservations, retry=retry)


def _read_database(
    url: URL,
    space: SearchSpace,
    kinds: Distributions,
    *,
    study: str,
    marks: Mapping[str, str],
) -> DatabaseTrials:
    """The trials of a study in a database that is only read."""
    where, connect = reading(url)
    text = where.render_as_string(hide_password=False)
    options = connection_options(text)
    options["connect_args"] = {**options.get("connect_args", {}), **connect}
    found = _existing(_storage(text, options, made=False), study)
    _mark(found, marks, space, shown(text), read_only=True)
    return DatabaseTrials(found, space, kinds, None, retry=lambda action: action())


class DatabaseTrials:
    """Trials in a database, each with a digest of its content; one process at a time adds.

    Args:
        study: The study.
        space: The space of the genotypes.
        distributions: The distribution of every choice, in the order of the genotype.
        reservations: The networks that drivers are measuring; None if trials are only read.
        retry: Calls a function, again while the database is away.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        distributions: Distributions,
        reservations: Reservations | None,
        *,
        retry: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._study, self._space, self._distributions = study, space, dict(distributions)
        self._shared, self._retry = reservations, retry
        self._read = 0
        self._sealed: Mapping[str, str | None] = study.user_attrs.get(SEALED, {})

    @property
    def _reservations(self) -> Reservations:
        if self._shared is None:
            raise NotImplementedError("these trials are only read")
        return self._shared

    def add(self, choose: Choose) -> None:
        """Write the evaluations that `choose` selects, while no other process adds any."""

        def add() -> None:
            with self._reservations.alone():
                for evaluation in choose(self._latest()):
                    self._study.add_trial(self._trial(evaluation))

        self._retry(add)

    def new(self) -> list[Evaluation]:
        """The evaluations added by any process since the last call, in order."""
        return self._retry(self._latest)

    def reserve(self, genotypes: Sequence[Genotype]) -> list[Genotype]:
        """Reserve and return those of `genotypes` that no other driver is measuring."""
        return self._retry(lambda: self._reservations.take(genotypes))

    def elsewhere(self) -> Collection[Genotype]:
        """The genotypes that other drivers are measuring."""
        return self._retry(self._reservations.others)

    def free(self, genotypes: Collection[Genotype] | None = None) -> None:
        """End the reservations of `genotypes`; without argument, of all, and stop renewing."""
        if genotypes is None:
            self._reservations.end()
        else:
            self._retry(lambda: self._reservations.free(genotypes))

    def seal(self) -> int:
        """Give digests to the trials without one, and return the number of all trials."""
        trials = self._study.get_trials(deepcopy=False)
        self._sealed = {
            str(number): digest(_content(trial)) if trial.state == TrialState.COMPLETE else None
            for number, trial in enumerate(trials)
            if DIGEST not in trial.user_attrs
        }
        self._read = 0
        self._latest()
        self._study.set_user_attr(SEALED, self._sealed)
        return len(trials)

    def _latest(self) -> list[Evaluation]:
        trials = self._study.get_trials(deepcopy=False)
        new = [
            self._restored(trial, number)
            for number, trial in enumerate(trials[self._read :], start=self._read)
            if self._sealed.get(str(number), "") is not None
        ]
        self._read = len(trials)
        return new

    def _trial(self, evaluation: Evaluation) -> FrozenTrial:
        picked = zip(self._distributions.items(), evaluation.genotype, strict=True)
        trial = optuna.trial.create_trial(
            params={name: kind.choices[index] for (name, kind), index in picked},
            distributions=dict(self._distributions),
            value=evaluation.error,
            user_attrs=attributes(evaluation),
        )
        trial.set_user_attr(DIGEST, digest(_content(trial)))
        return trial

    def _restored(self, trial: FrozenTrial, number: int) -> Evaluation:
        """The evaluation that a trial holds; the trial should have the number `number`."""
        try:
            if trial.number != number:
                raise ArchiveError(f"trials before it are lost or stand twice; {_RESTORE}")
            if trial.state != TrialState.COMPLETE:
                raise ArchiveError(
                    f"it is {trial.state.name}, as an archive leaves no trial; {_RESTORE}"
                )
            expected = trial.user_attrs.get(DIGEST) or self._sealed.get(str(number))
            if expected is None:
                raise ArchiveError(
                    "it has no digest: an earlier version or another program wrote it; "
                    "`nas archive seal FOLDER` of its run checks such trials, once"
                )
            if expected != digest(_content(trial)):
                raise ArchiveError(f"its digest does not match its content; {_RESTORE}")
            return restored_from(_content(trial), self._space)
        except ArchiveError as error:
            raise ArchiveError(
                f"trial {trial.number} of study {self._study.study_name!r} cannot be used: {error}"
            ) from error


def seal_database(url: str, space: SearchSpace, *, study: str) -> int:
    """Give digests to the trials that an earlier version wrote.

    The digests are in the study's attribute `sealed`, since Optuna changes no finished trial.

    Returns:
        The number of trials in the study.

    Raises:
        ArchiveError: A trial is not an evaluation of the space; nothing is sealed then.
    """
    trials = opened(url, space, study=study, marks={"space": space.fingerprint})
    return cast("DatabaseTrials", trials).seal()


def _content(trial: FrozenTrial) -> dict[str, Any]:
    """The content of a trial that its digest covers."""
    kinds = trial.distributions
    return {
        "params": {n: int(kinds[n].to_internal_repr(v)) for n, v in trial.params.items()},
        "value": trial.value,
        "user_attrs": {n: value for n, value in trial.user_attrs.items() if n != DIGEST},
    }


def _connected(url: str, study: str, *, attempts: int = 5) -> tuple[RDBStorage, Reservations]:
    """The database with its tables, which another process may be making at the same time."""
    try:
        storage = _storage(url, connection_options(url), made=True)
        return storage, Reservations(url, study)
    except (IntegrityError, ProgrammingError):
        if attempts == 1:
            raise
    time.sleep(0.2)
    return _connected(url, study, attempts=attempts - 1)


def _storage(url: str, options: Mapping[str, Any], *, made: bool) -> RDBStorage:
    """Optuna's storage in a database; with `made`, missing tables are created."""
    try:
        return RDBStorage(url, engine_kwargs=dict(options), skip_table_creation=not made)
    except ImportError as error:
        raise ArchiveError(
            f"the driver of this database is not installed: {error.__cause__ or error}; for "
            "PostgreSQL run: pip install 'elastic-nas[postgres]'"
        ) from error


def _existing(storage: BaseStorage, name: str) -> optuna.Study:
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        raise NoStudyError(
            f"the archive holds no study {name!r}, so no run of this name archived there; look "
            "whether it is the right one"
        ) from error


def _study(storage: BaseStorage, name: str) -> optuna.Study:
    with contextlib.suppress(ArchiveError):
        return _existing(storage, name)
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=name, storage=storage, direction="minimize", load_if_exists=True
        )
    finally:
        optuna.logging.set_verbosity(level)


def _mark(
    study: optuna.Study,
    marks: Mapping[str, str],
    space: SearchSpace,
    location: str,
    *,
    read_only: bool = False,
) -> None:
    """Mark a new study with `marks` and its objective's name; refuse a study with other marks."""
    new = not read_only and not study.get_trials(deepcopy=False)
    for kind, mine in marks.items():
        known = study.user_attrs.get(kind)
        if known is None and new:
            study.set_user_attr(kind, mine)
            known = study.user_attrs[kind]  # another process may have been faster
        if known != mine:
            raise OtherMadeError(
                f"study {study.study_name!r} of archive {location} holds evaluations of the {kind} "
                f"{known or 'of another program'}, given {kind} {mine} of space {space.name!r}; "
                f"give the {kind} it was made with, or another archive",
                kind,
            )
    if new and not study.metric_names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([ERROR])
