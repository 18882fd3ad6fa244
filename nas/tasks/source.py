"""The samples of a data source by split, before they become tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, eq=False)
class DataSource:
    """The samples of a data source by split.

    A split that the source lacks is later drawn from its training samples.
    """

    name: str
    train: Samples
    validation: Samples | None = None
    test: Samples | None = None

    @property
    def given(self) -> dict[str, Samples]:
        """The splits that the source has, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: samples for name, samples in splits.items() if samples is not None}


@dataclass(frozen=True, eq=False)
class Divided:
    """The samples of all three splits of a task."""

    train: Samples
    validation: Samples
    test: Samples
