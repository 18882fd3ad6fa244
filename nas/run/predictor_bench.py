"""Judging all predictors on the networks of a run or of a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nas.parts import Parts
from nas.run.archive_costs import ArchiveCosts
from nas.run.folder import RunFolderError
from nas.run.run_archive import archive_in
from nas.tabular import open_table
from nas.tabular.benchmark import Tabular
from nas.tabular.figures import Column, Listed
from predictors.calibrated import Calibrated
from predictors.judging import LEAST_JUDGED, Judgement, drawn, judged, ranking
from predictors.predictor import Predictor
from search_spaces.costs import compile_cost, parameters
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

SIZES = (25, 50, 100, 250)
_JUDGED = 2_000
_DRAWN = 6_000


@dataclass(frozen=True, eq=False)
class Networks:
    """Networks with known losses and costs, on which predictors are judged.

    Attributes:
        space: The space.
        rows: The genotypes, `(n, choices)`.
        losses: The losses, `(n,)`.
        costs: Name -> the cost of each network, `(n,)`. Bins of about equal cost are made by the
            first.
        note: The origin of the figures, where they were not all measured.
    """

    space: SearchSpace
    rows: IntArray
    losses: FloatArray
    costs: Mapping[str, FloatArray]
    note: str = ""

    def sizes(self, wanted: Sequence[int] = ()) -> Sequence[int]:
        """The numbers of networks to learn: those wanted, else those that leave enough to judge.

        Raises:
            RunFolderError: There are too few networks.
        """
        most = len(self.rows) - LEAST_JUDGED
        sizes = wanted or [size for size in SIZES if size <= most]
        if not sizes or max(sizes) > most or min(sizes) < 1:
            raise RunFolderError(
                f"there are {len(self.rows)} networks with a known loss, of which at least "
                f"{LEAST_JUDGED} are judged; give sizes from 1 to {max(most, 0)}, or evaluate more"
            )
        return sizes


@dataclass(frozen=True)
class Row:
    """The mean judgement of a predictor or a cost over several draws.

    Attributes:
        name: The name of the predictor, or of the cost.
        size: The number of networks that were learned; 0 for a cost, which learns nothing.
        judgement: The judgement.
    """

    name: str
    size: int
    judgement: Judgement


def networks_of(source: str, *, data: Path | None = None, named: Collection[str] = ()) -> Networks:
    """The networks of a run folder or of a table.

    Args:
        source: A run folder, the description of a table (a .toml file) or a published table.
        data: The folder of the table's files, as in `open_table`.
        named: Databases and targets that the recipe of a run folder names and may be opened.
    """
    if Path(source).is_dir():
        return _of_run(Path(source), named)
    return _of_table(open_table(source, data=data))


def _of_run(folder: Path, named: Collection[str]) -> Networks:
    archive = archive_in(folder, databases=named)
    found = archive.measurements()
    found = found[found.complete]
    costs = {
        name: np.array(values)
        for name, values in ArchiveCosts(folder, archive.space, named=named)(found.rows).items()
    }
    if costs:
        costs = {"parameters": compile_cost(archive.space, parameters)(found.rows), **costs}
    known = [set(one.metrics) for one in found.evaluations] or [set[str]()]
    looked_up = sorted(name for name in set.intersection(*known) if "." in name)
    costs |= {name: found.metric(name) for name in looked_up}
    return Networks(archive.space, found.rows, found.losses, _finite(costs))


def _of_table(table: Tabular) -> Networks:
    sparse = table.loss.surrogate if isinstance(table.loss, Column) else None
    listed = table.loss if isinstance(table.loss, Listed) else sparse
    rows = np.unique(
        table.space.sample_array(np.random.default_rng(0), _DRAWN)
        if listed is None
        else listed.rows,
        axis=0,
    )
    costs = {
        f"{device}.{name}": cost(rows)
        for device, known in table.devices.items()
        for name, cost in known.items()
    }
    note = "" if listed else table.loss.note
    return Networks(table.space, rows, table.loss(rows), _finite(costs), note)


def _finite(costs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {name: values for name, values in costs.items() if np.isfinite(values).all()}


def bench(
    networks: Networks,
    predictors: Sequence[str],
    *,
    sizes: Sequence[int],
    seeds: Sequence[int],
) -> Iterator[Row]:
    """The judgement of costs and predictors, a row each as soon as it is known.

    Every predictor has repaired deviations, and learns the same networks.

    Args:
        networks: The networks.
        predictors: Names of predictors.
        sizes: Numbers of networks to learn.
        seeds: Seeds of the draws, over which figures are averaged.
    """
    bins = next(iter(networks.costs.values()), None)
    for name, cost in networks.costs.items():
        yield Row(name, 0, ranking(cost, networks.losses, cost=bins))
    for name in predictors:
        make: Callable[[SearchSpace], Predictor] = Parts("predictor")[name]
        for size in sizes:
            found: list[Judgement] = []
            for seed in seeds:
                places = drawn(len(networks.rows), count=size, seed=seed, judged=_JUDGED)
                predictor = Calibrated(networks.space, make(networks.space))
                with threadpool_limits(1, user_api="blas"):
                    found.append(
                        judged(predictor, networks.rows, networks.losses, places=places, cost=bins)
                    )
            yield Row(name, size, Judgement.mean(found))
