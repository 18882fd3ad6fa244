"""A table of networks as a search problem: a space, an evaluator, and the costs of each device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import Arrays, Evaluation, EvaluatorFactory
from nas.facts.metric import MetricWords
from nas.problem.goals import Goal, Measured, Problem
from nas.tabular.columns import read_files
from nas.tabular.description import ERROR, Description, TableError, read_description
from nas.tabular.figures import Column, Listed, Places, TableFigure
from nas.tabular.networks import Networks, networks_of
from nas.tabular.surrogate import Surrogate
from search_spaces.space import Genotype, SearchSpace

FloatArray = NDArray[np.float64]
# The number of edges of a cell in which all nodes are connected -> the number of its nodes.
_CELLS = {nodes * (nodes - 1) // 2: nodes for nodes in range(4, 9)}


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
        measured: Device -> the names of its costs that a search learns by evaluations only.
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
    measured: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def measuring(self, device: str, names: Collection[str]) -> Tabular:
        """The same table, of which further costs of a device are learned by evaluations only.

        Raises:
            TableError: If the table has no such device, or the device no such cost.
        """
        self._require(device, names, said="measured")
        more = self.measured.get(device, frozenset()) | {*names}
        return replace(self, measured={**self.measured, device: more})

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
        self._require(device, {*objectives, *(limits or {})}, said="objective and limits")
        measured = self.measured.get(device, frozenset())
        costs = {
            name: Measured(f"{device}.{name}") if name in measured else cost
            for name, cost in self.devices[device].items()
        }
        return Goal(device, costs, tuple(objectives) or (next(iter(costs)),), limits or {})

    def looked_up(self, goal: Goal) -> Goal:
        """A goal of the table with the costs of all networks, also those that must be measured.

        This judges a search; a searcher must not see such a goal.
        """
        return replace(goal, costs=self.devices[goal.name])

    def _require(self, device: str, names: Collection[str], *, said: str) -> None:
        """Raise `TableError` if there is no such device, or no such cost of the device."""
        if device not in self.devices:
            raise TableError(
                f"table {self.name!r} has no device {device!r}; it has {', '.join(self.devices)}"
            )
        if unknown := sorted({*names} - {*self.devices[device]}):
            raise TableError(
                f"device {device!r} of table {self.name!r} has no cost {', '.join(unknown)}; "
                f"{said} may name {', '.join(self.devices[device])}"
            )

    def problem(self, devices: Sequence[str] = ()) -> Problem:
        """The search problem with one goal per device; for all devices where none is named."""
        return Problem(self.space, tuple(self.goal(name) for name in devices or self.devices))

    def evaluator(self, *, seed: int = 0) -> TableEvaluator:
        """An evaluator that looks networks up in the table instead of measuring them."""
        return TableEvaluator(self, seed=seed)


class TableEvaluator:
    """An evaluator that looks up networks in a table.

    The metrics of an evaluation are the loss, as `error`, and the costs of each device, as
    `DEVICE.COST`. A network that cannot be built has the largest loss of the table, the largest
    of each cost that must be measured, and no other costs.

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
                measured = table.measured.get(device, frozenset())
                for name, cost in costs.items():
                    known = float(cost(row)[0])
                    if not np.isfinite(known) and name in measured and isinstance(cost, Listed):
                        known = float(cost.values.max())
                    if np.isfinite(known):
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
        {
            device: frozenset(name for name, cost in costs.items() if cost.measured)
            for device, costs in description.by_device().items()
        },
    )


def _advice(description: Description, space: SearchSpace) -> str:
    """The advice to describe a cell, if all choices look like its edges and none is said to be."""
    options = {frozenset(made.options) for made in space.choices}
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
