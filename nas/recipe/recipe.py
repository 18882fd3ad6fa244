"""Recipes: one TOML file says what to train, search and export; validated before any work."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, create_model

from nas.evaluation.workers import Workers
from nas.parts import Parts, import_installed
from nas.recipe.methods import require_known
from nas.recipe.names import Distinct, FormName, PredictorName, ProxyName, SearcherName
from nas.recipe.sections import Section, SpaceSection, TaskSection, section_for
from nas.settings.outside import OUTSIDE
from nas.settings.own_modules import import_modules, require_imported
from nas.settings.toml_file import RecipeError, read_recipe, validated
from nas.settings.urls import Cluster, Database
from nas.targets.correction.fit import LEAST_NETWORKS
from supernets.training.schedule import TrainingSettings

RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _several(names: Any) -> Any:
    return (names,) if isinstance(names, str) else names


Objectives = Annotated[tuple[str, ...], BeforeValidator(_several), Distinct, Field(min_length=1)]


class TargetSection(Section):
    """A device to search for, by shipped name or file, with hard limits on its costs."""

    name: str
    objective: Objectives = ("latency_ms",)
    """The costs that span the front beside the error; one may be given without brackets."""
    limits: dict[str, Positive] = {}  # noqa: RUF012  # pydantic copies it
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far above the lowest error, in its unit, a cheaper subnet may be to be chosen."""


def _enough_to_choose_from(budget: int, info: ValidationInfo) -> int:
    if not budget and not info.data.get("known"):
        raise ValueError("must be at least 1 where no evaluation is known")
    return budget


class SearchSection(Section):
    """Who searches, and with how many true evaluations."""

    searcher: SearcherName = Parts("searcher").default
    predictor: PredictorName | None = None
    """What a searcher that predicts errors predicts them by; its own default where left out."""
    transfer: Path | None = None
    """The folder of a run that searched a related space, for the searcher to learn from."""
    known: Annotated[int, Field(ge=0)] = 0
    """How many evaluations stood in the archive before this search: told, not in the budget."""
    budget: Annotated[int, Field(ge=0), AfterValidator(_enough_to_choose_from)] = 100
    batch: Annotated[int, Field(ge=1)] = 10
    asynchronous: bool | None = None
    """Whether a worker gets its next subnet at once; where left out, with several workers or a
    shared archive."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Of the searcher alone; the recipe's where left out."""
    archive: Annotated[Database | None, OUTSIDE] = None
    """A database that several runs share; the run folder's journal where left out."""
    proxies: Annotated[int, Field(ge=0)] = 32
    """Subnets that the zero-cost proxies score before the search; 0 leaves them out."""
    zero_cost: Annotated[tuple[ProxyName, ...], Field(min_length=1), Distinct] = (
        *("counts", "gradients", "synflow", "naswot", "jacob-cov"),
    )
    """The proxies that score them."""
    calibration_samples: Annotated[int, Field(ge=1)] = 512
    validation_samples: Annotated[int, Field(ge=1)] | None = None
    early_stop: bool = False
    """Whether an evaluation ends when it is unlikely to reach a front."""
    confirm_samples: Annotated[int, Field(ge=0)] = 0
    """Validation samples beyond `validation_samples` that front members are shown at the end."""

    def seed_or(self, seed: int) -> int:
        """The searcher's own seed, else the one given."""
        return seed if self.seed is None else self.seed


def _enough_networks(count: int) -> int:
    """The number of networks that calibrate a table, if these are enough to fit anything."""
    if count and count < LEAST_NETWORKS:
        raise ValueError(f"must be 0, or at least {LEAST_NETWORKS} to fit anything")
    return count


