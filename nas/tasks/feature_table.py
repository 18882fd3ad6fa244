"""The task of a table of measured values: a class or a value for each row."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from nas.files.sheet import Sheet
from nas.memory import shortage
from nas.tasks.aims import classified, regressed
from nas.tasks.classes import class_labels
from nas.tasks.features import FEATURES, clean_features, prepared_features
from nas.tasks.section import SplitSection
from nas.tasks.source import Array, DataSource, Reading, Samples
from nas.tasks.targets import Meaning, meaning, values
from nas.tasks.task import Task, TaskError
from nas.tasks.text_files import read_table, short_name

_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_SHOWN = 10


class FeaturesTask(SplitSection):
    """A task section for tables whose columns hold measured values.

    A table is a `.csv` or `.tsv` file, plain or `.gz`, whose first line names the columns. Every
    column but that of the targets is a feature, in the order of the training table.

    Attributes:
        train: The table of the training samples.
        validation: The table for the search; drawn from `train` where left out.
        test: The table for the report; drawn from `train` where left out.
        label: The column of the classes or values.
        categories: Columns of names; each name of the training table becomes a feature that is 1 in
            rows of this name and 0 in others.
        leave_out: Columns that are no features, such as the number of a row.
        target: Whether the targets are classes or the values of a regression. If left out, the
            targets decide (`nas.tasks.targets.meaning`); targets that could be both are an error.
        unit: The unit of the values, for reports.
        label_smoothing: The share of each target that training spreads evenly over all classes.
    """

    train: Path
    validation: Path | None = None
    test: Path | None = None
    label: str = "label"
    categories: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    target: Meaning | None = None
    unit: str = ""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If a table cannot be read, lacks a column or a value, or holds texts.
        """
        files = {"train": self.train, "validation": self.validation, "test": self.test}
        tables = {split: _Table.read(path) for split, path in files.items() if path is not None}
        columns = self._columns(tables["train"])
        parts = {split: self._samples(table, columns) for split, table in tables.items()}
        where = f"{self.train} ({self.label})"
        kind = self.target or meaning(where, parts["train"].targets)
        read = class_labels if kind == "classes" else values
        parts = {split: replace(p, targets=read(where, p.targets)) for split, p in parts.items()}
        reading = self._reading(tables, columns)
        source = DataSource(short_name(self.train), **parts, reading=reading)
        divided, aim = (
            classified(self, source, self.label_smoothing)
            if kind == "classes"
            else regressed(self, source, self.unit)
        )
        names = tuple(name for column, kinds in columns.items() for name in _named(column, kinds))
        return aim.task(source.name, divided, prepared_features(divided.train, names=names))

    def _columns(self, table: _Table) -> dict[str, tuple[str, ...]]:
        """The columns of features in order, each with its names if it is one of categories."""
        named = (self.label, *self.categories, *self.leave_out)
        if unknown := [name for name in named if name not in table.cells]:
            raise TaskError(
                f"{table.path} has no columns {', '.join(map(repr, unknown))}; its columns are "
                f"{', '.join(map(repr, table.cells))}"
            )
        return {
            name: tuple(sorted({*cells})) if name in self.categories else ()
            for name, cells in table.cells.items()
            if name not in (self.label, *self.leave_out)
        }

    def _samples(self, table: _Table, columns: Mapping[str, tuple[str, ...]]) -> Samples:
        wanted = (*columns, self.label)
        if missing := [name for name in wanted if name not in table.cells]:
            raise TaskError(
                f"{table.path} has no columns {', '.join(map(repr, missing))}, which the training "
                f"table has; its columns are {', '.join(map(repr, table.cells))}"
            )
        table.require_values(wanted)
        table.require_numbers([name for name, kinds in columns.items() if not kinds])
        parts = [table.feature(name, kinds) for name, kinds in columns.items()]
        features = np.concatenate(parts, axis=1) if parts else np.zeros((len(table), 0))
        return Samples({FEATURES: clean_features(str(table.path), features)}, self._labels(table))

    def _labels(self, table: _Table) -> Array:
        """The targets: names, or numbers if all of them are numbers."""
        cells = table.cells[self.label]
        if all(map(_WHOLE.fullmatch, cells)):
            return np.array([int(cell) for cell in cells])
        numbers = [_number(cell) for cell in cells]
        return np.array(cells) if None in numbers else np.array(numbers, dtype=np.float64)

    def _reading(
        self, tables: Mapping[str, _Table], columns: Mapping[str, tuple[str, ...]]
    ) -> Reading:
        return Reading(
            kind="a table of features",
            origins={split: table.path.name for split, table in tables.items()},
            notes=tuple(
                f"column {name!r} became {len(kinds)} features: {', '.join(_named(name, kinds))}"
                for name, kinds in columns.items()
                if kinds
            ),
            passed_over=tuple(
                f"column {name!r}: left out by the recipe" for name in self.leave_out
            ),
            warnings=tuple(
                f"column {name!r} numbers the rows, which says nothing of a sample; name it in "
                "leave_out"
                for name, kinds in columns.items()
                if not kinds and tables["train"].counts(name)
            ),
        )


