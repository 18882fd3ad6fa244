"""The table of seams, a CSV file beside a latency table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nas.files.durable import read_text
from nas.files.sheet import SheetError, read_sheet
from nas.targets.errors import TargetError
from nas.targets.seams.seam import JOIN, Seam
from search_spaces.costs import FloatArray

FORMAT = "2"  # in format 1, convolutions that fell back to floats were compared with integers
COLUMNS = ("writer", "readers", "elements", "added_ms", "spread_ms", "count")
CONDITIONS = ("device", "runtime", "threads", "weights")
SEAMS_NOTE = "seams"  # the key of the note about seams among the conditions of a calibration
_MAXIMUM_BYTES = 1 << 26
_SHOWN = 10
_LARGEST = 10**9
_AGAIN = "delete the file and measure again: nas profile RECIPE"


@dataclass(frozen=True)
class Added:
    """What the kernels around a tensor take together, less what each of them takes alone.

    Attributes:
        ms: Milliseconds; negative where kernels take less time together.
        spread_ms: The standard deviation over repetitions, in milliseconds.
        count: The number of repetitions.
    """

    ms: float
    spread_ms: float
    count: int


@dataclass(frozen=True, eq=False)
class SeamTable:
    """The measured seams of a device.

    Attributes:
        rows: Seam -> number of elements of the tensor -> figures.
        notes: The conditions of the measurement, those of the latency table.
    """

    rows: Mapping[Seam, Mapping[int, Added]]
    notes: Mapping[str, str] = field(default_factory=dict)

    def added_ms(self, seam: Seam, elements: FloatArray) -> FloatArray:
        """The milliseconds that tensors of so many elements add, `(sizes,)`.

        Between measured sizes, the figure lies on the line through them; beyond them, it is that of
        the nearest.
        """
        known = sorted(self.rows[seam].items())
        return np.interp(elements, [size for size, _ in known], [found.ms for _, found in known])

    def lacking(self, seams: Iterable[Seam]) -> str | None:
        """A message about seams without a row; None if all have one."""
        missing = [seam for seam in dict.fromkeys(seams) if seam not in self.rows]
        if not missing:
            return None
        more = f", the first {_SHOWN}" if len(missing) > _SHOWN else ""
        listed = "\n".join(f"  {seam}" for seam in missing[:_SHOWN])
        return (
            f"the table of seams has no row for {len(missing)} kinds of tensors between kernels"
            f"{more}:\n{listed}\nmeasure them with: nas profile RECIPE"
        )

    @classmethod
    def read(cls, path: Path, *, conditions: Mapping[str, str] | None = None) -> SeamTable:
        """The table in a file; an incomplete last line, as a killed profiler leaves, is left out.

        Args:
            path: The file.
            conditions: The notes of the latency table, with which those of the file must agree.

        Raises:
            TargetError: If the file cannot be read, or was measured under other conditions.
        """
        try:
            text = read_text(path, at_most=_MAXIMUM_BYTES)
            sheet = read_sheet(text[: text.rfind("\n") + 1], by_line=True)
        except (OSError, SheetError, ValueError) as error:
            raise TargetError(f"table of seams {path} cannot be read: {error}; {_AGAIN}") from error
        notes = dict(_note(words) for _, words in sheet.notes)
        if notes.get("format") != FORMAT or sheet.header not in ((), COLUMNS):
            raise TargetError(
                f"table of seams {path} has format {notes.get('format')!r} and columns "
                f"{','.join(sheet.header)}; format {FORMAT} with {','.join(COLUMNS)} is read; "
                f"{_AGAIN}"
            )
        for name in CONDITIONS if conditions is not None else ():
            if notes.get(name) != (conditions or {}).get(name):
                raise TargetError(
                    f"table of seams {path} was measured with {name} = {notes.get(name)!r}, its "
                    f"latency table with {(conditions or {}).get(name)!r}; {_AGAIN}"
                )
        return cls(_rows(path, sheet.rows), notes)


def seams_path(table: Path) -> Path:
    """The path of the seams of a latency table: beside the table."""
    return table.with_suffix(".seams.csv")


def said(seams: SeamTable | None) -> str:
    """What a calibration notes about the seams of its table: it corrects sums with or without."""
    return "none" if seams is None else "measured"


def heading(notes: Mapping[str, str]) -> str:
    """The lines before the rows of a file."""
    said = {"format": FORMAT, **notes}
    return "".join(f"# {name}: {text}\n" for name, text in said.items()) + _line(COLUMNS)


def line(seam: Seam, elements: int, found: Added) -> str:
    """The line of a row."""
    figures = (elements, repr(found.ms), repr(found.spread_ms), found.count)
    return _line((seam.writer, JOIN.join(seam.readers), *figures))


def _line(cells: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _note(words: str) -> tuple[str, str]:
    name, _, value = words.lstrip("#").partition(":")
    return name.strip(), value.strip()


def _rows(path: Path, rows: Iterable[tuple[int, Sequence[str]]]) -> dict[Seam, dict[int, Added]]:
    found: dict[Seam, dict[int, Added]] = {}
    problems: list[str] = []
    for number, cells in rows:
        try:
            seam, elements, added = _row(cells)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        if elements in found.setdefault(seam, {}):
            problems.append(f"line {number}: repeats {seam} with {elements} elements")
        found[seam][elements] = added
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems[:_SHOWN])
        raise TargetError(
            f"table of seams {path} has {len(problems)} problems:\n{listed}\n{_AGAIN}"
        )
    return found


def _row(cells: Sequence[str]) -> tuple[Seam, int, Added]:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} values for {len(COLUMNS)} columns")
    writer, readers, *figures = cells
    try:
        elements, ms, spread_ms, count = (float(text) for text in figures)
    except ValueError as error:
        raise ValueError(f"{figures} must be numbers") from error
    whole = elements.is_integer() and count.is_integer()
    if not (writer and whole and 1 <= elements <= _LARGEST and 1 <= count <= _LARGEST):
        raise ValueError("writer must be named; elements and count are whole numbers of at least 1")
    if not (math.isfinite(ms) and 0 <= spread_ms < math.inf):
        raise ValueError("added_ms must be finite, and spread_ms finite and not negative")
    read = tuple(readers.split(JOIN)) if readers else ()
    return Seam(writer, read), int(elements), Added(ms, spread_ms, int(count))
