"""Recipes of a user's own trained network, in whose section `model` it is named."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from nas.own.options import Channels, Ranks
from nas.own.sources import Named
from nas.own.structure import Structure
from nas.parts import Parts
from nas.recipe.names import SearcherName
from nas.recipe.recipe import (
    EvaluatingSection,
    ExportSection,
    Objectives,
    Positive,
    RunName,
    with_modules,
)
from nas.recipe.sections import Section, TaskSection, section_for
from nas.settings.own_modules import import_modules, require_imported
from nas.settings.toml_file import RecipeError, validated
from search_spaces.options import Precisions

if TYPE_CHECKING:  # it loads networkx, which most commands do not need
    from search_spaces.opening import Opening


def _rewrites(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        Parts("rewrite").entry(name)
    return names


def _shares(given: Any) -> Any:
    return {"shares": given} if isinstance(given, list) else given


def _ranks(given: Any) -> Any:
    return {"ranks": given} if isinstance(given, list) else given


def _epochs(given: Any) -> Any:
    return {"epochs": given} if isinstance(given, int) else given


class TuningSection(Section):
    """A few epochs from the weights of the network, on the training samples of the task."""

    epochs: Annotated[int, Field(ge=1)]
    labels: bool = False
    """Whether the network learns the targets of the samples; it imitates the float network else."""
    learning_rate: Positive | None = None
    batch_size: Annotated[int, Field(ge=2)] | None = None


class ModelSection(Section):
    """A trained network, and which precisions, widths and branches its layers choose from."""

    source: str
    """`FILE.py:FUNCTION`, `MODULE:FUNCTION`, `torchvision:NAME` or `timm:NAME`."""
    weights: Path | None = None
    """A file of tensors; without it, the network has those that its function gives it."""
    options: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies it
    """Keyword arguments of the function."""
    divide: Positive = 1.0
    """Raw numbers are divided by this, then have `mean` subtracted and are divided by `std`."""
    mean: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    std: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    alone: tuple[str, ...] = ()
    """Layers that stay in full precision: paths of modules, or patterns with `*`."""
    weight_bits: Precisions | None = None
    """Without them, those in which the targets compute."""
    activation_bits: Precisions | None = None
    fineness: Literal["network", "block", "layer"] = "layer"
    channels: Annotated[Channels | None, BeforeValidator(_shares)] = None
    """The channels and blocks that may be left out: a section, or its shares alone."""
    ranks: Annotated[Ranks | None, BeforeValidator(_ranks)] = None
    """Branches of low rank that layers may have: a section, or its ranks alone."""
    epochs: Annotated[TuningSection | None, BeforeValidator(_epochs)] = None
    """A few epochs over all that is searched: a section, or the number of epochs alone."""
    rewrites: Annotated[tuple[str, ...], AfterValidator(_rewrites)] | None = None
    """What makes a network of few bits from float weights, in order (`nas parts rewrite`)."""
    calibration_samples: Annotated[int, Field(ge=1)] = 512

    @model_validator(mode="after")
    def _whole_scaling(self) -> ModelSection:
        given = (self.mean, self.std)
        if (self.mean is None) != (self.std is None) or (
            self.mean and self.std and len(self.mean) != len(self.std)
        ):
            raise ValueError(
                f"mean and std belong together, one of each for a channel, given {given}"
            )
        if self.mean is None and self.divide != 1.0:
            raise ValueError("divide needs mean and std; give mean = [0.0] and std = [1.0]")
        return self

    def structure(self) -> Structure:
        """What may change in the network beside its precisions; errors as `Structure.of` says."""
        return Structure.of(self.channels, self.ranks, self.rewrites)

    def opening(self, made: Opening) -> Opening:
        """An opening with the precisions that this section names instead of those of `made`."""
        from search_spaces.opening import Opening

        own = {"weights": self.weight_bits, "activations": self.activation_bits}
        given = {name: options for name, options in own.items() if options is not None}
        kept = {name: getattr(made, name) for name in ("weights", "activations", "others")}
        return Opening(**{**kept, **given}, fineness=self.fineness, alone=self.alone)


class ModelTargetSection(Section):
    """A device to make the network faster on, with hard limits on its costs."""

    name: str
    objective: Objectives = ("latency_ms",)
    limits: dict[str, Positive] = {}  # noqa: RUF012  # pydantic copies it
    allowed_drop: Annotated[float, Field(ge=0)] | None = None
    """How much worse than the float network the returned one may be, in the error's unit."""


class ModelSearchSection(Section):
    """Who searches, and how many policies may be evaluated."""

    searcher: SearcherName = Parts("searcher").default
    budget: Annotated[int, Field(ge=1)] = 60
    batch: Annotated[int, Field(ge=1)] = 10


class ModelRecipe(Section):
    """Everything that a run with a user's own network needs."""

    name: RunName
    python: tuple[str, ...] = ()
    """The user's own modules, imported before anything else of the recipe is read."""
    seed: Annotated[int, Field(ge=0)] = 0
    task: TaskSection
    model: ModelSection
    targets: Annotated[tuple[ModelTargetSection, ...], Field(min_length=1)]
    search: ModelSearchSection = ModelSearchSection()
    export: ExportSection = ExportSection()
    compute: EvaluatingSection = EvaluatingSection()


def validate_model_recipe(
    content: Mapping[str, Any], *, source: str, beside: Path | None
) -> ModelRecipe:
    """The recipe of a user's network; the arguments are those of `validate_recipe`.

    Raises:
        RecipeError: As `load_recipe` does; or the recipe has a space or a training too.
        PartError: A module cannot be imported, or may not be.
    """
    if other := [key for key in ("space", "training", "table") if key in content]:
        raise RecipeError(
            f"{source} has [model], so its network is trained already; leave out "
            f"{', '.join(f'[{key}]' for key in other)}"
        )
    content = with_modules(content, source, beside)
    content = _with_model(content, source, beside)
    task = section_for(TaskSection, content.get("task"))
    return validated(_recipe_of(task), content, source=source)


def _with_model(content: Mapping[str, Any], source: str, beside: Path | None) -> Mapping[str, Any]:
    """The content with the module of its network imported, and with the absolute path of it."""
    model = content["model"]
    if not isinstance(model, Mapping) or not isinstance(model.get("source"), str):
        return content  # which validation refuses
    named = Named.read(model["source"])
    if named.package is not None:
        return content
    if beside is None:
        require_imported([named.where], source=source)
        return content
    [where] = import_modules([named.where], beside=beside)
    return {**content, "model": {**model, "source": f"{where}:{named.what}"}}


@functools.lru_cache(maxsize=256)  # equal sections have one type, so that equal recipes are equal
def _recipe_of(task: type[TaskSection]) -> type[ModelRecipe]:
    return create_model("ModelRecipe", __base__=ModelRecipe, task=(task, ...))