@dataclass(frozen=True, eq=False)
class _Table:
    """A table of text by column.

    Attributes:
        path: The file.
        lines: The number of the line of each row.
        cells: Name of a column -> its cells.
    """

    path: Path
    lines: tuple[int, ...]
    cells: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.lines)

    @classmethod
    def read(cls, path: Path) -> _Table:
        sheet = read_table(path).with_points()
        _require_whole(path, sheet)
        if missing := shortage(8 * len(sheet.header) * len(sheet.rows)):
            raise TaskError(f"to read {path} {missing}; give fewer rows or columns")
        columns = zip(*(row for _, row in sheet.rows), strict=True)
        cells = dict(zip(sheet.header, columns, strict=True))
        return cls(path, tuple(number for number, _ in sheet.rows), cells)

    def require_values(self, names: Sequence[str]) -> None:
        """Raise `TaskError` if a cell of these columns is empty; names all such columns."""
        told: list[str] = []
        for name in names:
            cells = zip(self.lines, self.cells[name], strict=True)
            if lines := [line for line, cell in cells if not cell]:
                told.append(f"{name!r} in {len(lines)} lines, first {lines[0]}")
        if told:
            raise TaskError(
                f"{self.path} lacks values of the columns {'; '.join(told)}; fill them in, drop "
                "these lines, or name such columns in leave_out"
            )

    def require_numbers(self, names: Sequence[str]) -> None:
        """Raise `TaskError` if a cell of these columns is no number; names all such columns."""
        told: list[str] = []
        for name in names:
            cells = zip(self.lines, self.cells[name], strict=True)
            wrong = [(line, cell) for line, cell in cells if _number(cell) is None]
            if wrong:
                line, cell = wrong[0]
                told.append(f"{name!r} in {len(wrong)} lines, first {cell!r} in line {line}")
        if told:
            raise TaskError(
                f"{self.path} holds no numbers in the columns {'; '.join(told)}; correct them, or "
                "name columns of names in categories, and others in leave_out"
            )

    def feature(self, name: str, kinds: Sequence[str]) -> Array:
        """The features of a column, `(n, 1)`, or `(n, kinds)` for a column of names."""
        cells = np.array(self.cells[name])
        if not kinds:
            return cells.astype(np.float64)[:, None]
        if foreign := sorted({*cells.tolist()} - {*kinds}):
            raise TaskError(
                f"{self.path} has the name {foreign[0]!r} in column {name!r}, of which there is no "
                f"training sample; the training table has {', '.join(map(repr, kinds[:_SHOWN]))}"
            )
        return (cells[:, None] == np.array(kinds)).astype(np.float64)

    def counts(self, name: str) -> bool:
        """Whether a column holds whole numbers that rise by one from row to row."""
        cells = self.cells[name]
        if len(cells) < _SHOWN or not all(map(_WHOLE.fullmatch, cells)):
            return False
        return bool((np.diff([int(cell) for cell in cells]) == 1).all())


def _require_whole(path: Path, sheet: Sheet) -> None:
    repeated = sorted({name for name in sheet.header if sheet.header.count(name) > 1})
    if repeated or "" in sheet.header:
        what = f"several columns {', '.join(map(repr, repeated))}" if repeated else "a nameless one"
        raise TaskError(f"{path} has {what} among its columns; give each a name of its own")
    for number, row in sheet.rows:
        if len(row) != len(sheet.header):
            raise TaskError(
                f"line {number} of {path} has {len(row)} values, but there are "
                f"{len(sheet.header)} columns; repair it"
            )
    if not sheet.rows:
        raise TaskError(f"{path} has no row below the names of its columns; give some")


def _named(column: str, kinds: Sequence[str]) -> list[str]:
    """The names of the features of a column."""
    return [f"{column}={kind}" for kind in kinds] or [column]


def _number(cell: str) -> float | None:
    """The number in a cell; None if it holds none. NaN counts as no number."""
    try:
        number = float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None
    return None if number is None or math.isnan(number) else number
