"""Groups that a slow spell struck are measured again."""

from __future__ import annotations

from collections.abc import Sequence

from nas.profiling.watched import ATTEMPTS, Watched
from nas.targets.numerics import Numerics, of_bits
from nas.targets.table.rows import Row
from search_spaces.kernels import Kernel
from search_spaces.ops import Conv2d

KERNELS = [(Kernel(Conv2d(out, 3), (), ((8, 8, 8),)), of_bits(8, 8)) for out in (8, 16, 24)]


class Machine:
    """Kernels take as many ms as they have channels, times how busy the machine is by turns."""

    name = "machine"

    def __init__(self, *busy: float) -> None:
        self._busy = list(busy)
        self.calls = 0

    def conditions(self) -> dict[str, str]:
        return {}

    def refusal(self, kernel: Kernel, bits: Numerics) -> str | None:
        del kernel, bits
        return None

    def measure(self, kernels: Sequence[tuple[Kernel, Numerics]], *, budget_ms: float) -> list[Row]:
        assert budget_ms > 0
        slow = self._busy[min(self.calls, len(self._busy) - 1)]
        self.calls += 1
        return [Row(kernel.output[0] * slow, 0.1, 9) for kernel, _ in kernels]


def latencies(machine: Machine) -> list[float]:
    rows = Watched(machine, KERNELS[0]).measure(KERNELS[1:], budget_ms=5.0)
    return [row.latency_ms for row in rows]


def test_an_undisturbed_group_is_measured_once() -> None:
    machine = Machine(1.0)
    assert latencies(machine) == [16.0, 24.0]
    assert machine.calls == 4  # three looks before


def test_a_disturbed_group_is_measured_again() -> None:
    machine = Machine(1.0, 1.0, 1.0, 3.0, 2.0, 1.0)
    assert latencies(machine) == [16.0, 24.0]
    assert machine.calls == 6


def test_on_a_machine_that_stays_busy_the_best_attempt_counts() -> None:
    machine = Machine(1.0, 1.0, 1.0, 4.0, 2.0, 3.0, 5.0)
    assert latencies(machine) == [32.0, 48.0]
    assert machine.calls == 3 + ATTEMPTS


def test_a_slow_first_look_is_not_what_counts() -> None:
    machine = Machine(5.0, 1.0, 1.0, 5.0, 1.0)
    assert latencies(machine) == [16.0, 24.0]
