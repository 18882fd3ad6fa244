"""The samples of a data source by split, before they become tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.facts.data_facts import DataFacts

Array = NDArray[Any]
Rows = NDArray[np.integer] | slice


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs with targets.

    Attributes:
        inputs: Input name -> the values of all samples, `(n, ...)`.
        targets: The target of each sample, `(n, ...)`; names where classes have names.
    """

    inputs: Mapping[str, Array]
    targets: Array

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, rows: Rows) -> Samples:
        """The samples at `rows`, in that order."""
        return Samples({name: x[rows] for name, x in self.inputs.items()}, self.targets[rows])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input of one sample, by input name."""
        return {name: x.shape[1:] for name, x in self.inputs.items()}


@dataclass(frozen=True)
class Reading:
    """What a source tells beyond its samples, for `nas.facts.data_facts`.

    Attributes:
        kind: The kind of file or folder in words, with counts of files where there are several.
        origins: Split -> where its samples come from.
        classes: The names of the classes by number; empty where targets are no classes.
        notes: Sentences on how the data were read, where there was a decision.
        passed_over: What lies there and was not read, and why.
        warnings: Sentences on data from which a network will hardly learn.
    """

    kind: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DataSource:
    """The samples of a data source by split.

    A split that the source lacks is later drawn from its training samples.
    """

    name: str
    train: Samples
    validation: Samples | None = None
    test: Samples | None = None
    reading: Reading = Reading()

    @property
    def given(self) -> dict[str, Samples]:
        """The splits that the source has, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: samples for name, samples in splits.items() if samples is not None}


@dataclass(frozen=True, eq=False)
class Divided:
    """The samples of all three splits of a task, with the facts of what was read."""

    train: Samples
    validation: Samples
    test: Samples
    facts: DataFacts

    def changed(self, change: Callable[[Samples], Samples]) -> Divided:
        """The same splits after a change to the samples of each."""
        splits = map(change, (self.train, self.validation, self.test))
        return Divided(*splits, facts=self.facts)
