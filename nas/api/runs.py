"""`nas.run`: what the command `nas run` does, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.api.by_target import objective_of, of_target
from nas.api.frames import frame_of
from nas.recipe.table_recipe import AnyRecipe, validate_any_recipe
from nas.report.data import Results
from nas.run.folder import RunFolder
from nas.run.pipeline import run as run_recipe
from nas.settings.toml_file import apply_override, read_recipe
from nas.terminal.display import Display
from search_spaces.notebook import html_table
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    Attributes:
        folder: The run folder with all files.
        results: All results, as `results.json` holds them.
    """

    folder: Path
    results: Results

    @property
    def report(self) -> Path:
        """The report, an HTML file."""
        return RunFolder(self.folder).report

    @property
    def space(self) -> SearchSpace:
        """The space that was searched."""
        return SearchSpace.read(RunFolder(self.folder).space)

    def front(self, target: str | None = None) -> pd.DataFrame:
        """The front on a target as a data frame, cheapest first.

        The columns are the error, all costs, the picks as plain values and the genotype.

        Args:
            target: The name of a target; by default the only one.

        Raises:
            ValueError: There is no such target, or there are several and none is named.
        """
        found = of_target(self.results.targets, target)
        words, points = self.results.words, found.front
        costs = dict.fromkeys([*found.objectives, *(name for p in points for name in p.costs)])
        figures = {
            words.error.name: [words.value("error", point.error) for point in points],
            **{name: [words.value(name, p.costs[name]) for p in points] for name in costs},
        }
        return frame_of(self.space, [point.genotype for point in points], figures)

    def plot(self, target: str | None = None, *, objective: str | None = None) -> go.Figure:
        """The figure of the report with all networks and the fronts, for a notebook.

        Args:
            target: The name of a target; by default the only one.
            objective: The cost on the axis; by default the first objective.

        Raises:
            ValueError: There is no such target or objective.
        """
        from nas.report.pareto import pareto

        found = of_target(self.results.targets, target)
        asked = objective_of(found.name, found.objectives, objective)
        return pareto(self.results, found, asked).figure

    def __repr__(self) -> str:
        targets = ", ".join(target.name for target in self.results.targets)
        count = len(self.results.evaluated)
        return f"<Run {self.results.run!r} in {self.folder}: {count} networks; {targets}>"

    def _repr_html_(self) -> str:
        from nas.report.summary import summary_table

        table = summary_table(self.results)
        return html_table(table.title, table.header, table.rows)


def run(
    recipe: str | Path | Mapping[str, Any] | AnyRecipe,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    changes: Sequence[str] = (),
    display: Display | None = None,
) -> Run:
    """Do everything that a recipe says: profile, train, search, export and report.

    Args:
        recipe: The path of a recipe, its content as a dict, or a recipe that is validated already.
        folder: The run folder; by default one beside the recipe, or in the current folder, with
            the name of the run.
        resume: Whether to continue the run in the folder.
        changes: Texts such as `search.budget=400` over the recipe.
        display: The display for progress, such as `nas.terminal.display.Terminal()` in a `with`;
            by default, none is shown.

    Returns:
        The finished run.

    Raises:
        RecipeError: The recipe says something that is not allowed; every problem is listed.
        RunFolderError: The folder holds another run, or one and `resume` is False.
    """
    made, beside = _recipe(recipe, changes)
    where = (Path(folder) if folder is not None else beside / made.name).absolute()
    return Run(where, run_recipe(made, folder=where, resume=resume, display=display))


def _recipe(
    recipe: str | Path | Mapping[str, Any] | AnyRecipe, changes: Sequence[str]
) -> tuple[AnyRecipe, Path]:
    """The recipe, and the folder beside which its run folder is made."""
    if isinstance(recipe, str | Path):
        path = Path(recipe)
        content, source, beside = read_recipe(path, changes), str(path), path.parent
    elif isinstance(recipe, Mapping):
        content, source, beside = deepcopy(dict(recipe)), "recipe", Path()
        for change in changes:
            apply_override(content, change)
    elif changes:
        raise ValueError("changes are for a recipe that is a file or a dict; copy this one changed")
    else:
        return recipe, Path()
    return validate_any_recipe(content, source=source, beside=beside), beside
