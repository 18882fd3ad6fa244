"""The keys that all task sections of a recipe share, and how a data source is divided."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from nas.tasks.classes import balanced_order
from nas.tasks.facts import facts_of
from nas.tasks.source import DataSource, Divided, Samples
from nas.tasks.task import Task, TaskError

Fraction = Annotated[float, Field(gt=0, lt=1)]


class SplitSection(BaseModel):
    """The base of all task sections: how samples are divided into splits.

    Each kind of task adds the source of its samples, and how these become tensors. Splits are
    determined by `seed`, and stratified where targets are classes.

    Attributes:
        validation_fraction: Share of the training samples that is held out for the search; used if
            the source has no validation split.
        test_fraction: Share of all samples that is held out for the report; used if the source has
            no test split.
        seed: The seed of the splits.
        limit: The largest number of training samples to use; no limit where left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    validation_fraction: Fraction = 0.1
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
        order = balanced_order(targets, rng) if stratified else rng.permutation(len(targets))
        train, validation, test = source.train.at(order), source.validation, source.test
        if test is None:
            test, train = _halves(source.name, train, self.test_fraction, "test_fraction")
        if validation is None:
            validation, train = _halves(
                source.name, train, self.validation_fraction, "validation_fraction"
            )
        # The beginning and the rest of a balanced order are balanced too.
        train = train.at(slice(self.limit))
        if stratified:
            _require_classes(source.name, train, len(np.unique(targets)))
        splits = {"train": train, "validation": validation, "test": test}
        reading = replace(source.reading, origins=self._origins(source))
        return Divided(**splits, facts=facts_of(source.name, splits, reading))

    def _origins(self, source: DataSource) -> dict[str, str]:
        """Where the samples of each split come from, also of those that were drawn."""
        shares = {"validation": self.validation_fraction, "test": self.test_fraction}
        drawn = {
            split: f"drawn from train ({share:.0%})"
            for split, share in shares.items()
            if split not in source.given
        }
        return {**source.reading.origins, **drawn}


def _require_one_shape(source: DataSource) -> None:
    for split, samples in source.given.items():
        if samples.shapes != source.train.shapes:
            raise TaskError(
                f"{source.name} has {split} inputs of shape {_told(samples)} but training inputs "
                f"of shape {_told(source.train)}; give all the same"
            )


def _told(samples: Samples) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in samples.shapes.items())


def _require_classes(name: str, train: Samples, classes: int) -> None:
    missing = classes - len(np.unique(train.targets))
    if missing:
        raise TaskError(
            f"{name} has {missing} of {classes} classes without a sample among its {len(train)} "
            "training samples; raise limit or lower the held-out fractions"
        )


def _halves(name: str, whole: Samples, fraction: float, setting: str) -> tuple[Samples, Samples]:
    """The samples that are held out from `whole`, and all others.

    Args:
        name: The source, for errors.
        whole: The samples.
        fraction: The share that is held out.
        setting: The key of the recipe that sets the share, for errors.
    """
    held = round(fraction * len(whole))
    if not 0 < held < len(whole):
        raise TaskError(
            f"{name}: {setting} = {fraction} of {len(whole)} samples leaves a split empty; "
            "give more samples or another fraction"
        )
    return whole.at(slice(held)), whole.at(slice(held, None))
