"""A table of networks as a search problem: a space, an evaluator, and the costs of each device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import Arrays, Evaluation, EvaluatorFactory
from nas.facts.metric import MetricWords
from nas.problem.goals import Goal, Problem
from nas.tabular.columns import read_files
from nas.tabular.description import ERROR, Description, TableError, read_description
from nas.tabular.exact import grid_strides
from nas.tabular.networks import Networks, networks_of
from nas.tabular.surrogate import Surrogate
from search_spaces.space import Genotype, IntArray, SearchSpace

FloatArray = NDArray[np.float64]
_LARGEST_GRID = 1 << 22
# The number of edges of a cell in which all nodes are connected -> the number of its nodes.
_CELLS = {nodes * (nodes - 1) // 2: nodes for nodes in range(4, 9)}


class TableFigure(Protocol):
    """A function for the loss or a cost of any network of a table."""

    @property
    def note(self) -> str:
        """The origin of figures that the table lacks, in words; empty where it lacks none."""
        ...

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of canonical genotypes `(n, choices)`, as `(n,)`."""
        ...


class Places:
    """An index from genotypes to rows of a table.

    Args:
        rows: The distinct genotypes of the table, `(n, choices)`, in lexicographic order.
        counts: The number of options of each choice, `(choices,)`.
    """

    def __init__(self, rows: IntArray, counts: NDArray[np.int64]) -> None:
        self._strides = grid_strides(counts)
        self._grid = self._keys = None
        if np.prod(counts.astype(np.float64)) <= _LARGEST_GRID:
            self._grid = np.full(int(np.prod(counts)), -1, dtype=np.int64)
            self._grid[self._flat(rows)] = np.arange(len(rows))
        else:
            self._keys = _bytes(rows)

    def __call__(self, genotypes: IntArray) -> NDArray[np.int64]:
        """The number of the row of each genotype, `(n,)`; -1 for a genotype without a row."""
        if self._grid is not None:
            return self._grid[self._flat(genotypes)]
        assert self._keys is not None
        asked = _bytes(genotypes)
        place = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
        return np.where(self._keys[place] == asked, place, -1)

    def _flat(self, genotypes: IntArray) -> NDArray[np.intp]:
        return np.asarray(genotypes, dtype=np.intp) @ self._strides


def _bytes(rows: IntArray) -> NDArray[np.bytes_]:
    """Each row as one byte string; byte strings sort as the rows do."""
    packed = np.ascontiguousarray(rows, dtype=">u2")
    return packed.view(f"S{2 * rows.shape[1]}").ravel()


@dataclass(frozen=True, eq=False)
class Column:
    """A loss or cost from a column of a table, with a surrogate for networks without a figure.

    Attributes:
        places: The index from genotypes to rows.
        values: The figure of every row, `(rows,)`; NaN where it is not known.
        surrogate: A predictor of unknown figures; without one, an unknown figure is an error.
    """

    places: Places
    values: FloatArray
    surrogate: Surrogate | None = None

    @property
    def note(self) -> str:
        """The kind and the quality of the surrogate, in words; empty without a surrogate."""
        if self.surrogate is None:
            return ""
        return f"that of networks without one in the table is {self.surrogate.note}"

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of canonical genotypes `(n, choices)`, as `(n,)`.

        Raises:
            TableError: If a figure is not known and there is no surrogate.
        """
        place = self.places(genotypes)
        found = np.where(place < 0, np.nan, self.values[place])
        unknown = np.isnan(found)
        if unknown.any():
            if self.surrogate is None:
                raise TableError(f"the table has no row for {genotypes[unknown][0].tolist()}")
            found[unknown] = self.surrogate(genotypes[unknown])
        return found


@dataclass(frozen=True, eq=False)
class Listed:
    """A loss or cost of the networks that a table lists; all others cannot be built.

    Attributes:
        places: The index from genotypes to rows.
        rows: The networks of the table, `(rows, choices)`.
        values: The figure of every row, `(rows,)`.
        otherwise: The figure of a network that cannot be built.
        note: Says how many networks can be built; empty for costs.
    """

    places: Places
    rows: IntArray
    values: FloatArray
    otherwise: float
    note: str = ""

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of canonical genotypes `(n, choices)`, as `(n,)`."""
        place = self.places(genotypes)
        return np.where(place < 0, self.otherwise, self.values[place])


