"""The evaluations of another run in another space, for a search of a related space."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from nas.files.durable import write_atomic
from nas.problem.front import nondominated
from nas.problem.goals import Problem
from nas.run.folder import RunFolderError
from nas.run.run_archive import archive_in
from nas.search.initial import spread_over_costs
from predictors.related import Related, Translation
from search_spaces.documents import Source, read_json
from search_spaces.space import IntArray, InvalidGenotype, SearchSpace

FloatArray = NDArray[np.float64]
_FIRST = 4  # networks of a first batch; the others have to show where the spaces differ


@dataclass(frozen=True, eq=False)
class Experience:
    """The evaluations of another space.

    Attributes:
        space: The other space.
        genotypes: The evaluated genotypes of the other space, `(n, choices)`.
        errors: The validation errors of these genotypes, `(n,)`.
    """

    space: SearchSpace
    genotypes: IntArray
    errors: FloatArray

    def column(self, space: SearchSpace) -> Related:
        """A feature column for networks of `space`: the error predicted from the other space.

        Raises:
            ValueError: The spaces have no decision in common.
        """
        return Related(space, self.space, genotypes=self.genotypes, losses=self.errors)

    def first(self, problem: Problem, count: int, *, rng: np.random.Generator) -> IntArray:
        """Up to `count` networks for a first batch, some of them like the best of the other space.

        The best are the networks of the front of the other space, under the costs of `problem`.
        The rest of the batch is spread over the costs of the whole space.
        """
        largest = np.array(problem.space.largest)
        translate = Translation(self.space, problem.space, otherwise=largest)
        rows, place = np.unique(translate(self.genotypes), axis=0, return_index=True)
        leading = np.zeros(len(rows), dtype=np.bool_)
        for goal in problem.goals:
            leading |= nondominated(np.column_stack([self.errors[place], goal.values(rows)]))
        found = spread_over_costs(problem, rng, min(_FIRST, count), rows=rows[leading])
        rest = spread_over_costs(problem, rng, count - len(found))
        return np.concatenate([found, rest])

    def keep(self, path: Path) -> None:
        """Write the experience to a JSON file, so that a run depends on no other folder."""
        content = {
            "space": json.loads(self.space.to_json()),
            "genotypes": self.genotypes.tolist(),
            "errors": self.errors.tolist(),
        }
        write_atomic(path, json.dumps(content).encode())


class _Kept(BaseModel):
    """The content of the file that `Experience.keep` writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    space: dict[str, Any]
    genotypes: list[list[int]]
    errors: list[float]


_KEPT = TypeAdapter(_Kept)


def kept(path: Path) -> Experience:
    """The experience from a file that `Experience.keep` wrote; raises `UnreadableFile`."""
    remedy = "delete it, and the evaluations are read again from where the recipe says"
    content = read_json(path, _KEPT, what="kept evaluations", remedy=remedy)
    source = Source(f"kept evaluations {path}", remedy)
    space = SearchSpace.from_content(content.space, source)
    try:
        rows = [space.validate(row) for row in content.genotypes]
    except InvalidGenotype as error:
        raise source.error(str(error), place="genotypes") from error
    if not 2 <= len(rows) == len(content.errors):
        raise source.error(f"has {len(rows)} genotypes and {len(content.errors)} errors")
    return Experience(space, np.array(rows), np.array(content.errors))


def experience_of(folder: Path, *, databases: Collection[str] = ()) -> Experience:
    """The evaluations in the folder of a run, or in one of `databases` if its recipe names it.

    Raises:
        RunFolderError: The folder is not that of a run that searched.
    """
    try:
        archive = archive_in(folder, databases=databases)
    except RunFolderError as error:
        raise RunFolderError(f"search.transfer: {error}") from error
    found = archive.measurements()
    if len(found) < 2:
        raise RunFolderError(
            f"search.transfer = {folder} holds {len(found)} evaluations, which tell nothing; give "
            "the folder of a longer run"
        )
    return Experience(archive.space, found.rows, found.losses)
