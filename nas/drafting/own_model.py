"""A recipe for a user's own trained network: data looked at, preparation tried, the rest asked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from nas.drafting import sizing
from nas.drafting.asking import Ask
from nas.drafting.draft import devices
from nas.drafting.examples import require_new
from nas.drafting.looking import looked
from nas.drafting.text import written
from nas.files.durable import write_atomic
from nas.own.model import OwnModelError, require_model
from nas.own.packages import PACKAGES, KnownImages
from nas.own.scalings import Preparation, best_preparation
from nas.own.sources import Named, UnfitWeightsError, network_of, require_trained
from nas.recipe.model_recipe import ModelRecipe, validate_model_recipe
from nas.recipe.sections import TaskSection, section_for
from nas.run.folder import RunFolder
from nas.run.own_plan import OwnPlan, prepare_own
from nas.settings.toml_file import apply_override, validated
from nas.tasks import Task
from nas.tasks.criteria import Classification

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_IMAGE, _WHITE = 3, 255
_COMMENTS = {
    "model": "The trained network. A Python file that is named here is run.",
    "model.divide": "an input is (raw / divide - mean) / std, as in the network's training",
    "model.channels": "shares of its channels that a layer may keep; all are always an option",
    "model.ranks": "ranks of branches beside layers that make good what few bits lose",
    "model.epochs": "epochs from these weights, over all that is searched",
    "targets": "A device. `nas targets` lists others; a policy is chosen for each.",
    "targets.allowed_drop": "how much worse than the float network the fastest may be",
    "search": "How many policies are evaluated; every uniform one comes first.",
}


@dataclass(frozen=True)
class OwnAsked:
    """What a user gives for a recipe with a network of their own.

    Attributes:
        source: The name of the network, see `nas.own.sources`.
        weights: A file of weights, if the function gives none.
        data: The data.
        targets: The devices; the user is asked where there are none.
        allowed_drop: How much worse than the float network the answer may be.
        overrides: Texts such as `model.alone=["fc"]`.
        structure: The keys of the section `model` for channels, branches and epochs; None is not
            written.
    """

    source: str
    weights: Path | None
    data: Path
    targets: tuple[str, ...] = ()
    allowed_drop: float | None = None
    overrides: tuple[str, ...] = ()
    structure: Mapping[str, Any] = field(default_factory=dict)


def model_recipe(asked: OwnAsked, *, ask: Ask) -> ModelRecipe:
    """The recipe for a user's network, not written anywhere.

    Raises:
        RecipeError, TaskError, OwnModelError: What is given makes no recipe.
    """
    content, _ = _content(asked, ask)
    name = _name(asked)
    return validate_model_recipe({"name": name, **content}, source=name, beside=Path())


def drafted_model(asked: OwnAsked, *, out: Path | None, ask: Ask) -> tuple[Path, OwnPlan]:
    """Write a recipe for a user's network, after it was checked as `nas run` would.

    Args:
        asked: What the user gives.
        out: The recipe; by default a file in the working directory, named after the network.
        ask: Asks the user.

    Raises:
        RecipeError, TaskError, OwnModelError, TraceError: What is given makes no run.
    """
    path = out or Path(f"{_name(asked)}.toml")
    require_new(path)
    content, comments = _content(asked, ask)
    head = (
        f"Made by `nas init {asked.source} --data {asked.data}`.\n"
        "docs/own_model.md of elastic-nas explains every key; `nas spaces` shows what is searched."
    )
    text = written(content, {**_COMMENTS, **comments}, head=head)
    made = {"name": path.stem, **tomllib.loads(text)}
    recipe = validate_model_recipe(made, source=str(path), beside=path.parent)
    plan = prepare_own(recipe, RunFolder(path.parent / path.stem))
    write_atomic(path, text.encode())
    return path, plan


def _name(asked: OwnAsked) -> str:
    named = Named.read(asked.source)
    where = named.where if named.where in PACKAGES else Path(named.where).stem
    return _UNFIT.sub("-", f"{where}-{named.what}").strip("-._") or "own"


def _content(asked: OwnAsked, ask: Ask) -> tuple[dict[str, Any], dict[str, str]]:
    """The content of the recipe, and comments on its keys."""
    given: dict[str, Any] = {}
    for override in asked.overrides:
        apply_override(given, override)
    given_structure = {key: value for key, value in asked.structure.items() if value is not None}
    own = {"source": asked.source, **given_structure} | given.get("model", {})
    if asked.weights is not None:
        own["weights"] = str(asked.weights)
    require_trained(own["source"], own.get("options", {}), _weights(own))
    named = Named.read(own["source"])
    known = None if named.package is None else named.package.images(named.what)
    model = _network(own) if named.package is None else None
    keys, comments = _task_keys(asked, given.get("task", {}), ask, known)
    task = validated(section_for(TaskSection, keys), keys, source=str(asked.data)).load()
    if model is None:
        own, model = _for_classes(own, task)
    scaling, told = _scaling(require_model(model), task, own, known)
    drop = asked.allowed_drop
    if drop is None:
        drop = sizing.tolerance_for(task.criterion)
    content: dict[str, Any] = {
        "seed": 0,
        "task": keys,
        "model": {**own, **scaling},
        "targets": [{"name": name, "allowed_drop": drop} for name in asked.targets or devices(ask)],
        "search": {"budget": 60},
    }
    for override in asked.overrides:
        apply_override(content, override)
    return content, {**comments, **told}


def _weights(own: Mapping[str, Any]) -> Path | None:
    return Path(own["weights"]) if "weights" in own else None


def _network(own: Mapping[str, Any]) -> nn.Module:
    options = own.get("options", {})
    return network_of(own["source"], options=options, weights=_weights(own), beside=Path())


def _for_classes(own: dict[str, Any], task: Task) -> tuple[dict[str, Any], nn.Module]:
    """The keys and the network of a package, made for the classes of the data."""
    options = own.get("options", {})
    if "num_classes" in options or not isinstance(task.criterion, Classification):
        return own, _network(own)
    count = task.output[-1]
    own = {**own, "options": {**options, "num_classes": count}}
    try:
        return own, _network(own)
    except UnfitWeightsError as error:
        raise OwnModelError(
            f"{error}; the data have {count} classes, for which the network was made"
        ) from error


def _task_keys(
    asked: OwnAsked, given: Mapping[str, Any], ask: Ask, known: KnownImages | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The keys of the section `task`; a trained network needs no augmentation."""
    found = looked(asked.data, {"augment": {}, **given}, ask)
    keys = {key: value for key, value in found.values.items() if key != "augment"}
    comments = {f"task.{key}": text for key, text in found.comments.items()}
    if keys["kind"] != "folder":
        return keys, comments
    if "image_size" not in given:
        usual = keys.get("image_size") if known is None else known.shape[1]
        answer = ask(
            "What is the side of the square images that the network takes, in pixels?",
            key="--set task.image_size=224",
            default=None if usual is None else str(usual),
            check=int,
        )
        keys["image_size"] = int(answer)
    comments["task.image_size"] = "the side of the images that the network takes"
    if known is not None:
        keys = {**keys, "channels": known.shape[0], "fit": known.fit, **given}
        comments["task.fit"] = f"as {Named.read(asked.source).where} tests the network"
        if keys["fit"] == "crop" and known.fit == "crop":
            keys.setdefault("crop_share", known.crop_share)
    return keys, comments


def _scaling(
    model: nn.Module, task: Task, own: Mapping[str, Any], known: KnownImages | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """How images are prepared, if the user did not say: as is known, or as works best."""
    images = len(task.inputs) == 1 and len(task.inputs[0].shape) == _IMAGE
    if not images or {"mean", "std"} & {*own}:
        return {}, {}
    [port] = task.usage.inputs.values()
    classes, stated = isinstance(task.criterion, Classification), None
    if known is not None and len(known.mean) == task.inputs[0].shape[0]:
        divide = _WHITE if max(port.high) > 1 else 1
        stated = Preparation(f"as {own['source']} was trained", divide, known.mean, known.std)
        if not (classes and "weights" in own):  # these may have learned on other numbers
            made = {"divide": divide, "mean": [*known.mean], "std": [*known.std]}
            return made, {"model.mean": stated.name}
    if not classes:
        return {}, {}
    best, errors = best_preparation(model, task, stated=stated)
    words = task.criterion.shown
    told = ", ".join(f"{name} {words.text(error)}" for name, error in errors.items())
    made = {"divide": best.divide, "mean": [*best.mean], "std": [*best.std]}
    return made, {"model.mean": f"{best.name}; {words.name} on some samples: {told}"}
