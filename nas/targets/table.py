"""Latency tables: one measured row per fused kernel, as a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from nas.targets.rows import KernelKey, Row
from nas.targets.table_file import heading, line, parse
from search_spaces.kernels import Kernel

SHOWN = 10


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """The rows of one device, by kernel.

    Attributes:
        rows: What was measured of each kernel.
        notes: How it came about: device, runtime, threads, date and the like.
        remedy: The command that measures missing rows, or what else to do about them.
    """

    rows: Mapping[KernelKey, Row]
    notes: Mapping[str, str] = field(default_factory=dict)
    remedy: str = "measure them with: nas profile RECIPE"

    @classmethod
    def read(cls, path: Path, *, unfinished: bool = False) -> LatencyTable:
        """The table in a CSV file; lines `# key: value` before its header are notes.

        Args:
            path: The file.
            unfinished: Whether a profiler may have been killed while it wrote the file: a last
                line without its end is then left out, and a file without a header has no rows.

        Raises:
            TargetError: If anything in it is not as it must be; names up to ten lines.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TargetError(f"latency table {path} cannot be read: {error}") from error
        if unfinished:
            text = text[: text.rfind("\n") + 1]
            if all(words.startswith("#") for words in text.splitlines()):
                return cls({})
        rows, notes, problems = parse(text)
        if problems:
            raise TargetError(
                f"latency table {path} has {len(problems)} problems{_first(problems)}\n"
                "correct or delete these lines"
            )
        return cls(rows, notes)

    def write(self, path: Path) -> None:
        """Write the table as `read` reads it."""
        path.write_text(
            heading(self.notes) + "".join(line(key, row) for key, row in self.rows.items()),
            encoding="utf-8",
        )

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Bits], float]]:
        """Cost name -> the cost of a kernel that computes in the given bits."""
        return {"latency_ms": self.latency_ms}

    def latency_ms(self, kernel: Kernel, bits: Bits) -> float:
        """Milliseconds for one sample; raises `TargetError` where there is no row."""
        self.require([(kernel, bits)])
        return self.rows[KernelKey.of(kernel, bits)].latency_ms

    def require(self, kernels: Iterable[tuple[Kernel, Bits]]) -> None:
        """Raise `TargetError` naming every one of `kernels` that has no row."""
        wanted = dict.fromkeys(KernelKey.of(kernel, bits) for kernel, bits in kernels)
        missing = [key for key in wanted if key not in self.rows]
        if missing:
            raise TargetError(
                f"the latency table has no row for {len(missing)} of {len(wanted)} kernels"
                f"{_first(missing)}\n{self.remedy}"
            )


def _first(items: Sequence[object]) -> str:
    """The first few items, a line each, saying so where there are more."""
    more = f", the first {SHOWN}" if len(items) > SHOWN else ""
    return f"{more}:\n" + "\n".join(f"  {item}" for item in items[:SHOWN])
