"""A table of networks as a search problem: a space, an evaluator, and costs of every device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import Arrays, Evaluation, EvaluatorFactory
from nas.problem.goals import Goal, Problem
from nas.tabular.columns import read_files
from nas.tabular.description import ERROR, Description, TableError, read_description
from nas.tabular.exact import grid_strides
from nas.tabular.networks import Networks, networks_of
from nas.tabular.surrogate import Surrogate
from search_spaces.space import Genotype, IntArray, SearchSpace

FloatArray = NDArray[np.float64]
_LARGEST_GRID = 1 << 22


class TableFigure(Protocol):
    """The loss or a cost of any network of a table."""

    @property
    def note(self) -> str:
        """Where figures that the table does not have come from; empty where it has them all."""
        ...

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of canonical genotypes `(n, choices)`, as `(n,)`."""
        ...


class Places:
    """Which row of a table a network has.

    Args:
        rows: The table's distinct genotypes, `(n, choices)`, in lexicographic order.
        counts: The number of options of each choice.
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
        """The row of each genotype, -1 where it has none, `(n,)`."""
        if self._grid is not None:
            return self._grid[self._flat(genotypes)]
        assert self._keys is not None
        asked = _bytes(genotypes)
        place = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
        return np.where(self._keys[place] == asked, place, -1)

    def _flat(self, genotypes: IntArray) -> NDArray[np.intp]:
        return np.asarray(genotypes, dtype=np.intp) @ self._strides


def _bytes(rows: IntArray) -> NDArray[np.bytes_]:
    """Each row as one text of bytes that sorts as the row does."""
    packed = np.ascontiguousarray(rows, dtype=">u2")
    return packed.view(f"S{2 * rows.shape[1]}").ravel()


@dataclass(frozen=True, eq=False)
class Column:
    """A figure as a table has it, with a surrogate for the networks that it lacks.

    Attributes:
        places: Which row a network has.
        values: The figure of every row, `(rows,)`; NaN where it is not known.
        surrogate: Answers for unknown ones; without it they are an error.
    """

    places: Places
    values: FloatArray
    surrogate: Surrogate | None = None

    @property
    def note(self) -> str:
        """What the surrogate is and how good."""
        if self.surrogate is None:
            return ""
        return f"that of networks without one in the table is {self.surrogate.note}"

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of canonical genotypes `(n, choices)`, as `(n,)`."""
        place = self.places(genotypes)
        found = np.where(place < 0, np.nan, self.values[place])
        unknown = np.isnan(found)
        if unknown.any():
            if self.surrogate is None:
                raise TableError(f"the table has no row for {genotypes[unknown][0].tolist()}")
            found[unknown] = self.surrogate(genotypes[unknown])
        return found


@dataclass(frozen=True, eq=False)
class Tabular:
    """Networks that others trained and measured, to be searched like any space.

    Attributes:
        name: What it is called.
        space: The space.
        loss: The loss of any of its networks.
        devices: Device -> cost name -> that cost of any of its networks.
        rows: How many networks the table has a row of; 0 where a formula gives every figure.
        exhaustive: Whether every network of the space has a row with all figures.
        source: Where the figures come from.
        repeats: How many rows were averaged into another one of the same network.
    """

    name: str
    space: SearchSpace
    loss: TableFigure
    devices: Mapping[str, Mapping[str, TableFigure]]
    rows: int
    exhaustive: bool
    source: str = ""
    repeats: int = 0

    def goal(
        self,
        device: str,
        objectives: Sequence[str] = (),
        limits: Mapping[str, float] | None = None,
    ) -> Goal:
        """The front of a device: the loss against `objectives`, else against its first cost.

        Raises:
            TableError: There is no such device, or no such cost of it.
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
        """The fronts of these devices, else of all."""
        return Problem(self.space, tuple(self.goal(name) for name in devices or self.devices))

    def evaluator(self, *, seed: int = 0) -> TableEvaluator:
        """Looks networks up instead of measuring them."""
        return TableEvaluator(self, seed=seed)


class TableEvaluator:
    """Gives a table's loss as `error`, and every device's costs as `DEVICE.COST`.

    Args:
        table: The table.
        seed: The run's, noted in every evaluation.
    """

    def __init__(self, table: Tabular, *, seed: int = 0) -> None:
        self._table = table
        self._seed = seed

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype, in their order, each when it is asked for."""
        table = self._table
        for genotype in genotypes:
            row = np.array([table.space.validate(genotype)])
            metrics = {ERROR: float(table.loss(row)[0])}
            for device, costs in table.devices.items():
                for name, cost in costs.items():
                    metrics[f"{device}.{name}"] = float(cost(row)[0])
            yield [Evaluation(genotype, metrics, self._seed, 0.0, f"table {table.name}")]

    def factory(self) -> EvaluatorFactory:
        """Builds this evaluator in another process."""
        return EvaluatorFactory(partial(_rebuilt, table=self._table, seed=self._seed), {})


def _rebuilt(_arrays: Arrays, *, table: Tabular, seed: int) -> TableEvaluator:
    return TableEvaluator(table, seed=seed)


def load_table(path: Path, *, data: Path | None = None) -> Tabular:
    """The table that a TOML file describes.

    Args:
        path: The description.
        data: The folder that its files are in; its own by default.

    Raises:
        TableError: The description or the table cannot be used; the message says why.
    """
    description = read_description(path)
    folder = data or path.parent
    columns = read_files([folder / file for file in description.files], description.join)
    return _tabular(description, networks_of(description, columns))


def _tabular(description: Description, found: Networks) -> Tabular:
    places = Places(found.rows, found.space.counts)

    def column(values: FloatArray) -> Column:
        known = ~np.isnan(values)
        if found.dense and known.all():
            return Column(places, values)
        try:
            surrogate = Surrogate(found.space, found.rows[known], values[known])
        except ValueError as error:
            raise TableError(f"table {description.name!r}: {error}") from error
        return Column(places, values, surrogate)

    loss = column(found.loss)
    devices = {
        device: {name: column(values) for name, values in costs.items()}
        for device, costs in found.costs.items()
    }
    columns = [loss, *(cost for costs in devices.values() for cost in costs.values())]
    return Tabular(
        description.name,
        found.space,
        loss,
        devices,
        len(found.rows),
        all(made.surrogate is None for made in columns),
        description.source,
        found.repeats,
    )
