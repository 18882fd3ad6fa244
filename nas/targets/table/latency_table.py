"""Latency tables: one row per fused kernel, as a CSV or Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from nas.files.durable import read_text
from nas.files.sheet import absent
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.table.csv_file import heading, line, parse
from nas.targets.table.nearest import Neighbours
from nas.targets.table.parquet import read_parquet, write_parquet
from nas.targets.table.rows import KernelKey, Row
from search_spaces.kernels import Kernel

Item = TypeVar("Item")
SHOWN = 10
PARQUET = ".parquet"
MAXIMUM_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """The latencies, and perhaps energies, of the kernels of a device.

    Attributes:
        rows: The measured figures of each kernel; with energy in all rows or in none.
        notes: The conditions of the measurement: device, runtime, threads, date and the like.
        remedy: Advice on missing rows, such as the command that measures them.
    """

    rows: Mapping[KernelKey, Row]
    notes: Mapping[str, str] = field(default_factory=dict)
    remedy: str = "measure them with: nas profile RECIPE"

    def __post_init__(self) -> None:
        lacking = [key for key, row in self.rows.items() if row.energy_mj is None]
        if 0 < len(lacking) < len(self.rows):
            raise TargetError(
                f"{len(lacking)} of {len(self.rows)} rows of the latency table have no energy_mj"
                f"{_first(lacking)}\nadd it, or leave it out of every row"
            )

    @classmethod
    def read(cls, path: Path, *, unfinished: bool = False) -> LatencyTable:
        """The table in a file; in CSV, lines `# key: value` before the header are notes.

        Args:
            path: The file; Parquet if its name ends in `.parquet`, else CSV.
            unfinished: Whether a profiler may have been killed while it wrote the file. If so, an
                incomplete last line is left out, and a file without a header has no rows.

        Raises:
            TargetError: If the file has any problem; the message lists up to ten lines.
        """
        rows, notes, problems = _parsed(path, unfinished=unfinished)
        if problems:
            raise TargetError(
                f"latency table {path} has {_counted(problems)}{_first(problems)}\n"
                "correct or delete these lines"
            )
        try:
            return cls(rows, notes)
        except TargetError as error:
            raise TargetError(f"latency table {path}: {error}") from error

    def write(self, path: Path) -> None:
        """Write the table to a file that `read` can read.

        Raises:
            TargetError: If a text contains characters that a table may not hold.
        """
        lines = "".join(line(key, row) for key, row in self.rows.items())
        text = heading(self.notes, energy=self.has_energy) + lines
        if path.suffix == PARQUET:
            write_parquet(path, self.rows, self.notes)
        else:
            path.write_text(text, encoding="utf-8")

    @property
    def has_energy(self) -> bool:
        """Whether the rows have energies."""
        return any(row.energy_mj is not None for row in self.rows.values())

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Numerics], float]]:
        """Functions by the name of a cost, from a kernel and its formats to its cost."""
        known: dict[str, Callable[[Kernel, Numerics], float]] = {"latency_ms": self.latency_ms}
        if self.has_energy:
            known["energy_mj"] = self.energy_mj
        return known

    def latency_ms(self, kernel: Kernel, numerics: Numerics) -> float:
        """The latency of a kernel for one sample, in milliseconds.

        Raises:
            TargetError: If the kernel has no row.
        """
        return self._row(kernel, numerics).latency_ms

    def energy_mj(self, kernel: Kernel, numerics: Numerics) -> float:
        """The energy of a kernel for one sample, in millijoules.

        Raises:
            TargetError: If the kernel has no row or the table has no energies.
        """
        energy = self._row(kernel, numerics).energy_mj
        if energy is None:
            raise TargetError("this latency table holds no energies; read `costs` for what it has")
        return energy

    def lacking(self, kernels: Iterable[tuple[Kernel, Numerics]]) -> str | None:
        """A message about kernels without a row, with the nearest rows and the remedy.

        None if all kernels have a row.
        """
        wanted = dict.fromkeys(KernelKey.of(kernel, numerics) for kernel, numerics in kernels)
        missing = [key for key in wanted if key not in self.rows]
        if not missing:
            return None
        return (
            f"the latency table has no row for {len(missing)} of {len(wanted)} kernels"
            f"{_first(missing, _with_nearest(self.rows))}\n{self.remedy}"
        )

    def _row(self, kernel: Kernel, numerics: Numerics) -> Row:
        row = self.rows.get(KernelKey.of(kernel, numerics))
        if row is None:
            raise TargetError(str(self.lacking([(kernel, numerics)])))
        return row


def _with_nearest(rows: Iterable[KernelKey]) -> Callable[[KernelKey], str]:
    """A function from a key without a row to a message that names the nearest of `rows`."""
    neighbours = Neighbours(rows)
    return lambda key: "; nearest: ".join(map(str, [key, *neighbours.of(key, count=1)]))


def _parsed(
    path: Path, *, unfinished: bool
) -> tuple[dict[KernelKey, Row], dict[str, str], list[str]]:
    """The rows, the notes and the problems of a file, which is CSV or Parquet."""
    try:
        if path.suffix == PARQUET:
            return read_parquet(path)
        text = read_text(path, at_most=MAXIMUM_BYTES)
    except FileNotFoundError as error:
        raise TargetError(
            f"latency table: {absent(path)}; write it, or correct its name"
        ) from error
    except (OSError, ValueError) as error:
        raise TargetError(f"latency table {path} cannot be read: {error}") from error
    if unfinished:
        text = text[: text.rfind("\n") + 1]
        if all(words.startswith("#") for words in text.splitlines()):
            return {}, {}, []
    return parse(text)


def _counted(problems: Sequence[str]) -> str:
    return "a problem" if len(problems) == 1 else f"{len(problems)} problems"


def _first(items: Sequence[Item], told: Callable[[Item], object] = str) -> str:
    """The first few items, a line each, and a remark if there are more."""
    more = f", the first {SHOWN}" if len(items) > SHOWN else ""
    return f"{more}:\n" + "\n".join(f"  {told(item)}" for item in items[:SHOWN])
