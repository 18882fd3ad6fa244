"""Rehearsal of an export before weights exist: the same export of random numbers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nas.export.containers import ExportError
from nas.export.form import Exporter, bytes_of
from supernets.deployed import Deployed
from supernets.inputs import zeros

_PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "executorch")


def rehearsed_bytes(form: Exporter, stand_in: Deployed) -> float:
    """The size in bytes of `stand_in` in `form`, which would hardly change with real weights.

    The computation takes as long as an export, too long for every candidate of a search.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"subnet{form.suffix}"
        form.write(stand_in, path)
        return float(bytes_of(path))


def rehearse(form: Exporter, stand_ins: Iterable[Deployed]) -> None:
    """Export networks of random numbers and run the files, before any training.

    Args:
        form: The form that a recipe requests.
        stand_ins: Networks of the space.

    Raises:
        ExportError: The installed packages cannot write or run one of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        for number, network in enumerate(stand_ins):
            path = Path(folder) / f"{number}{form.suffix}"
            try:
                form.write(network, path)
                form.open(path, network.graph).run(zeros(network.graph, 2))
            except Exception as error:  # every runtime has exceptions of its own
                raise ExportError(
                    f"the packages installed here cannot write and run networks of this space as "
                    f"{form.name!r} ({_installed()}): {type(error).__name__}: {error}; upgrade "
                    f"them, or leave {form.name!r} out of export.formats"
                ) from error


def _installed() -> str:
    """The versions of the packages that write and run exported files, as a text."""
    found = [name for name in _PACKAGES if importlib.util.find_spec(name) is not None]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in found)
