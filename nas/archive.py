"""The archive: the durable ledger of true evaluations, an Optuna study."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from nas.durable import WriteError, write_error
from nas.evaluate import Evaluation
from nas.journal import DamagedJournal, JournalLock, ReadJournal, repair, sealed
from nas.labels import option_labels
from nas.trials import OBJECTIVE, JournalTrials, Trials, attributes, restored
from nas.urls import database_url, reading, shown
from search_spaces.choice import Choice
from search_spaces.space import Genotype, InvalidGenotype, SearchSpace


class ArchiveError(ValueError):
    """An archive that cannot be used, or an evaluation that cannot be archived."""


class Archive:
    """The evaluations of one search space, each on the disk before it counts.

    A genotype is evaluated once, but one that saw more images may follow: what a search was told is
    the first, what is reported the one that saw most. Several processes may append to the same
    archive; each sees the others' evaluations from its next append or refresh on.

    Args:
        location: The path of a journal file, created if missing (its folder is not), or a
            database URL such as `postgresql://user@host/database`, which may hold no secret: a
            password is left to PGPASSWORD or `~/.pgpass`.
        space: The space that the genotypes belong to.
        study: The name of the study in that file, such as a supernet's.
        supernet: What tells the measured weights from others, where runs share the study.
        read_only: Whether only to look: nothing is made, locked or written, and what `append` would
            be given is refused. What is there now is seen; a torn end is passed over.

    Raises:
        ArchiveError: The study belongs to another space or supernet, the file is damaged before
            its end, the URL may hold a secret, or what is only to be read is not there.
        WriteError: The file cannot be written or the database not be used.
    """

    def __init__(
        self,
        location: str | Path,
        space: SearchSpace,
        *,
        study: str,
        supernet: str | None = None,
        read_only: bool = False,
    ) -> None:
        self.location = shown(str(location)) if _is_url(location) else str(location)
        self._read_only = read_only
        self.space = space
        self._first: dict[Genotype, Evaluation] = {}
        self._best: dict[Genotype, Evaluation] = {}
        with self._written():
            self._study, self._trials = _opened(str(location), study, space, read_only=read_only)
        self._claim("space", space.fingerprint)
        self._name_objective()
        if supernet is not None:
            self._claim("supernet", supernet)
        self.refresh()

    def append(self, *evaluations: Evaluation) -> None:
        """Put `evaluations` on the disk, each unless one of its genotype that saw as much is there.

        However many they are, a journal waits for the disk once. After a kill or on a full disk
        the first of them may be there and the others not; none counts before all are there.

        Raises:
            ArchiveError: A genotype is not a canonical one of the space, metrics lack `error` or
                are not finite, or the archive is only read; nothing is appended.
            WriteError: The disk is full, the file not writable or the database away; the archive
                holds what was appended before.
        """
        if self._read_only:
            raise ArchiveError(f"archive {self.location} was opened to be read; open it to write")
        checked = [self._checked(evaluation) for evaluation in evaluations]
        self.refresh()
        known, new = dict(self._best), []
        for evaluation in checked:
            if _tells_more(evaluation, known.get(evaluation.genotype)):
                known[evaluation.genotype] = evaluation
                new.append(evaluation)
        if new:
            with self._written():
                self._trials.add(new)
            self.refresh()

    def refresh(self) -> None:
        """Take in what was written since the last look, by whomever."""
        with self._written():
            new = self._trials.new()
        for evaluation in new:
            self._first.setdefault(evaluation.genotype, evaluation)
            if _tells_more(evaluation, self._best.get(evaluation.genotype)):
                self._best[evaluation.genotype] = evaluation

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

    def _claim(self, kind: str, mine: str) -> None:
        """Mark a new study with the `kind` of what it is of; refuse one of another."""
        with self._written():
            known = self._study.user_attrs.get(kind)
            free = known is None and not self._read_only
            if free and not self._study.get_trials(deepcopy=False):
                self._study.set_user_attr(kind, mine)
                known = self._study.user_attrs[kind]  # another process may have been faster
        if known != mine:
            raise ArchiveError(
                f"study {self._study.study_name!r} of archive {self.location} holds evaluations of "
                f"the {kind} {known or 'of another program'}, given {kind} {mine} of space "
                f"{self.space.name!r}; give the {kind} it was made with, or another archive"
            )

    def _name_objective(self) -> None:
        """What a dashboard calls the value of a trial, in a new study."""
        if self._read_only or self._study.get_trials(deepcopy=False) or self._study.metric_names:
            return
        with self._written(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names([f"{OBJECTIVE}, %"])

    def _checked(self, evaluation: Evaluation) -> Evaluation:
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
        seed, seconds = int(evaluation.seed), float(evaluation.seconds)
        return replace(evaluation, genotype=canonical, metrics=metrics, seed=seed, seconds=seconds)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except DamagedJournal as error:
            raise ArchiveError(str(error)) from error
        except WriteError:
            raise
        except OSError as error:
            if self._read_only:
                raise ArchiveError(
                    f"archive {self.location} cannot be read: {error.strerror}"
                ) from error
            raise write_error(self.location, error) from error
        except (SQLAlchemyError, StorageInternalError) as error:
            cause = error.__cause__ or error
            raise WriteError(
                f"the database {self.location} cannot be used: {getattr(cause, 'orig', cause)}; "
                "look whether its server runs and the URL, user and password are right; what was "
                "evaluated before is archived"
            ) from error


def _tells_more(evaluation: Evaluation, known: Evaluation | None) -> bool:
    """Whether it saw more images than what is known of its genotype."""
    seen, before = (one and one.answers and one.answers.seen for one in (evaluation, known))
    return known is None or (seen or 0) > (before or 0)


def _distribution(made: Choice[Any]) -> CategoricalDistribution:
    """The options as a dashboard shows them; the trial holds an index into them."""
    labels = option_labels(made.options)
    return CategoricalDistribution(
        labels if len(set(labels)) == len(labels) else list(map(repr, made.options))
    )


class _Journal(JournalFileBackend):
    """Optuna's journal file with our lock and sealed records.

    Optuna's own lock is a link that a killed process leaves behind, to be waited for.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_obj=cast("Any", JournalLock(path)))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Put the records on the disk."""
        super().append_logs(sealed(logs))


