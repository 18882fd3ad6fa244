"""The task of handwritten digits from scikit-learn: 1,797 grey images of 8 x 8 pixels."""

from __future__ import annotations

from typing import Literal, cast

from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from nas.tasks.clean import DataSource, labelled
from nas.tasks.section import Fraction, SplitSection


class DigitsTask(SplitSection):
    """A task section for scikit-learn's digits, which need no download."""

    kind: Literal["digits"] = "digits"
    validation_fraction: Fraction = 0.2

    def read(self) -> DataSource:
        """The images and labels that scikit-learn holds."""
        data = cast("Bunch", load_digits())
        return DataSource("digits", labelled("digits", data.images, data.target))
