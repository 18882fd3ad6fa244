"""Networks from the columns of a table; every fault of a table is found here, before a search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas.tabular.columns import Cell, Columns, plain, plain_all
from nas.tabular.description import ChoiceSection, Description, Metric, TableError
from search_spaces.space import IntArray, SearchSpace
from search_spaces.tabular import Decision, Option, require_conditions, tabular_space

FloatArray = NDArray[np.float64]
_ACCURACY = 100.0


@dataclass(frozen=True, eq=False)
class Networks:
    """The distinct networks of a table.

    Attributes:
        space: The space of all combinations of the table's choices.
        rows: The canonical genotypes of the networks, `(n, choices)`, in lexicographic order.
        loss: The loss of each network, `(n,)`; NaN where the table has none.
        costs: Device -> name of a cost -> cost of each network, `(n,)`; NaN where the table has
            none.
        repeats: The number of rows of the table that repeated a network.
    """

    space: SearchSpace
    rows: IntArray
    loss: FloatArray
    costs: Mapping[str, Mapping[str, FloatArray]]
    repeats: int

    @property
    def dense(self) -> bool:
        """Whether the table has a row for every network of the space."""
        return len(self.rows) == self.space.size


def networks_of(description: Description, columns: Columns) -> Networks:
    """The networks that the columns of a table describe.

    Raises:
        TableError: If a column is missing, an option is unknown, a figure is no number, or a
            network is repeated or missing and the description refuses that.
    """
    columns = _without_aliases(description, columns)
    space, rows = _genotypes(description, columns)
    distinct, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    repeats = len(rows) - len(distinct)
    if repeats and description.duplicates == "refuse":
        second = int(np.setdiff1d(np.arange(len(rows)), first)[0])
        raise TableError(
            f"table {description.name!r}: row {second + 1} is the same network as row "
            f"{first[group.ravel()[second]] + 1} ({repeats} such rows); remove them, or give "
            'duplicates = "mean"'
        )

    def figures(metric: Metric) -> FloatArray:
        return _means(_figures(metric, columns, description), group.ravel(), len(distinct))

    loss = figures(description.loss)
    costs = {
        device: {name: figures(metric) for name, metric in made.items()}
        for device, made in description.by_device().items()
    }
    found = Networks(space, distinct, loss, costs, repeats)
    if description.missing == "absent":
        return _complete(found)
    if description.missing == "refuse" and not found.dense:
        raise TableError(
            f"table {description.name!r} has {len(distinct):,} of the {space.size:,} networks that "
            "its choices span, so a search would meet some of which nothing is known; give "
            'missing = "absent" if the others cannot be built, missing = "extra-trees" to predict '
            "them from the rows, or fewer options"
        )
    return found


def _without_aliases(description: Description, columns: Columns) -> Columns:
    """The columns with only the first of the rows that are spellings of one network."""
    if description.alias is None:
        return columns
    entries = plain_all(_column(description.alias, columns, description.name))
    if None in entries:
        raise TableError(
            f"table {description.name!r}: alias column {description.alias!r} is empty in row "
            f"{entries.index(None) + 1}; give every row the same entry as its other spellings, or "
            "one of its own"
        )
    first = {entry: row for row, entry in reversed([*enumerate(entries)])}
    kept = sorted(first.values())
    return {name: [cells[row] for row in kept] for name, cells in columns.items()}


def _complete(found: Networks) -> Networks:
    """The networks that have all figures."""
    figures = [found.loss, *(cost for costs in found.costs.values() for cost in costs.values())]
    known = np.isfinite(figures).all(axis=0)
    if not known.any():
        raise TableError(
            f"table {found.space.name!r} has no network with a loss and all costs; fill them in"
        )
    costs = {
        device: {name: cost[known] for name, cost in made.items()}
        for device, made in found.costs.items()
    }
    return replace(found, rows=found.rows[known], loss=found.loss[known], costs=costs)


def _genotypes(description: Description, columns: Columns) -> tuple[SearchSpace, IntArray]:
    count = len(next(iter(columns.values())))
    decisions: list[Decision] = []
    picks: dict[str, IntArray] = {}
    opened: dict[str, NDArray[np.bool_]] = {}
    for name, section in description.choices.items():
        try:
            require_conditions(name, section.when, decisions)
        except ValueError as error:
            raise TableError(f"table {description.name!r}: {error}") from error
        is_open = np.ones(count, dtype=np.bool_)
        for parent, allowed in section.when.items():
            known = next(made.options for made in decisions if made.name == parent)
            indices = [index for index, option in enumerate(known) if option in allowed]
            is_open &= opened[parent] & np.isin(picks[parent], indices)
        options, picks[name] = _picks(name, section, columns, is_open, description.name)
        opened[name] = is_open
        decisions.append(Decision(name, options, section.when, section.edge, section.cut))
    try:
        space = tabular_space(decisions, name=description.name)
    except ValueError as error:
        raise TableError(f"table {description.name!r}: {error}") from error
    chosen = [picks[made.name] for made in space.choices]  # none where every option is single
    return space, np.array(chosen, dtype=np.int64).reshape(len(chosen), count).T


def _picks(
    name: str,
    section: ChoiceSection,
    columns: Columns,
    is_open: NDArray[np.bool_],
    table: str,
) -> tuple[tuple[Option, ...], IntArray]:
    """The options of a choice and the index of the option that each row picks, `(rows,)`.

    The index is 0 where the choice is closed.
    """
    cells = _cells(name, section, columns, table)
    open_rows = np.flatnonzero(is_open).tolist()
    empty = [row for row in open_rows if cells[row] is None]
    if empty:
        raise TableError(
            f"table {table!r}: choice {name!r} is empty in row {empty[0] + 1} ({len(empty)} such "
            "rows); fill it in, or say under which options it matters with when"
        )
    found = {cell for row in open_rows if (cell := cells[row]) is not None}
    options = section.options or tuple(sorted(found, key=_ascending))
    texts = any(isinstance(cell, str) and not isinstance(plain(cell), str) for cell in found)
    place = {
        option if texts and isinstance(option, str) else plain(option): index
        for index, option in enumerate(options)
    }
    if len(place) < len(options) or not options:
        raise TableError(f"table {table!r}: choice {name!r} needs options, each once: {options}")
    unknown = [row for row in open_rows if cells[row] not in place]
    if unknown:
        raise TableError(
            f"table {table!r}: choice {name!r} is {cells[unknown[0]]!r} in row {unknown[0] + 1} "
            f"({len(unknown)} such rows); its options are {', '.join(map(repr, options))}"
        )
    picks = np.zeros(len(cells), dtype=np.int64)
    picks[open_rows] = [place[cells[row]] for row in open_rows]
    return options, picks


def _cells(name: str, section: ChoiceSection, columns: Columns, table: str) -> list[Cell]:
    column = _column(section.column or name, columns, table)
    if section.character is None:
        return plain_all(column)
    texts = ["" if cell is None else str(cell) for cell in column]
    short = [row for row, text in enumerate(texts) if len(text) <= section.character]
    if short:
        raise TableError(
            f"table {table!r}: choice {name!r} is character {section.character} of a text, but "
            f"row {short[0] + 1} holds {texts[short[0]]!r}"
        )
    return plain_all([text[section.character] for text in texts])


def _column(name: str, columns: Columns, table: str) -> list[Cell]:
    if name not in columns:
        raise TableError(
            f"table {table!r} has no column {name!r}; its columns are {', '.join(columns)}"
        )
    return columns[name]


def _ascending(cell: Option) -> tuple[bool, float, str]:
    """A key for sorting options: numbers first, by value, then texts alphabetically."""
    return (True, 0.0, cell) if isinstance(cell, str) else (False, float(cell), "")


def _figures(metric: Metric, columns: Columns, description: Description) -> FloatArray:
    """The losses or costs of a column, `(rows,)`, after its reading; NaN for an empty cell."""
    where = f"table {description.name!r}, column {metric.column!r}"
    cells = [plain(cell) for cell in _column(metric.column, columns, description.name)]
    wrong = [
        row
        for row, cell in enumerate(cells)
        if isinstance(cell, str | bool) or (cell is not None and not math.isfinite(cell))
    ]
    if wrong:
        raise TableError(
            f"{where}: row {wrong[0] + 1} holds {cells[wrong[0]]!r}, which is no finite number "
            f"({len(wrong)} such rows); leave it empty if it is not known"
        )
    known = np.array([math.nan if cell is None else float(cell) for cell in cells])
    empty = np.flatnonzero(np.isnan(known))
    if description.missing == "refuse" and len(empty):
        raise TableError(
            f"{where}: row {empty[0] + 1} is empty or NaN ({len(empty)} such rows); fill it in, "
            'or give missing = "absent" if such networks cannot be built, or '
            'missing = "extra-trees" to predict it from the others'
        )
    if len(empty) == len(known):
        raise TableError(f"{where} holds no figure at all")
    return _read(metric, known, where)


def _read(metric: Metric, known: FloatArray, where: str) -> FloatArray:
    figures = known / metric.unit
    least, most = np.nanmin(figures), np.nanmax(figures)
    if metric.reading == "as-is":
        return figures
    if metric.reading == "rate":
        if least <= 0:
            raise TableError(f"{where}: a rate must be above 0, the least is {least:g}")
        return 1 / figures
    if metric.reading != "accuracy":
        raise TableError(f"{where}: no reading {metric.reading!r}; give as-is, rate or accuracy")
    if least < 0 or most > _ACCURACY:
        raise TableError(
            f"{where}: an accuracy lies between 0 and 100, these between {least:g} and {most:g}; "
            "check unit"
        )
    if most <= 1:
        raise TableError(
            f"{where}: no accuracy is above {most:g} %; if these are shares of 1, give unit = 0.01"
        )
    return _ACCURACY - figures


def _means(figures: FloatArray, group: IntArray, count: int) -> FloatArray:
    """The mean of the known figures of each group, `(count,)`; NaN for a group without any."""
    known = ~np.isnan(figures)
    totals = np.bincount(group[known], figures[known], minlength=count)
    numbers = np.bincount(group[known], minlength=count)
    return np.divide(totals, numbers, out=np.full(count, np.nan), where=numbers > 0)
