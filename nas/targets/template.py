"""Templates of latency tables: the kernels of a space that have no figure yet, with empty cells."""

from __future__ import annotations

from pathlib import Path

from nas.files.durable import write_atomic
from nas.targets.coverage import of_space, table_of
from nas.targets.errors import TargetError
from nas.targets.legality import legal
from nas.targets.table.csv_file import heading, line, unfilled
from nas.targets.target import HardwareTarget
from search_spaces.space import SearchSpace


def write_template(path: Path, target: HardwareTarget, space: SearchSpace) -> tuple[int, int]:
    """Write a table with every row of the target, and an empty row for every kernel without one.

    No figure is invented: latencies, spreads and counts of the new rows are empty. Once latencies
    are entered, the file can be read as the target's table.

    Args:
        path: The CSV file to write, which must not exist.
        target: A target with a latency table, which may be empty.
        space: The space whose kernels the table must hold.

    Returns:
        The number of rows with figures, and of those to fill in. If there are none to fill in,
        nothing is written.

    Raises:
        TargetError: If the target has no table or runs no network of the space, or if `path` exists
            or is no CSV file.
    """
    table = table_of(target)
    if table is None:
        raise TargetError(
            f"target {target.name!r} is {target.provenance} and has no latency table to fill in"
        )
    if path.suffix != ".csv":
        raise TargetError(f"a template is a CSV file, given {path}; end its name in .csv")
    if path.exists():
        raise TargetError(
            f"{path} exists, and a template replaces no file; write to another one, and move it "
            "there when it is filled in"
        )
    missing = of_space(target, legal(space, [target]), near=0).missing
    if missing:
        notes = {"device": target.device, "runtime": target.runtime, **table.notes}
        known = "".join(line(key, row) for key, row in table.rows.items())
        empty = "".join(unfilled(key, energy=table.has_energy) for key in missing)
        text = heading(notes, energy=table.has_energy) + known + empty
        write_atomic(path, text.encode())
    return len(table.rows), len(missing)