@dataclass(frozen=True, eq=False)
class Tabular:
    """A table of networks that others have trained and measured, as a search problem.

    Attributes:
        name: The name of the table.
        space: The space of the networks.
        loss: The loss of any network of the space.
        words: The words of the loss.
        devices: Device -> name of a cost -> that cost of any network of the space.
        rows: The number of networks that have a row; 0 where a formula gives every figure.
        exhaustive: Whether every network of the space that can be built has a row with all figures.
        source: The origin of the figures, in words.
        repeats: The number of rows that repeated a network and were averaged into its first row.
        advice: What the description might say of the choices and does not, in words.
    """

    name: str
    space: SearchSpace
    loss: TableFigure
    words: MetricWords
    devices: Mapping[str, Mapping[str, TableFigure]]
    rows: int
    exhaustive: bool
    source: str = ""
    repeats: int = 0
    advice: str = ""

    def goal(
        self,
        device: str,
        objectives: Sequence[str] = (),
        limits: Mapping[str, float] | None = None,
    ) -> Goal:
        """The goal for a device: small loss and small costs.

        Args:
            device: The device.
            objectives: Names of the costs to minimise beside the loss; the first cost of the
                device where left out.
            limits: Name of a cost -> its upper limit.

        Raises:
            TableError: If the table has no such device, or the device no such cost.
        """
        if device not in self.devices:
            raise TableError(
                f"table {self.name!r} has no device {device!r}; it has {', '.join(self.devices)}"
            )
        costs = self.devices[device]
        unknown = sorted({*objectives, *(limits or {})} - set(costs))
        if unknown:
            raise TableError(
                f"device {device!r} of table {self.name!r} has no cost {', '.join(unknown)}; "
                f"objective and limits may name {', '.join(costs)}"
            )
        return Goal(device, costs, tuple(objectives) or (next(iter(costs)),), limits or {})

    def problem(self, devices: Sequence[str] = ()) -> Problem:
        """The search problem with one goal per device; for all devices where none is named."""
        return Problem(self.space, tuple(self.goal(name) for name in devices or self.devices))

    def evaluator(self, *, seed: int = 0) -> TableEvaluator:
        """An evaluator that looks networks up in the table instead of measuring them."""
        return TableEvaluator(self, seed=seed)


class TableEvaluator:
    """An evaluator that looks up networks in a table.

    The metrics of an evaluation are the loss, as `error`, and the costs of each device, as
    `DEVICE.COST`. A network that cannot be built has the largest loss of the table and no costs.

    Args:
        table: The table.
        seed: The seed of the run, which every evaluation records.
    """

    def __init__(self, table: Tabular, *, seed: int = 0) -> None:
        self._table = table
        self._seed = seed

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype, in the given order, made when the caller takes it."""
        table = self._table
        for genotype in genotypes:
            row = np.array([table.space.validate(genotype)])
            metrics = {ERROR: float(table.loss(row)[0])}
            for device, costs in table.devices.items():
                for name, cost in costs.items():
                    if np.isfinite(known := float(cost(row)[0])):
                        metrics[f"{device}.{name}"] = known
            yield [Evaluation(genotype, metrics, self._seed, 0.0, f"table {table.name}")]

    def factory(self) -> EvaluatorFactory:
        """A factory that builds this evaluator in another process."""
        return EvaluatorFactory(partial(_rebuilt, table=self._table, seed=self._seed), {})


def _rebuilt(_arrays: Arrays, *, table: Tabular, seed: int) -> TableEvaluator:
    return TableEvaluator(table, seed=seed)


def load_table(path: Path, *, data: Path | None = None) -> Tabular:
    """The table that a TOML file describes.

    Args:
        path: The description.
        data: The folder of the table's files; by default the folder of the description.

    Raises:
        TableError: If the description or the table cannot be used; says why.
    """
    description = read_description(path)
    folder = data or path.parent
    columns = read_files([folder / file for file in description.files], description.join)
    return _tabular(description, networks_of(description, columns))


def _tabular(description: Description, found: Networks) -> Tabular:
    figure = _listed(found) if description.missing == "absent" else _predicted(description, found)
    loss = figure(found.loss)
    devices = {
        device: {name: figure(values) for name, values in costs.items()}
        for device, costs in found.costs.items()
    }
    columns = [loss, *(cost for costs in devices.values() for cost in costs.values())]
    return Tabular(
        description.name,
        found.space,
        loss,
        description.loss.words,
        devices,
        len(found.rows),
        not any(isinstance(made, Column) and made.surrogate for made in columns),
        description.source,
        found.repeats,
        _advice(description, found.space),
    )


def _advice(description: Description, space: SearchSpace) -> str:
    """The advice to describe a cell, if all choices look like its edges and none is said to be."""
    options = {made.options for made in space.choices}
    nodes = _CELLS.get(len(space.choices))
    if nodes is None or len(options) > 1 or any(s.edge for s in description.choices.values()):
        return ""
    return (
        f"All {len(space.choices)} choices have the same options, as the edges of a cell of "
        f"{nodes} nodes have. If they are edges, say so with edge and cut in the description: "
        "guided then needs fewer evaluations."
    )


def _listed(found: Networks) -> Callable[[FloatArray], TableFigure]:
    """A function that makes figures of columns; networks without a row cannot be built."""
    places = Places(found.rows, found.space.counts)
    lacking = found.space.size - len(found.rows)
    note = f"{lacking:,} of the {found.space.size:,} networks cannot be built" if lacking else ""

    def figure(values: FloatArray) -> Listed:
        if values is found.loss:
            return Listed(places, found.rows, values, float(values.max()), note)
        return Listed(places, found.rows, values, np.inf)

    return figure


def _predicted(description: Description, found: Networks) -> Callable[[FloatArray], TableFigure]:
    """A function that makes figures of columns; trees predict figures that are not known."""
    places = Places(found.rows, found.space.counts)

    def figure(values: FloatArray) -> Column:
        known = ~np.isnan(values)
        if found.dense and known.all():
            return Column(places, values)
        try:
            surrogate = Surrogate(found.space, found.rows[known], values[known])
        except ValueError as error:
            raise TableError(f"table {description.name!r}: {error}") from error
        return Column(places, values, surrogate)

    return figure
