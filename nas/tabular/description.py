"""What a table's columns mean: a TOML file beside it, checked before the table is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nas.settings.problems import explained
from nas.settings.toml_file import named_toml
from search_spaces.tabular import Option

ERROR = "error"


class TableError(ValueError):
    """A table that cannot be searched; the message names file, column or row and the remedy."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Unit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Metric(_Section):
    """A column of figures, and what becomes of each.

    Divided by `unit`, it counts as it is with `reading = "as-is"`, as what it leaves of 100 with
    `"accuracy"`, and as its inverse with `"rate"`.
    """

    column: str
    reading: Literal["as-is", "accuracy", "rate"] = "as-is"
    unit: Unit = 1.0


def _column(given: Any) -> Any:
    return {"column": given} if isinstance(given, str) else given


TableFigure = Annotated[Metric, BeforeValidator(_column)]


class ChoiceSection(_Section):
    """A column whose entry is a decision."""

    column: str | None = None
    """Without it, the column is called like the choice."""
    character: Annotated[int, Field(ge=0)] | None = None
    """Which character of the column's text it is, from 0; the whole entry without it."""
    options: tuple[Option, ...] | None = None
    """Without it, what the column holds: numbers ascending, then texts."""
    when: Mapping[str, tuple[Option, ...]] = {}
    """An earlier choice -> its options under which this one matters."""
    edge: tuple[int, int] | None = None
    """The nodes of a cell that it connects; node 0 is the input, every other one a sum."""
    cut: tuple[Option, ...] = ()
    """The options of an edge that connect nothing."""


def _options(given: Any) -> Any:
    return {"options": given} if isinstance(given, list) else given


Decided = Annotated[ChoiceSection, BeforeValidator(_options)]


class Description(_Section):
    """A table of networks: which columns are decisions, which the loss, which costs."""

    name: Name
    files: Annotated[tuple[Path, ...], Field(min_length=1)]
    join: str | None = None
    """The column that says which rows of several files belong together."""
    source: str = ""
    choices: Annotated[Mapping[str, Decided], Field(min_length=1)]
    loss: TableFigure
    costs: Mapping[str, TableFigure] = {}
    """Costs that are the same on every device."""
    devices: Mapping[Name, Mapping[str, TableFigure]] = {}
    """Costs by device; without any, there is one called like the table."""
    duplicates: Literal["refuse", "mean"] = "refuse"
    missing: Literal["refuse", "extra-trees"] = "refuse"

    def by_device(self) -> dict[str, dict[str, Metric]]:
        """Every device's costs, its own first, then those that all share."""
        devices = self.devices or {self.name: {}}
        return {name: {**own, **self.costs, **own} for name, own in devices.items()}


def read_description(path: Path) -> Description:
    """The description in a TOML file.

    Raises:
        UnreadableFile: It cannot be read, or is no TOML.
        TableError: It says something that is not allowed; lists every problem.
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
