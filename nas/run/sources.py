"""What a run read beside its recipe: kept in its folder, and compared when the run continues."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from nas.facts.data_facts import DataFacts, SplitFacts
from nas.files.durable import write_atomic
from nas.report.text import listed, quantity
from nas.run.folder import RunFolder, RunFolderError
from nas.run.plan import THIS_CPU, Plan
from nas.settings.outside import outside
from nas.targets import HardwareTarget
from nas.tasks.facts import facts_of_task
from search_spaces.documents import read_json

_NETWORKS = 64  # random networks whose costs tell whether the figures of a target have changed
_TRANSFER = "search.transfer"
_MAKES_SUPERNET = ("space.", "training.")


class SourceFile(BaseModel):
    """A file or folder that the recipe names, with the SHA-256 of its content."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    sha256: str


class TargetFigures(BaseModel):
    """The finite costs of the largest network on a target, and a digest of those of many."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    largest: dict[str, float]
    digest: str


class Sources(BaseModel):
    """The content of `sources.json`.

    Attributes:
        data: What the task read.
        files: Key of the recipe -> the file or folder.
        targets: Name of a target -> its figures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    data: DataFacts
    files: dict[str, SourceFile]
    targets: dict[str, TargetFigures]


_SOURCES = TypeAdapter(Sources)


def compared(plan: Plan) -> list[str]:
    """Sentences on sources that have changed since the run began, and that may change.

    The sources of a run that begins are written to its folder. A run that continues adds those of
    new targets and new keys only, so every continuation tells of a change.

    Raises:
        RunFolderError: Something has changed that made the supernet or its evaluations.
    """
    files, now = plan.files, _read_now(plan)
    before = _noted(files) or now
    faults = [*_changed_data(before.data, now.data), *_changed_files(files, before, now)]
    if faults:
        raise RunFolderError(
            f"what made the run in {files.path} has changed since it began: {'; '.join(faults)}. "
            "What the run trained and measured does not fit: restore the old content, remove the "
            "folder, or choose another with --out. If you know that the content is the same, "
            f"delete {files.sources}"
        )
    kept = Sources(
        data=before.data,
        files={**now.files, **before.files, **_not_used_yet(files, now)},
        targets={**now.targets, **before.targets},
    )
    if not files.sources.exists() or kept != before:
        write_atomic(files.sources, kept.model_dump_json(indent=1).encode())
    figures = (told for target in plan.targets for told in changed_figures(plan, target))
    return [*_told(files, before, now), *figures]


def changed_figures(plan: Plan, target: HardwareTarget) -> tuple[str, ...]:
    """A sentence if the figures of a target have changed since the run began, else nothing."""
    before = _noted(plan.files)
    known = None if before is None else before.targets.get(target.name)
    if known is None or target not in _with_figures(plan):
        return ()
    now = _figures(plan, target)
    return () if now == known else (_other_figures(target.name, known, now),)


def _noted(files: RunFolder) -> Sources | None:
    """The sources of the run in a folder; None if nothing was made there, or none were noted."""
    if not (files.begun and files.sources.exists()):
        return None
    remedy = "delete it, and what the run reads now counts as what made it"
    return read_json(files.sources, _SOURCES, what="the record of what a run read", remedy=remedy)


def _read_now(plan: Plan) -> Sources:
    return Sources(
        data=facts_of_task(plan.task),
        files=dict(_files(plan)),
        targets={target.name: _figures(plan, target) for target in _with_figures(plan)},
    )


def _files(plan: Plan) -> Iterator[tuple[str, SourceFile]]:
    """The files that the recipe names and that are there, by key."""
    recipe = plan.recipe
    named = dict(outside(recipe.space, under="space."))
    named |= {"training.start": recipe.training.start, _TRANSFER: recipe.search.transfer}
    named |= {f"python.{number}": Path(text) for number, text in enumerate(recipe.python)}
    for key, path in named.items():
        if isinstance(path, Path):
            file = RunFolder(path).archive if key == _TRANSFER else path
            if file.is_file():
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                yield key, SourceFile(path=str(path), sha256=digest)


