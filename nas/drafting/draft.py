"""A recipe for a user's data: looked at, asked for, sized, checked and written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.drafting import sizing
from nas.drafting.asking import Ask
from nas.drafting.examples import require_new
from nas.drafting.looking import Keys, looked
from nas.drafting.text import written
from nas.files.durable import write_atomic
from nas.recipe.recipe import validate_recipe
from nas.recipe.sections import TaskSection, section_for
from nas.run.folder import RunFolder
from nas.run.plan import THIS_CPU, prepare
from nas.settings.toml_file import apply_override, validated
from nas.targets import available
from nas.tasks import Task, TaskError

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_COMMENTS = {
    "space": "The networks to choose from: every list holds options, the largest last.",
    "space.policy": "The bits to choose from. A block of layers has its own; also: layer, network.",
    "training": "Longer training helps most if the largest network's error is too high.",
    "training.float_epochs": "in full precision",
    "training.quantized_epochs": "over all bits; raise it if 8 bits lose much",
    "targets": "A device. `nas targets` lists others; a network is chosen for each.",
    "targets.tolerance": "the fastest within so much of the best error",
    "search": "How many networks are evaluated; these share the trained weights.",
    "compute.threads": "networks this small gain nothing from more",
}


@dataclass(frozen=True)
class Drafted:
    """A recipe that was written.

    Attributes:
        path: The file.
        task: The task that it reads.
        machine: The machine for which it is sized.
    """

    path: Path
    task: Task
    machine: sizing.Machine


def drafted(
    data: Path, *, out: Path | None, targets: Sequence[str], overrides: Sequence[str], ask: Ask
) -> Drafted:
    """Write a recipe for the data, after it was checked as `nas run` would.

    Args:
        data: A folder or a file.
        out: The recipe; by default a file in the working directory that is named after the data.
        targets: The devices; the user is asked where there are none.
        overrides: Texts such as `task.image_size=64`, which nobody is asked about.
        ask: Asks the user.

    Raises:
        RecipeError: The data make no task, a file would be overwritten, or a value is not allowed.
        TaskError: The data cannot be read.
    """
    path = out or _place(data)
    require_new(path)
    given: dict[str, Any] = {}
    for override in overrides:
        if override.partition("=")[0].strip().startswith("task."):
            apply_override(given, override)
    keys, task = _task(data, given.get("task", {}), ask)
    machine = sizing.Machine.here()
    content = _content(keys, task, machine, targets or devices(ask))
    for override in overrides:
        apply_override(content, override)
    text = _text(data, content, keys, machine)
    recipe = validate_recipe({"name": path.stem, **tomllib.loads(text)}, source=str(path))
    prepare(recipe, RunFolder(path.parent / path.stem))
    write_atomic(path, text.encode())
    return Drafted(path, task, machine)


def _place(data: Path) -> Path:
    """The path of the recipe, whose run folder has the same name and must not be the data's."""
    name = _UNFIT.sub("-", data.resolve().name.split(".")[0]).strip("-._") or "mine"
    path = Path(f"{name}.toml")
    return path if not path.with_suffix("").exists() else Path(f"{name}-search.toml")


def _task(data: Path, given: Mapping[str, Any], ask: Ask) -> tuple[Keys, Task]:
    """The keys of the section `task`, and the task that is loaded with them."""
    keys = looked(data, given, ask)
    try:
        return keys, _loaded(data, keys.values)
    except TaskError as error:
        if (
            keys.values["kind"] not in ("arrays", "features")
            or "target" in keys.values
            or "target =" not in str(error)
        ):
            raise
        answer = ask(
            f"{error}\nAre the targets classes, or values to be predicted?",
            key="--set task.target=classes or --set task.target=regression",
            options=("classes", "regression"),
        )
    keys = Keys({**keys.values, "target": answer}, keys.comments)
    return keys, _loaded(data, keys.values)


def _loaded(data: Path, values: Mapping[str, Any]) -> Task:
    return validated(section_for(TaskSection, values), values, source=str(data)).load()


def devices(ask: Ask) -> list[str]:
    """The devices that the user names."""
    shipped = ", ".join(available())
    answer = ask(
        f"For which devices? Several with commas; shipped are {shipped}; or a .toml file.",
        key="--target NAME",
        default=THIS_CPU,
    )
    return [name.strip() for name in answer.split(",") if name.strip()]


def _content(
    keys: Keys, task: Task, machine: sizing.Machine, targets: Sequence[str]
) -> dict[str, Any]:
    tolerance = sizing.tolerance_for(task.criterion)
    content = {
        "seed": 0,
        "task": dict(keys.values),
        "space": {**sizing.space_for(task, machine), "policy": sizing.policy_for(task)},
        "training": sizing.training_for(task, machine),
        "targets": [{"name": name, "tolerance": tolerance} for name in targets],
        "search": sizing.search_for(task),
        "compute": dict(sizing.compute_for(machine)),
    }
    return {name: value for name, value in content.items() if value != {}}


def _text(data: Path, content: dict[str, Any], keys: Keys, machine: sizing.Machine) -> str:
    head = (
        f"Made by `nas init {data}` for a machine with {machine}.\n"
        "docs/formats.md of elastic-nas explains every key; `nas spaces` shows what is searched."
    )
    comments = {**_COMMENTS, **{f"task.{key}": text for key, text in keys.comments.items()}}
    return written(content, comments, head=head)
