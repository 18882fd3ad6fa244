"""The task of handwritten digits from scikit-learn: 1,797 grey images of 8 x 8 pixels."""

from __future__ import annotations

import numpy as np

from nas.tasks.bundled import read_bundled
from nas.tasks.clean import labelled
from nas.tasks.images import ImageSection
from nas.tasks.section import Fraction
from nas.tasks.source import DataSource


class DigitsTask(ImageSection):
    """A task section for scikit-learn's digits, which need no download."""

    validation_fraction: Fraction = 0.2

    def read(self) -> DataSource:
        """The images and labels that scikit-learn holds.

        Raises:
            TaskError: If scikit-learn is not installed as a folder that holds its data.
        """
        rows = read_bundled("digits.csv.gz")
        images, labels = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
        return DataSource("digits", labelled("digits", images, labels))