def _with_figures(plan: Plan) -> list[HardwareTarget]:
    """The targets whose figures come from outside of the run folder."""
    return [target for target in plan.targets if target.name != THIS_CPU]


def _figures(plan: Plan, target: HardwareTarget) -> TargetFigures:
    costs = plan.costs.on(target)
    rows = plan.space.sample_array(np.random.default_rng(0), _NETWORKS)
    largest = np.array([plan.space.largest])
    first = {name: float(cost(largest)[0]) for name, cost in costs.items()}
    # Rounded, since sums differ in their last digits from one processor to another.
    content = [f"{name}={value:.9g}" for name in sorted(costs) for value in costs[name](rows)]
    return TargetFigures(
        largest={name: float(f"{v:.9g}") for name, v in first.items() if math.isfinite(v)},
        digest=hashlib.sha256("\n".join(content).encode()).hexdigest(),
    )


def _changed_data(before: DataFacts, now: DataFacts) -> Iterator[str]:
    """What has changed in the splits that train and choose, in words."""
    for name in ("train", "validation"):
        old, new = before.splits[name], now.splits[name]
        if old.digest == new.digest and [*old.classes] == [*new.classes]:
            continue
        told = f"from {_counts(old)} to {_counts(new)}"
        if _counts(old) == _counts(new):
            told = f"in content or labels; the counts are the same, {_counts(new)}"
        yield f"the {name} split of {now.source} {told}"


def _counts(split: SplitFacts) -> str:
    classes = ", ".join(f"{name}: {count}" for name, count in [*split.classes.items()][:_SHOWN])
    more = ", ..." if len(split.classes) > _SHOWN else ""
    return f"{split.samples:,} samples" + (f" ({classes}{more})" if classes else "")


_SHOWN = 8


def _changed_files(files: RunFolder, before: Sources, now: Sources) -> Iterator[str]:
    for key, old in before.files.items():
        new = now.files.get(key, old)
        if key.startswith(_MAKES_SUPERNET) and new.sha256 != old.sha256:
            yield f"{key} = {new.path!r} has other content"
        if key == _TRANSFER and files.transfer.exists() and new.path != old.path:
            yield (
                f"{key} = {new.path!r}, but the search learns from what {files.transfer.name} "
                f"keeps of {old.path!r} (delete that file to learn from the new one)"
            )


def _not_used_yet(files: RunFolder, now: Sources) -> Mapping[str, SourceFile]:
    """The files that may still change, since the run has made nothing of them."""
    return {k: v for k, v in now.files.items() if k == _TRANSFER and not files.transfer.exists()}


def _told(files: RunFolder, before: Sources, now: Sources) -> Iterator[str]:
    """Sentences on changes that leave the supernet and its evaluations as they are."""
    if before.data.splits["test"].digest != now.data.splits["test"].digest:
        yield (
            f"look at this: the test split of {now.data.source} has changed since the run began; "
            "figures of exported files are measured on the new one"
        )
    for key, old in before.files.items():
        if now.files.get(key, old).sha256 == old.sha256:
            continue
        if key.startswith("python."):
            yield (
                f"look at this: {old.path} has changed since the run began; if it defines what was "
                "trained, choose another folder with --out"
            )
        if key == _TRANSFER and files.transfer.exists():
            yield (
                f"{old.path} has other evaluations than those kept in {files.transfer.name}, from "
                "which this search learns; delete that file to read them anew"
            )


def _other_figures(name: str, old: TargetFigures, new: TargetFigures) -> str:
    differing = [
        f"{cost} of the largest network was {quantity(cost, old.largest[cost])} and is "
        f"{quantity(cost, new.largest[cost])}"
        for cost in old.largest
        if cost in new.largest and old.largest[cost] != new.largest[cost]
    ]
    told = f" ({listed(differing)})" if differing else ""
    return (
        f"The figures of target {name} have changed since the run began{told}. Costs and fronts "
        "follow the new ones; which networks were evaluated followed the old ones. Raise "
        "search.budget to search on by the new ones, or restore the old table."
    )
