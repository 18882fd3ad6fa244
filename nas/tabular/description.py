"""Descriptions of tables: TOML files that say what each column means, checked before reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nas.facts.metric import MetricWords
from nas.settings.problems import explained
from nas.settings.toml_file import named_toml
from search_spaces.tabular import Option

ERROR = "error"


class TableError(ValueError):
    """The error for a table that cannot be searched.

    Its message names the file, column or row, and the remedy.
    """


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Unit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Metric(_Section):
    """A column of figures, and how each figure x becomes a loss or a cost.

    Attributes:
        column: The name of the column.
        reading: `"as-is"`: x / unit. `"accuracy"`: 100 - x / unit, in percent. `"rate"`: unit / x.
        unit: The number by which figures are divided.
    """

    column: str
    reading: Literal["as-is", "accuracy", "rate"] = "as-is"
    unit: Unit = 1.0

    @property
    def words(self) -> MetricWords:
        """The words of the loss that the column gives; without a unit, which no table tells."""
        if self.reading == "accuracy":
            return MetricWords("error", "%")
        name = {"as-is": self.column, "rate": f"1 / {self.column}"}[self.reading]
        return MetricWords(name, digits=4)


class Cost(Metric):
    """A column of figures that are a cost.

    Attributes:
        measured: Whether a search learns the cost of a network only by the network's evaluation.
    """

    measured: bool = False


def _column(given: Any) -> Any:
    return {"column": given} if isinstance(given, str) else given


TableFigure = Annotated[Metric, BeforeValidator(_column)]
TableCost = Annotated[Cost, BeforeValidator(_column)]


class ChoiceSection(_Section):
    """One choice of the networks, and the column that holds the picked options."""

    column: str | None = None
    """The name of the column; that of the choice where left out."""
    character: Annotated[int, Field(ge=0)] | None = None
    """The position, from 0, of the character of the cell that is the pick; the whole cell where
    left out."""
    options: tuple[Option, ...] | None = None
    """The options; where left out, the distinct cells: numbers ascending, then texts."""
    when: Mapping[str, tuple[Option, ...]] = {}
    """Name of an earlier choice -> the options of it under which this choice is open."""
    edge: tuple[int, int] | None = None
    """The nodes of a cell that the choice connects; node 0 is the input, all others are sums."""
    cut: tuple[Option, ...] = ()
    """The options of an edge that connect nothing."""


def _options(given: Any) -> Any:
    return {"options": given} if isinstance(given, list) else given


Decided = Annotated[ChoiceSection, BeforeValidator(_options)]


class Description(_Section):
    """A description of a table: which columns are choices, which is the loss, which are costs."""

    name: Name
    files: Annotated[tuple[Path, ...], Field(min_length=1)]
    join: str | None = None
    """The column whose equal entries join rows of several files."""
    source: str = ""
    choices: Annotated[Mapping[str, Decided], Field(min_length=1)]
    loss: TableFigure
    costs: Mapping[str, TableCost] = {}
    """Costs that are the same on every device."""
    devices: Mapping[Name, Mapping[str, TableCost]] = {}
    """Costs by device; where left out, there is one device with the name of the table."""
    duplicates: Literal["refuse", "mean"] = "refuse"
    missing: Literal["refuse", "absent", "extra-trees"] = "refuse"
    alias: str | None = None
    """The column whose equal entries mark spellings of one network."""

    def by_device(self) -> dict[str, dict[str, Cost]]:
        """The costs of every device: its own first, then those that all devices share."""
        devices = self.devices or {self.name: {}}
        return {name: {**own, **self.costs, **own} for name, own in devices.items()}


def read_description(path: Path) -> Description:
    """The description in a TOML file.

    Raises:
        UnreadableFile: If the file cannot be read or is no TOML.
        TableError: If a key or value is not allowed; lists every problem.
    """
    content = named_toml(path, "table description")
    try:
        made = Description.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {line}" for line in explained(error, Description))
        raise TableError(f"{path} describes no table:\n{problems}") from error
    _check(made, path)
    return made


def _check(made: Description, path: Path) -> None:
    if made.alias is not None and made.missing != "absent":
        raise TableError(
            f"{path}: alias = {made.alias!r} leaves all spellings but one out of the search, so "
            'networks are lacking; give missing = "absent"'
        )
    if len(made.files) > 1 and made.join is None:
        raise TableError(f"{path}: several files need join, a column that all of them have")
    for device, costs in made.by_device().items():
        if not costs:
            raise TableError(
                f"{path}: device {device!r} has no costs; give it some under "
                f"[devices.{device}], or [costs] that all devices share"
            )
        if ERROR in costs:
            raise TableError(
                f"{path}: a cost of device {device!r} is called {ERROR!r}, as the loss is; "
                "give it another name"
            )