class _DatabaseTrials:
    """Trials in a database, which Optuna writes one by one."""

    def __init__(
        self, study: optuna.Study, distributions: Mapping[str, CategoricalDistribution]
    ) -> None:
        self._study, self._distributions = study, dict(distributions)
        self._read = 0

    def add(self, evaluations: Sequence[Evaluation]) -> None:
        """Put them on the disk, in this order."""
        for evaluation in evaluations:
            picked = zip(self._distributions.items(), evaluation.genotype, strict=True)
            self._study.add_trial(
                optuna.trial.create_trial(
                    params={name: kind.choices[index] for (name, kind), index in picked},
                    distributions=dict(self._distributions),
                    value=evaluation.metrics[OBJECTIVE],
                    user_attrs=attributes(evaluation),
                )
            )

    def new(self) -> list[Evaluation]:
        """What was added since the last call, by whomever, in order."""
        trials = self._study.get_trials(deepcopy=False)
        new = [trial for trial in trials[self._read :] if trial.state == TrialState.COMPLETE]
        self._read = len(trials)
        return [restored(self._genotype(trial), trial.user_attrs) for trial in new]

    def _genotype(self, trial: FrozenTrial) -> Genotype:
        kinds, picked = trial.distributions, trial.params
        return tuple(int(kinds[n].to_internal_repr(picked[n])) for n in self._distributions)


def _is_url(location: str | Path) -> bool:
    return "://" in str(location)


def _opened(
    location: str, study: str, space: SearchSpace, *, read_only: bool
) -> tuple[optuna.Study, Trials]:
    distributions = {c.name: _distribution(c) for c in space.choices}
    if _is_url(location):
        try:
            url = database_url(location)
        except ValueError as error:
            raise ArchiveError(f"an archive cannot be there: {error}") from error
        database = _storage(*reading(url), made=False) if read_only else _database(url)
        opened = _open(database, study, read_only=read_only)
        return opened, _DatabaseTrials(opened, distributions)
    path = Path(location)
    if not read_only:
        repair(path)
    journal = ReadJournal(path) if read_only else _Journal(path)
    storage = JournalStorage(cast("Any", journal))
    opened = _open(storage, study, read_only=read_only)
    written = {name: distribution_to_json(kind) for name, kind in distributions.items()}
    return opened, JournalTrials(journal, storage.get_study_id_from_name(study), written)


def _database(url: URL, *, attempts: int = 5) -> RDBStorage:
    """The database with Optuna's tables, which others may be making at this moment."""
    try:
        return _storage(url)
    except (IntegrityError, ProgrammingError):
        if attempts == 1:
            raise
    time.sleep(0.2)
    return _database(url, attempts=attempts - 1)


def _storage(
    url: URL, connect: Mapping[str, Any] | None = None, *, made: bool = True
) -> RDBStorage:
    """Optuna's storage; its tables are `made` if missing."""
    # A connection per use: none is left open, and a server may be restarted in between.
    settings = {"poolclass": NullPool, "connect_args": dict(connect or {})}
    try:
        return RDBStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs=settings,
            skip_table_creation=not made,
        )
    except ImportError as error:
        raise ArchiveError(
            f"the driver of this database is not installed: {error.__cause__}; for PostgreSQL "
            "run: pip install 'elastic-nas[postgres]'"
        ) from error


def _open(storage: BaseStorage, name: str, *, read_only: bool) -> optuna.Study:
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        if read_only:
            raise ArchiveError(
                f"the archive holds no study {name!r}, so no run of this name archived there; look "
                "whether it is the right one"
            ) from error
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=name, storage=storage, direction="minimize", load_if_exists=True
        )
    finally:
        optuna.logging.set_verbosity(level)
