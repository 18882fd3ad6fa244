"""The evaluations of a user's network in a folder, which count for every set of targets.

The targets of a search decide which options its space has, and an archive belongs to one space. The
same network has the same figures in all of them, so it is never evaluated twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nas.archive.archive import Archive
from nas.archive.trials import ArchiveError, OtherMadeError
from nas.evaluation.evaluation import Evaluation, Evaluator
from nas.files.durable import write_atomic
from search_spaces.space import Genotype, SearchSpace

_SPACE, _ARCHIVE = "space.json", "archive.journal"


def journal_in(folder: Path, space: SearchSpace, *, tuned: bool = False) -> Path:
    """The file with the evaluations of a space in the folder of a user's network.

    Args:
        folder: The folder.
        space: The space.
        tuned: Whether the weights learnt over this space in a few epochs.
    """
    kind = "tuned" if tuned else "space"
    return folder / f"{kind}-{space.fingerprint}" / _ARCHIVE


@dataclass(frozen=True)
class Memory:
    """A folder with an archive for each space that was searched.

    Weights that learnt over a space are of this space alone, and so are their evaluations.

    Attributes:
        folder: The folder.
        study: The name of the study in the archives.
        network: A digest of the network, its samples and its rewrites.
        figure: The words of the figure that evaluations are about.
        tuned: Whether the weights learnt in a few epochs.
    """

    folder: Path
    study: str
    network: str
    figure: str
    tuned: bool = False

    def archive(self, space: SearchSpace) -> Archive:
        """The archive of a space, made if missing.

        Raises:
            ArchiveError: The folder's evaluations are of another network, or by another figure.
        """
        place = journal_in(self.folder, space, tuned=self.tuned).parent
        place.mkdir(exist_ok=True)
        write_atomic(place / _SPACE, space.to_json().encode())
        return self._opened(place, space)

    def known(self, but: SearchSpace) -> dict[str, Evaluation]:
        """The evaluations of all spaces but one, by the fingerprint of the resolved network."""
        found: dict[str, Evaluation] = {}
        if self.tuned:
            return found
        for place in sorted(self.folder.glob("space-*")):
            if place == journal_in(self.folder, but).parent or not (place / _ARCHIVE).exists():
                continue
            space = SearchSpace.read(place / _SPACE)
            for one in self._opened(place, space).evaluations():
                found[resolved(space, one.genotype)] = one
        return found

    def _opened(self, place: Path, space: SearchSpace) -> Archive:
        path = place / _ARCHIVE
        try:
            return Archive(path, space, study=self.study, supernet=self.network, figure=self.figure)
        except OtherMadeError as error:
            if error.kind != "supernet":
                raise
            raise ArchiveError(
                f"{self.folder} holds evaluations of {self.study!r} with other weights, samples or "
                "rewrites, which do not count for these; give the same as before, or another folder"
            ) from error


def resolved(space: SearchSpace, genotype: Genotype) -> str:
    """A digest of a network, whatever space it is in."""
    return SearchSpace(space.decode(genotype)).fingerprint


@dataclass(frozen=True, eq=False)
class Remembering:
    """An evaluator that measures only networks which are not known.

    Attributes:
        measure: The evaluator that measures.
        space: The space of the genotypes.
        known: The known evaluations, by the digest of `resolved`.
    """

    measure: Evaluator
    space: SearchSpace
    known: Mapping[str, Evaluation]

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype; known ones as soon as they are asked for."""
        found: list[Evaluation] = []

        def missing() -> Iterator[Genotype]:
            for genotype in genotypes:
                one = self.known.get(resolved(self.space, genotype)) if self.known else None
                if one is None:
                    yield genotype
                else:
                    found.append(replace(one, genotype=genotype))

        for measured in self.measure(missing()):
            if found:
                yield [*found]
                found.clear()
            yield [*measured]
        if found:
            yield found
