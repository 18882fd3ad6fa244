"""The protocol of a backend, the runtime with which a profiler measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from nas.targets.numerics import Numerics
from nas.targets.seams.space_seams import Tensor
from nas.targets.seams.table import Added
from nas.targets.table.rows import Row
from search_spaces.kernels import Kernel


class Backend(Protocol):
    """A runtime on a device that can time kernels."""

    @property
    def name(self) -> str:
        """The name of the backend on the command line."""
        ...

    def conditions(self) -> dict[str, str]:
        """The conditions that all rows of a table must share: `device`, `runtime`, `threads`."""
        ...

    def refusal(self, kernel: Kernel, numerics: Numerics) -> str | None:
        """The reason why the backend cannot time `kernel` at `bits`; None if it can."""
        ...

    def measure(self, kernels: Sequence[tuple[Kernel, Numerics]], *, budget_ms: float) -> list[Row]:
        """A row for each kernel, from interleaved repetitions that take `budget_ms` each."""
        ...


@runtime_checkable
class NetworkBackend(Backend, Protocol):
    """A backend that can also time whole networks in ONNX files."""

    def network(self, model: Path) -> tuple[float, float]:
        """The latency of a model file for one sample and its spread in ms, less the cost of a call.

        Measured in the same way as kernels, so that the latency is comparable to their sum.
        """
        ...


@runtime_checkable
class SeamBackend(Backend, Protocol):
    """A backend that can also time the kernels around a tensor, together and alone."""

    def seams(self, tensors: Sequence[Tensor], *, budget_ms: float) -> list[Added]:
        """What the kernels around each tensor add to the sum of their times alone.

        All models are timed in turns; the repetitions of each take `budget_ms`.
        """
        ...
