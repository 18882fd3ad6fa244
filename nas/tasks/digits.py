"""The task of handwritten digits from scikit-learn: 1,797 grey images of 8 x 8 pixels."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np

from nas.tasks.clean import DataSource, labelled
from nas.tasks.section import Fraction, SplitSection
from nas.tasks.task import TaskError

_FILE = Path("datasets", "data", "digits.csv.gz")


class DigitsTask(SplitSection):
    """A task section for scikit-learn's digits, which need no download."""

    kind: Literal["digits"] = "digits"
    validation_fraction: Fraction = 0.2

    def read(self) -> DataSource:
        """The images and labels that scikit-learn holds.

        Its file is read here, since loading the library takes longer than planning a run.

        Raises:
            TaskError: If scikit-learn is not installed as a folder that holds the file.
        """
        found = importlib.util.find_spec("sklearn")
        folders = found.submodule_search_locations if found else None
        path = Path(*folders, _FILE) if folders else _FILE
        try:
            rows = np.loadtxt(path, delimiter=",")
        except OSError as error:
            raise TaskError(
                f"scikit-learn's digits are not at {path}: {error}; install scikit-learn as it is "
                "on PyPI, or take another task"
            ) from error
        images, labels = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
        return DataSource("digits", labelled("digits", images, labels))
