"""Tables that the tests write themselves."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "table" / "nets.toml"

DESCRIPTION = """
files = ["nets.csv"]

[choices]
depth = [1, 2]
width = [8, 16, 32]
late = { options = ["a", "b"], when = { depth = [2] } }

[loss]
column = "accuracy"
reading = "accuracy"

[devices.phone]
latency_ms = "phone_ms"
[devices.server]
latency_ms = { column = "images_per_s", reading = "rate", unit = 1000 }
"""

Row = dict[str, object]


def networks() -> Iterator[Row]:
    """All nine networks, with figures that tell them apart."""
    for depth, width, late in itertools.product((1, 2), (8, 16, 32), ("a", "b")):
        if depth == 2 or late == "a":
            rank = depth * width + (late == "b")
            yield {
                "depth": depth,
                "width": width,
                "late": late if depth == 2 else "",
                "accuracy": 50 + rank / 2,
                "phone_ms": 0.5 * rank,
                "images_per_s": 1000 - rank,
            }


def write(folder: Path, rows: Sequence[Mapping[str, object]], text: str = DESCRIPTION) -> Path:
    """Put a table and its description into a folder; gives the description's path."""
    with (folder / "nets.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    path = folder / "nets.toml"
    path.write_text(text)
    return path
