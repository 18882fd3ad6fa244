"""The keys that all task sections of a recipe share, and how a data source is divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nas.tasks.classes import balanced_order
from nas.tasks.facts import facts_of
from nas.tasks.sound import (
    about_classes,
    about_content,
    about_copies,
    about_scale,
    about_size,
    require_enough,
)
from nas.tasks.source import Array, DataSource, Divided, Samples
from nas.tasks.task import Task, TaskError

ENOUGH = 500
"""The validation samples that are held out where a recipe does not say how many."""

_LEAST_HELD, _MOST_HELD = 0.1, 0.25
Fraction = Annotated[float, Field(gt=0, lt=1)]


class SplitSection(BaseModel):
    """The base of all task sections: how samples are divided into splits.

    Each kind of task adds the source of its samples, and how these become tensors. Splits are
    determined by `seed`, and stratified where targets are classes.

    Attributes:
        validation_fraction: Share of the training samples that is held out for the search; used if
            the source has no validation split. Where left out, `enough` of them.
        test_fraction: Share of all samples that is held out for the report; used if the source has
            no test split.
        seed: The seed of the splits.
        limit: The largest number of training samples to use; no limit where left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    validation_fraction: Fraction | None = None
    test_fraction: Fraction = 0.2
    seed: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=2)] | None = None

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If the source cannot be read, or a split or class has no samples.
        """
        raise NotImplementedError(f"{type(self).__name__} must define load")

    def divided(self, source: DataSource, *, stratified: bool) -> Divided:
        """The samples of all splits.

        Args:
            source: The samples by the splits that there are.
            stratified: Whether the targets are class numbers, which every split has in about the
                same proportion.

        Raises:
            TaskError: If splits have inputs of different shapes, or a split or class is empty.
        """
        _require_one_shape(source)
        rng, targets = np.random.default_rng(self.seed), source.train.targets
        drawn = [split for split in ("validation", "test") if split not in source.given]
        classes = source.reading.classes
        if stratified:
            require_enough(source.name, targets, classes=classes, drawn=drawn)
        order = balanced_order(targets, rng) if stratified else rng.permutation(len(targets))
        train, validation, test = source.train.at(order), source.validation, source.test
        shares: dict[str, float] = {}
        if test is None:
            shares["test"] = self.test_fraction
            test, train = _halves(source.name, train, shares, stratified=stratified)
        if validation is None:
            shares["validation"] = self.validation_fraction or enough(len(train))
            validation, train = _halves(source.name, train, shares, stratified=stratified)
        # The beginning and the rest of a balanced order are balanced too.
        train = train.at(slice(self.limit))
        splits = {"train": train, "validation": validation, "test": test}
        warnings = [*about_scale(source.name, source.given)]
        warnings += about_content(source.name, splits)
        warnings += about_copies(splits)
        warnings += about_size(splits, shares=stratified, drawn=drawn)
        if stratified:
            warnings += about_classes(source.name, splits, classes)
        reading = replace(
            source.reading,
            origins={**source.reading.origins, **_origins(shares)},
            warnings=(*source.reading.warnings, *warnings),
        )
        return Divided(**splits, facts=facts_of(source.name, splits, reading))


def enough(count: int) -> float:
    """The share of so many training samples that tells networks apart, where that can be spared.

    A tenth, but at least 500 samples, and never more than a quarter.
    """
    return min(_MOST_HELD, max(_LEAST_HELD, ENOUGH / count))


def _halves(
    name: str, whole: Samples, shares: Mapping[str, float], *, stratified: bool
) -> tuple[Samples, Samples]:
    """The samples that are held out from `whole`, and all others.

    Args:
        name: The source, for errors.
        whole: The samples.
        shares: Split -> the share that is held out; the last one counts.
        stratified: Whether both parts need samples of every class.
    """
    split, fraction = [*shares.items()][-1]
    count = round(fraction * len(whole))
    if not 0 < count < len(whole):
        raise TaskError(
            f"{name}: {split}_fraction = {fraction:g} of {len(whole)} samples leaves a split "
            "empty; give more samples or another fraction"
        )
    held = np.arange(len(whole)) < count
    if stratified:
        held = _with_every_class(held, whole.targets)
    return whole.at(np.flatnonzero(held)), whole.at(np.flatnonzero(~held))


def _origins(shares: Mapping[str, float]) -> dict[str, str]:
    """Where the samples of each split that was drawn come from."""
    return {split: f"drawn from train ({share:.0%})" for split, share in shares.items()}


def _require_one_shape(source: DataSource) -> None:
    for split, samples in source.given.items():
        if samples.shapes != source.train.shapes:
            raise TaskError(
                f"{source.name} has {split} inputs of shape {_told(samples)} but training inputs "
                f"of shape {_told(source.train)}; give all the same"
            )


def _told(samples: Samples) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in samples.shapes.items())


def _with_every_class(held: NDArray[np.bool_], targets: Array) -> NDArray[np.bool_]:
    """The choice of samples `(n,)`, changed so that both parts have every class.

    Only classes change of which one part would have no sample; each has two samples at least.
    """
    changed = held.copy()
    for number in np.unique(targets):
        members = np.flatnonzero(targets == number)
        if not held[members].any():
            changed[members[0]] = True
        elif held[members].all():
            changed[members[-1]] = False
    return changed
