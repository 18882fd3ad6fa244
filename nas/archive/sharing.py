"""Export of an archive as a table for other programs, and merging of several archives."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.archive.archive import Archive, ArchiveError
from nas.evaluation.evaluation import Evaluation
from nas.files.durable import write_atomic
from nas.terminal.untrusted import spreadsheet_cell
from search_spaces.space import SearchSpace

Costs = Callable[[NDArray[np.integer]], Mapping[str, Sequence[float]]]
"""A function from genotypes, one a row, to their costs by name."""


def export_archive(archive: Archive, path: Path, *, costs: Costs | None = None) -> int:
    """Write every evaluation as a row of a CSV or Parquet file, by suffix.

    The columns are: one per choice, with the pick as a plain value, such as 8 for 8 bits;
    `genotype`, the option indices joined by spaces; every metric; every cost; `samples`, the number
    seen of the validation split; `stopped`, whether the evaluation was stopped early; `seed`,
    `seconds` and `where`. A cell without value is empty, as where a choice has no effect.

    Args:
        archive: The archive.
        path: The file to write.
        costs: The costs of networks, none where left out.

    Returns:
        The number of rows.

    Raises:
        ArchiveError: For another suffix, or where Parquet is asked for without pyarrow.
        WriteError: If the file cannot be written.
    """
    if path.suffix not in _WRITERS:
        raise ArchiveError(
            f"an archive is exported to {' or '.join(_WRITERS)}, given {path.name!r}; "
            "name the file so"
        )
    evaluations = archive.evaluations()
    columns = _columns(archive.space, evaluations, costs)
    write_atomic(path, _WRITERS[path.suffix](columns))
    return len(evaluations)


def merge_archives(into: Archive, others: Sequence[Archive]) -> int:
    """Append the evaluations of `others` that `into` does not hold.

    The first evaluation of a network in `into` stays the first.

    Returns:
        The number of evaluations by which `into` grew.

    Raises:
        ArchiveError: If an archive is of another space; nothing is appended then.
    """
    for other in others:
        if other.space != into.space:
            raise ArchiveError(
                f"archive {other.location} is of the space {other.space.fingerprint}, but "
                f"{into.location} of {into.space.fingerprint}; merge archives of one space only"
            )
    before = len(into)
    for other in others:
        into.append(*other.told(), *other.evaluations())  # the first, then the most complete
    return len(into) - before


def _columns(
    space: SearchSpace, evaluations: Sequence[Evaluation], costs: Costs | None
) -> dict[str, list[object]]:
    picked = [space.picks(e.genotype) for e in evaluations]
    columns: dict[str, list[object]] = {
        name: _of_one_type([picks.get(name) for picks in picked], options)
        for name, options in space.plain_options.items()
    }
    columns["genotype"] = [" ".join(map(str, e.genotype)) for e in evaluations]
    for metric in sorted({name for e in evaluations for name in e.metrics}):
        columns[metric] = [e.metrics.get(metric) for e in evaluations]
    if costs is not None:
        rows = np.array([e.genotype for e in evaluations]).reshape(-1, len(space.choices))
        columns |= {name: [*values] for name, values in costs(rows).items()}
    columns["samples"] = [e.answers and e.answers.seen for e in evaluations]
    columns["stopped"] = ["no" if e.complete else "yes" for e in evaluations]
    columns["seed"] = [e.seed for e in evaluations]
    columns["seconds"] = [e.seconds for e in evaluations]
    columns["where"] = [e.where for e in evaluations]
    return columns


def _of_one_type(picks: Sequence[object], options: Sequence[object]) -> list[object]:
    """Picks as numbers if all options are numbers, else as texts; None where a choice is closed."""
    if all(isinstance(option, int | float) for option in options):
        return [*picks]
    return [None if pick is None else str(pick) for pick in picks]


def _csv(columns: dict[str, list[object]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(spreadsheet_cell, columns))
    for row in zip(*columns.values(), strict=True):
        writer.writerow([spreadsheet_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue().encode()


def _parquet(columns: dict[str, list[object]]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ArchiveError(
            "Parquet needs pyarrow; install it with: pip install 'elastic-nas[parquet]', or "
            "export to .csv"
        ) from error
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out, write_page_checksum=True)
    return out.getvalue()


_WRITERS = {".csv": _csv, ".parquet": _parquet}
