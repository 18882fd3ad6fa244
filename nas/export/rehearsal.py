"""How many bytes an export will have, before there are weights: the same export of made-up ones."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from nas.export.containers import ExportError
from nas.export.form import Exporter, bytes_of
from nas.export.stand_in import stand_in
from search_spaces.graph import Graph
from search_spaces.ops import Shape

_PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "executorch")


def rehearsed_bytes(
    form: Exporter,
    graph: Graph,
    *,
    metadata: Mapping[str, str],
    source_size: int | None = None,
) -> float:
    """The size of `graph` in `form` with random numbers, which its real numbers hardly change.

    Takes as long as an export, so it serves a chosen subnet and not a search.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"subnet{form.suffix}"
        form.write(stand_in(graph), path, metadata=metadata, source_size=source_size)
        return float(bytes_of(path))


def rehearse(form: Exporter, graphs: Iterable[Graph], *, image: Shape) -> None:
    """Write `graphs` in `form` with random numbers and run the files, before there is a network.

    Args:
        form: The form that a recipe asks for.
        graphs: Resolved networks of the space.
        image: `(channels, height, width)` of the images that will be fed.

    Raises:
        ExportError: The installed packages cannot write or run one of them.
    """
    images = torch.zeros(2, *image)
    with tempfile.TemporaryDirectory() as folder:
        for number, graph in enumerate(graphs):
            path = Path(folder) / f"{number}{form.suffix}"
            try:
                form.write(stand_in(graph), path, metadata={}, source_size=image[1])
                form.open(path, graph).logits(images)
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
