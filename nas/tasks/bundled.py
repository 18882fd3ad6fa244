"""Tables of numbers that scikit-learn ships, read without loading the library."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.tasks.task import TaskError

_FOLDER = Path("datasets", "data")


def read_bundled(name: str, *, delimiter: str | None = ",") -> NDArray[np.float64]:
    """The numbers in the file `name` among scikit-learn's data.

    The file is read here, since loading the library takes longer than planning a run.

    Raises:
        TaskError: If scikit-learn is not installed as a folder that holds the file.
    """
    found = importlib.util.find_spec("sklearn")
    folders = found.submodule_search_locations if found else None
    path = Path(*folders, _FOLDER, name) if folders else _FOLDER / name
    try:
        return np.loadtxt(path, delimiter=delimiter)
    except OSError as error:
        raise TaskError(
            f"scikit-learn's data are not at {path}: {error}; install scikit-learn as it is on "
            "PyPI, or take another task"
        ) from error
