"""How many bytes an export will have, before there are weights: the same export of made-up ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from nas.export.form import Exporter, bytes_of
from nas.export.stand_in import stand_in
from search_spaces.graph import Graph


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
