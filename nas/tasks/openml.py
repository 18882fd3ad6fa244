"""The task of a well-known image set by name, downloaded from OpenML by scikit-learn."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import numpy as np

from nas.settings.outside import OUTSIDE
from nas.tasks.clean import labelled
from nas.tasks.images import ImageSection
from nas.tasks.source import DataSource
from nas.tasks.task import TaskError

if TYPE_CHECKING:
    from sklearn.utils import Bunch

Name = Literal["mnist", "fashion-mnist", "cifar-10"]
_SETS: dict[Name, tuple[str, tuple[int, int, int]]] = {
    "mnist": ("mnist_784", (1, 28, 28)),
    "fashion-mnist": ("Fashion-MNIST", (1, 28, 28)),
    "cifar-10": ("CIFAR_10", (3, 32, 32)),
}


class OpenMLTask(ImageSection):
    """A task section for an image set that scikit-learn downloads once and keeps.

    OpenML does not say which rows are the published test split. The test split is therefore drawn
    from all rows, by `test_fraction`.

    Attributes:
        name: The image set.
        cache: The folder in which scikit-learn keeps downloads; its default where left out.
    """

    name: Annotated[Name, OUTSIDE]
    cache: Path | None = None

    def read(self) -> DataSource:
        """The downloaded or cached images and labels.

        Raises:
            TaskError: If the images cannot be downloaded.
        """
        from sklearn.datasets import fetch_openml

        identifier, shape = _SETS[self.name]
        # The fast parser needs pandas, which is not among our dependencies.
        parser = "liac-arff" if importlib.util.find_spec("pandas") is None else "pandas"
        try:
            data = cast(
                "Bunch",
                fetch_openml(
                    identifier, version=1, as_frame=False, parser=parser, data_home=self.cache
                ),
            )
        except (OSError, ValueError) as error:
            raise TaskError(
                f"cannot fetch {identifier} from openml.org ({error}); without a network, give the "
                "images as an .npz file with x_train, y_train, x_test and y_test in a task section "
                'with kind = "arrays" and its path'
            ) from error
        pixels = np.asarray(data.data).astype(np.uint8).reshape(-1, *shape)
        return DataSource(
            self.name, labelled(identifier, pixels, data.target.astype(str), layout="nchw")
        )
