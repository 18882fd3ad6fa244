"""How many bytes an export will have, before there are weights: the same export of made-up ones."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

from nas.export.containers import ExportError
from nas.export.form import Exporter, bytes_of
from nas.export.statement import only_source
from supernets.deployed import Deployed

_PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "executorch")


def rehearsed_bytes(form: Exporter, stand_in: Deployed) -> float:
    """The size of `stand_in` in `form`, which real numbers would hardly change.

    Takes as long as an export, so it serves a chosen subnet and not a search.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"subnet{form.suffix}"
        form.write(stand_in, path)
        return float(bytes_of(path))


def rehearse(form: Exporter, stand_ins: Iterable[Deployed]) -> None:
    """Write networks of random numbers in `form` and run the files, before there is a network.

    Args:
        form: The form that a recipe asks for.
        stand_ins: Networks of the space, with the shape that they will be fed.

    Raises:
        ExportError: The installed packages cannot write or run one of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        for number, network in enumerate(stand_ins):
            path = Path(folder) / f"{number}{form.suffix}"
            try:
                _, fed = only_source(network)
                form.write(network, path)
                form.open(path, network.graph).logits(torch.zeros(2, *fed))
            except Exception as error:  # of many kinds, since each runtime has its own
                raise ExportError(
                    f"the packages installed here cannot write and run networks of this space as "
                    f"{form.name!r} ({_installed()}): {type(error).__name__}: {error}; upgrade "
                    f"them, or leave {form.name!r} out of export.formats"
                ) from error


def _installed() -> str:
    """The packages that write and run exported files, with their versions."""
    found = [name for name in _PACKAGES if importlib.util.find_spec(name) is not None]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in found)
