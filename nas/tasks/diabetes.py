"""The task of ten measurements of 442 patients, and how their diabetes progressed in a year."""

from __future__ import annotations

from nas.tasks.aims import regressed
from nas.tasks.bundled import read_bundled
from nas.tasks.features import FEATURES, prepared_features
from nas.tasks.section import Fraction, SplitSection
from nas.tasks.source import DataSource, Samples
from nas.tasks.targets import values
from nas.tasks.task import Task


class DiabetesTask(SplitSection):
    """A task section for scikit-learn's diabetes data, which need no download.

    The features are age, sex, body mass index, blood pressure and six values of the blood serum;
    the target is a measure of progression from 25 to 346 (Efron et al. 2004, section 1).
    """

    validation_fraction: Fraction = 0.2

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If scikit-learn is not installed as a folder that holds its data.
        """
        features = read_bundled("diabetes_data_raw.csv.gz", delimiter=None)
        targets = values("diabetes", read_bundled("diabetes_target.csv.gz", delimiter=None))
        source = DataSource("diabetes", Samples({FEATURES: features}, targets))
        parts, aim = regressed(self, source, unit="")
        return aim.task(source.name, parts, prepared_features(parts.train))
