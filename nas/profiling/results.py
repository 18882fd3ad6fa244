"""Reading the results that `measure.py` wrote on another machine, with all checks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.files.durable import read_text
from nas.files.sheet import Sheet, absent, read_sheet
from nas.profiling.measure import COLUMNS
from nas.targets.errors import TargetError
from nas.targets.table.rows import Row

SHOWN = 10
_MOST_BYTES = 1 << 28
REQUIRED = ("manifest", "device", "runtime", "threads")
_AGAIN = "run measure.py there again, it goes on where it stopped"


def read_results(path: Path, names: Sequence[str]) -> tuple[dict[str, str], dict[str, Row]]:
    """The notes and the rows of a results file, with a row for each of `names`.

    Raises:
        TargetError: If names are missing, repeated or unknown, or a row has no valid latency; the
            message lists the problems.
    """
    if not path.exists():
        raise TargetError(f"{absent(path)}; run measure.py in that folder first")
    try:
        text = read_text(path, at_most=_MOST_BYTES)
        sheet = read_sheet(text, by_line=True).with_points(COLUMNS[1:])
    except (OSError, ValueError) as error:
        raise TargetError(f"results {path} cannot be read: {error}") from error
    if not text.endswith("\n"):
        raise TargetError(f"the last line of {path} is torn; {_AGAIN}")
    notes = {
        key.strip(): value.strip()
        for key, _, value in (words[1:].partition(":") for _, words in sheet.notes)
    }
    rows: dict[str, Row] = {}
    problems = [*_heading(notes, sheet)] or [*_fill(rows, sheet, names)]
    if problems:
        more = f", the first {SHOWN}" if len(problems) > SHOWN else ""
        listed = "\n".join(f"  {problem}" for problem in problems[:SHOWN])
        raise TargetError(f"results {path} have {len(problems)} problems{more}:\n{listed}")
    missing = [name for name in names if name not in rows]
    if missing:
        raise TargetError(
            f"results {path} lack {len(missing)} of {len(names)} rows, first {missing[0]}; {_AGAIN}"
        )
    return notes, rows


def _heading(notes: dict[str, str], sheet: Sheet) -> Iterator[str]:
    for name in REQUIRED:
        if not notes.get(name):
            yield f"no line '# {name}: ...' at its head"
    if sheet.header != COLUMNS:
        yield f"no header; it is {','.join(COLUMNS)}"


def _fill(rows: dict[str, Row], sheet: Sheet, names: Sequence[str]) -> Iterator[str]:
    """Put all valid rows into `rows`; yields the problems of the others."""
    known = set(names)
    for number, cells in sheet.rows:
        if cells and cells[0].startswith("#"):
            yield f"line {number}: a second heading; results of two runs are mixed, keep one"
        elif len(cells) != len(COLUMNS):
            yield f"line {number}: {len(cells)} values for {len(COLUMNS)} columns"
        elif cells[0] not in known:
            yield f"line {number}: {cells[0]!r} is not in the manifest"
        elif cells[0] in rows:
            yield f"line {number}: repeats {cells[0]}; keep one of them"
        else:
            row = _row(cells)
            if row is None:
                yield (
                    f"line {number}: {','.join(cells)!r} must hold finite milliseconds, not "
                    "negative, and a whole number of repetitions"
                )
            else:
                rows[cells[0]] = row


def _row(cells: Sequence[str]) -> Row | None:
    """The row in the cells behind a name; None if the cells are not a measurement."""
    try:
        latency_ms, spread_ms, count = float(cells[1]), float(cells[2]), int(cells[3])
    except ValueError:
        return None
    sound = 0 <= latency_ms < math.inf and 0 <= spread_ms < math.inf and count >= 1
    return Row(latency_ms, spread_ms, count) if sound else None
