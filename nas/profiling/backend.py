"""What a profiler needs of a runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from nas.targets.capability import Bits
from nas.targets.table.rows import Row
from search_spaces.kernels import Kernel


class Backend(Protocol):
    """A runtime on a device, which times kernels."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    def conditions(self) -> dict[str, str]:
        """What measurements must share to stand in one table: `device`, `runtime`, `threads`."""
        ...

    def refusal(self, kernel: Kernel, bits: Bits) -> str | None:
        """Why it cannot time `kernel` at `bits`, or None where it can; no work is done."""
        ...

    def measure(self, kernels: Sequence[tuple[Kernel, Bits]], *, budget_ms: float) -> list[Row]:
        """A row for each kernel; their repetitions take turns, `budget_ms` for each."""
        ...


@runtime_checkable
class NetworkBackend(Backend, Protocol):
    """A backend that also runs whole ONNX files."""

    def network(self, model: Path) -> tuple[float, float]:
        """Latency and spread in ms of one sample through a file, less what the call costs.

        Measured as the kernels are, so that it can be held against their sum.
        """
        ...
