"""The archive: a durable record of evaluations, stored as an Optuna study."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nas.archive.database import cause_of
from nas.archive.journal import DamagedJournal
from nas.archive.studies import UNUSABLE, opened
from nas.archive.trials import ArchiveError as ArchiveError
from nas.archive.trials import require_archivable
from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.files.durable import WriteError, write_error
from nas.settings.urls import shown
from search_spaces.space import Genotype, SearchSpace


class Archive:
    """The evaluations of one search space, each on the disk before it counts.

    A genotype is evaluated once. A second evaluation may follow only if it saw more samples: a
    search is told the first evaluation, reports show the evaluation that saw most samples. Several
    processes may append to the same archive; each sees the evaluations of the others at its next
    append or refresh.

    Args:
        location: The path of a journal file, created if missing (its folder is not), or a
            database URL such as `postgresql://user@host/database` without any secret: a password
            comes from PGPASSWORD or `~/.pgpass`.
        space: The space that the genotypes belong to.
        study: The name of the study in the file or database, such as the name of a run.
        supernet: An identifier of the weights that are measured, if several runs share the study.
        figure: The words of the figure that the metric `error` stands for, if a user chose it.
        read_only: Whether the archive is only read: nothing is created, locked, cut or written.

    Raises:
        ArchiveError: The study belongs to another space, supernet or figure, or the file is damaged
            before its end.
        WriteError: The file cannot be written, or the database cannot be used.
    """

    def __init__(
        self,
        location: str | Path,
        space: SearchSpace,
        *,
        study: str,
        supernet: str | None = None,
        figure: str | None = None,
        read_only: bool = False,
    ) -> None:
        self.location = shown(str(location)) if "://" in str(location) else str(location)
        self.space = space
        self._read_only = read_only
        self._first: dict[Genotype, Evaluation] = {}
        self._best: dict[Genotype, Evaluation] = {}
        self._measurements: Measurements | None = None
        told = {"space": space.fingerprint, "supernet": supernet, "figure": figure}
        marks = {kind: mark for kind, mark in told.items() if mark is not None}
        with usable(self.location, read_only=read_only):
            self._trials = opened(
                str(location), space, study=study, marks=marks, read_only=read_only
            )
        self.refresh()

    def append(self, *evaluations: Evaluation) -> list[Evaluation]:
        """Write `evaluations` to the disk, except those that tell no more than the archive does.

        An evaluation tells more if its genotype is new or it saw more samples. A journal flushes
        to the disk once for all of them. After a kill or on a full disk, only some of them may be
        on the disk; none counts before all are there.

        Returns:
            The first archived evaluation of each genotype, read back, for a search to be told.
            Another driver may have made it.

        Raises:
            ArchiveError: A genotype is not a canonical one of the space, or a metric has a name
                that an archive uses itself; nothing is appended.
            WriteError: The disk is full, the file not writable or the database away; the archive
                holds what was appended before.
        """
        self._require_writing()
        for evaluation in evaluations:
            require_archivable(evaluation, self.space)

        def choose(latest: Sequence[Evaluation]) -> list[Evaluation]:
            self._take_in(latest)
            known, new = dict(self._best), []
            for evaluation in evaluations:
                if _tells_more(evaluation, known.get(evaluation.genotype)):
                    known[evaluation.genotype] = evaluation
                    new.append(evaluation)
            return new

        with usable(self.location):
            self._trials.add(choose)
        self.refresh()
        with usable(self.location):
            self._trials.free([evaluation.genotype for evaluation in evaluations])
        return [self._first[evaluation.genotype] for evaluation in evaluations]

    def refresh(self) -> None:
        """Read the evaluations that any process has written since the last append or refresh."""
        with usable(self.location, read_only=self._read_only):
            new = self._trials.new()
        self._take_in(new)

    def reserve(
        self, genotypes: Sequence[Genotype], *, samples: int | None = None
    ) -> list[Genotype]:
        """Reserve those of `genotypes` that are neither archived nor reserved by another driver.

        This process then has to measure them. A reservation ends when the genotype is appended,
        when `reserving` ends, or some time after this process has died. A journal has only one
        driver, so there every genotype that is not archived is returned.

        Args:
            genotypes: The genotypes to measure.
            samples: The number of samples that an archived evaluation must have seen to be enough;
                by default, any evaluation is.

        Returns:
            The genotypes that this process reserved.
        """
        self._require_writing()
        with usable(self.location):
            mine = self._trials.reserve(genotypes)
        self.refresh()
        known = [genotype for genotype in mine if self._settled(genotype, samples)]
        if known:
            with usable(self.location):
                self._trials.free(known)
        return [genotype for genotype in mine if genotype not in known]

    def elsewhere(self) -> Collection[Genotype]:
        """The genotypes that other drivers are measuring now."""
        with usable(self.location):
            return self._trials.elsewhere()

    @contextmanager
    def reserving(self) -> Iterator[None]:
        """A context at whose end all reservations of this process are given back."""
        try:
            yield
        finally:
            self._trials.free()

    def evaluations(self) -> list[Evaluation]:
        """The evaluations that saw most samples, one per genotype, in order of their first."""
        return [self._best[genotype] for genotype in self._first]

    def measurements(self) -> Measurements:
        """The result of `evaluations` as arrays, cached until more is archived."""
        if self._measurements is None:
            self._measurements = Measurements.of(self.evaluations(), self.space)
        return self._measurements

    def told(self) -> list[Evaluation]:
        """The first evaluation of every genotype, which is what a search was told."""
        return list(self._first.values())

    def get(self, genotype: Genotype) -> Evaluation | None:
        """The first evaluation of `genotype`, or `None`."""
        return self._first.get(genotype)

    def __len__(self) -> int:
        return len(self._first)

    def _require_writing(self) -> None:
        if self._read_only:
            raise ArchiveError(f"archive {self.location} was opened to be read; open it to write")

    def _take_in(self, new: Sequence[Evaluation]) -> None:
        if new:
            self._measurements = None
        for evaluation in new:
            self._first.setdefault(evaluation.genotype, evaluation)
            if _tells_more(evaluation, self._best.get(evaluation.genotype)):
                self._best[evaluation.genotype] = evaluation

    def _settled(self, genotype: Genotype, samples: int | None) -> bool:
        known = self._best.get(genotype)
        if known is None or samples is None:
            return known is not None
        return known.answers is None or known.answers.seen >= samples


@contextmanager
def usable(location: str, *, read_only: bool = False) -> Iterator[None]:
    """A context in which errors of a journal or database become an error with a remedy."""
    try:
        yield
    except DamagedJournal as error:
        raise ArchiveError(str(error)) from error
    except WriteError:
        raise
    except OSError as error:
        if read_only:
            raise ArchiveError(f"archive {location} cannot be read: {error.strerror}") from error
        raise write_error(location, error) from error
    except UNUSABLE as error:
        raise WriteError(
            f"the database {location} cannot be used: {cause_of(error)}; look whether its "
            "server runs and the URL, user and password are right; what was evaluated before "
            "is archived"
        ) from error


def _tells_more(evaluation: Evaluation, known: Evaluation | None) -> bool:
    """Whether `evaluation` saw more samples than the known evaluation of its genotype."""
    seen, before = (one and one.answers and one.answers.seen for one in (evaluation, known))
    return known is None or (seen or 0) > (before or 0)