class EvaluatingSection(Section):
    """How much of this machine a run takes, and who evaluates."""

    threads: Annotated[int, Field(ge=1)] | None = None
    profile_threads: Annotated[int, Field(ge=1)] = 1
    profile_networks: Annotated[int, AfterValidator(_enough_networks)] = 10
    """Whole networks that calibrate this machine's latency table; 0 leaves that out."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Ray actors that evaluate; 0 evaluates in this process."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    deadline_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """For one evaluation on a worker; one that takes longer is stopped and begun anew."""
    ray_address: Annotated[Cluster | None, OUTSIDE] = None

    @property
    def evaluating(self) -> Workers:
        """The workers that evaluate."""
        return Workers(
            self.workers,
            self.cpus_per_worker,
            address=self.ray_address,
            deadline_s=self.deadline_seconds,
        )


class ComputeSection(EvaluatingSection):
    """Where it runs."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    profile_seams: bool = True
    """Whether this machine's kernels are also timed together with their neighbours."""
    train_workers: Annotated[int, Field(ge=0)] = 0
    """Ray workers that train together, on their own rows of batches; 0 trains in this process."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0

    @property
    def evaluating(self) -> Workers:
        """The workers that evaluate, with their share of the GPUs."""
        return replace(super().evaluating, gpus=self.gpus_per_worker)

    @property
    def training_resources(self) -> dict[str, float]:
        """The resources of a worker that trains: a whole GPU or none.

        NVIDIA's library for exchanges between processes refuses two processes on one GPU.
        """
        return {"CPU": self.cpus_per_worker, "GPU": float(self.gpus_per_worker > 0)}


class ExportSection(Section):
    """How the chosen subnets leave."""

    formats: Annotated[tuple[FormName, ...], Field(min_length=1), Distinct] = (
        Parts("export-form").default,
    )
    raw: bool = False
    """Whether the files read raw data and give raw answers, with the scaling inside."""


@dataclass(frozen=True, kw_only=True)
class TrainingSection(TrainingSettings):
    """How the supernet is trained.

    Attributes:
        start: A file of float weights with which the training starts; random weights if None.
    """

    start: Path | None = None

    def settings(self, *, seed: int) -> TrainingSettings:
        """The settings alone, with the seed of the recipe."""
        held = {field.name: getattr(self, field.name) for field in fields(TrainingSettings)}
        return TrainingSettings(**{**held, "seed": seed})


def _checked_training(settings: TrainingSection) -> TrainingSection:
    if settings.seed != TrainingSettings().seed:
        raise ValueError(f"seed = {settings.seed} has no effect here; give the recipe's own seed")
    require_known(settings)
    return settings


class Recipe(Section):
    """Everything that one run needs.

    The sections `task` and `space` of a recipe have the keys of the part that each of them names.
    """

    name: RunName
    python: tuple[str, ...] = ()
    """The user's own modules, imported before anything else of the recipe is read."""
    seed: Annotated[int, Field(ge=0)] = 0
    task: TaskSection
    space: SpaceSection
    training: Annotated[TrainingSection, AfterValidator(_checked_training)] = TrainingSection()
    targets: Annotated[tuple[TargetSection, ...], Field(min_length=1)]
    search: SearchSection = SearchSection()
    export: ExportSection = ExportSection()
    compute: ComputeSection = ComputeSection()

    @property
    def asynchronous(self) -> bool:
        """Whether the search goes on with every single evaluation rather than in batches."""
        if self.search.asynchronous is not None:
            return self.search.asynchronous
        return self.compute.workers > 1 or self.search.archive is not None


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in the TOML file at `path`, with `key.path=value` overrides applied.

    Raises:
        UnreadableFile: The file cannot be read, or is no TOML.
        RecipeError: It says something that is not allowed; every problem is listed.
        PartError: One of its own modules cannot be imported.
    """
    return validate_recipe(read_recipe(path, overrides), source=str(path), beside=path.parent)


def validate_recipe(
    content: Mapping[str, Any], *, source: str = "recipe", beside: Path | None = None
) -> Recipe:
    """The recipe that `content` holds.

    Args:
        content: The content.
        source: The recipe, for errors.
        beside: The folder of a recipe that the user named, to which its own modules are relative;
            they are imported. Without a folder, modules must have been imported already.

    Raises:
        RecipeError: As `load_recipe` does.
        PartError: A module cannot be imported, or may not be.
    """
    if "table" in content:
        raise RecipeError(
            f"{source} searches a table, so there is nothing to train, profile or export; use "
            "`nas run`, `nas sweep` or `nas spaces`"
        )
    if "model" in content:
        raise RecipeError(
            f"{source} is about a network that is trained already, so there is nothing to train "
            "or to search step by step; use `nas run`, which also exports, or `nas spaces`"
        )
    if not isinstance(content, Mapping):  # a damaged file, of which validation says so
        return validated(Recipe, content, source=source)
    content = with_modules(content, source, beside)
    space = section_for(SpaceSection, content.get("space"))
    task = section_for(TaskSection, content.get("task"))
    return validated(_recipe_of(space, task), content, source=source)


@functools.lru_cache(maxsize=256)  # equal sections have one type, so that equal recipes are equal
def _recipe_of(space: type[SpaceSection], task: type[TaskSection]) -> type[Recipe]:
    return create_model("Recipe", __base__=Recipe, space=(space, ...), task=(task, ...))


def with_modules(content: Mapping[str, Any], source: str, beside: Path | None) -> Mapping[str, Any]:
    """The content with its own modules imported, and with absolute paths of their files.

    Operators of installed packages are imported too.
    """
    import_installed("operator")  # which a space in a file can name
    python = content.get("python")
    if not isinstance(python, list | tuple) or not all(isinstance(text, str) for text in python):
        return content  # absent, or of a type that validation refuses
    if beside is None:
        require_imported(python, source=source)
        return content
    return {**content, "python": import_modules(python, beside=beside)}
