"""Measuring a latency table on this machine, through onnxruntime."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime as ort

from nas.durable import write_atomic, write_error
from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from nas.targets.kernel_models import empty_model, is_cut, kernel_model
from nas.targets.rows import KernelKey, Row
from nas.targets.table import LatencyTable
from nas.targets.table_file import heading, line
from search_spaces.kernels import Kernel
from search_spaces.quant import FULL_PRECISION_BITS, MAXIMUM_BITS

COPIES = 4  # of a kernel in one model: shrinks the call's share, yet stays within the cache
GROUP = 12  # kernels whose repetitions take turns, so that a slow spell strikes all alike
ROUNDS = 5
WARM_UP = 3
_NETWORK_BUDGET_MS = 40.0  # a round, of a whole model
LEAST_RUNS = 3  # per round, however slow the kernel
RESOLUTION_MS = 1e-5
NORMAL_QUARTILE = 0.6745  # of the standard normal distribution
Progress = Callable[[int, int], None]


def profile(
    kernels: Iterable[tuple[Kernel, Bits]],
    *,
    path: Path,
    threads: int = 1,
    budget_ms: float = 25.0,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure every kernel that the table at `path` has no row for, and give the whole table.

    Rows are appended as they are measured, so a run that was killed goes on where it stopped. A
    kernel's latency is the median over interleaved repetitions of a model of four copies of it,
    less what the call costs without them.

    Args:
        kernels: Kernels with the bits they compute in, as `HardwareTarget.natively` lists those
            of a space: 8-bit kernels run as uint8 by int8, 32-bit ones as float32.
        path: The table's file, made where it does not exist.
        threads: Threads inside one kernel; a table holds measurements of one number of threads.
        budget_ms: Time spent on the repetitions of one kernel.
        progress: Called with the number of kernels done and in all.

    Raises:
        TargetError: If the table at `path` cannot be read or was measured under other conditions,
            or if a kernel has no form in which it can be timed.
    """
    wanted = {KernelKey.of(kernel, bits): (kernel, bits) for kernel, bits in kernels}
    table = _opened(path, conditions(threads))
    rows = dict(table.rows)
    left = [key for key in wanted if key not in rows]
    report = progress or (lambda *_: None)
    report(len(wanted) - len(left), len(wanted))
    for start in range(0, len(left), GROUP):
        group = {key: wanted[key] for key in left[start : start + GROUP]}
        measured = _measure(group, threads=threads, budget_ms=budget_ms)
        _append(path, measured)
        rows |= measured
        report(len(wanted) - len(left) + min(start + GROUP, len(left)), len(wanted))
    return LatencyTable(rows, table.notes)


def network_latency(path: Path, *, threads: int = 1) -> tuple[float, float]:
    """Median and spread in ms of one sample through a whole model, less what the call costs.

    Measured as the kernels are, so that it can be held against their sum.
    """
    empty = _Timed(empty_model(quantized=False, copies=1), threads)
    network = _Timed(path.read_bytes(), threads)
    for _ in range(ROUNDS):
        for timed in (empty, network):
            timed.repeat(_NETWORK_BUDGET_MS)
    call, whole = np.array(empty.samples_ms), np.array(network.samples_ms)
    low, high = np.quantile(whole, (0.16, 0.84))
    return float(np.median(whole) - np.median(call)), float(high - low) / 2


def conditions(threads: int) -> dict[str, str]:
    """What measurements must share to stand in one table."""
    return {
        "device": device_name(),
        "runtime": f"onnxruntime {ort.__version__}, CPU",
        "threads": str(threads),
    }


def device_name() -> str:
    """The processor's name, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = [words.partition(":")[2].strip() for words in lines if words.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _opened(path: Path, required: Mapping[str, str]) -> LatencyTable:
    """The table at `path` without a torn last line; a new one where there is none."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if all(words.startswith(b"#") for words in whole.splitlines()):
        notes = {**required, "date": datetime.now(UTC).date().isoformat(), "statistic": "median"}
        write_atomic(path, heading(notes).encode())
        return LatencyTable({}, notes)
    if whole != content:
        os.truncate(path, len(whole))
    table = LatencyTable.read(path)
    for name, value in required.items():
        if table.notes.get(name) != value:
            raise TargetError(
                f"latency table {path} was measured with {name} = {table.notes.get(name)!r}, now "
                f"it is {value!r}; delete the table to measure anew, or write to another file"
            )
    return table


def _append(path: Path, measured: Mapping[KernelKey, Row]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(line(key, row) for key, row in measured.items()))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(path, error) from error


def _measure(
    group: Mapping[KernelKey, tuple[Kernel, Bits]], *, threads: int, budget_ms: float
) -> dict[KernelKey, Row]:
    """Rows for a few kernels whose repetitions take turns."""
    empty = {
        (quantized, copies): _Timed(empty_model(quantized=quantized, copies=copies), threads)
        for quantized in (False, True)
        for copies in (1, COPIES)
    }
    timed: dict[KernelKey, _Timed] = {}
    for key, (kernel, bits) in group.items():
        model = kernel_model(kernel, quantized=_is_quantized(bits), copies=COPIES)
        timed[key] = _Timed(model, threads)
    for _ in range(ROUNDS):
        for one in (*empty.values(), *timed.values()):
            one.repeat(budget_ms / ROUNDS)
    rows: dict[KernelKey, Row] = {}
    for key, (kernel, bits) in group.items():
        once, often = (empty[_is_quantized(bits), copies].median_ms for copies in (1, COPIES))
        cut = (often - once) / (COPIES - 1)
        call = once - cut
        latency = (timed[key].median_ms - call) / COPIES - (cut if is_cut(kernel) else 0.0)
        rows[key] = Row(
            latency_ms=round(max(latency, RESOLUTION_MS), 6),
            spread_ms=round(timed[key].spread_ms / COPIES, 6),
            count=len(timed[key].samples_ms),
        )
    return rows


def _is_quantized(bits: Bits) -> bool:
    widths = {width for width in (bits.weight, bits.activation) if width is not None}
    if widths not in ({MAXIMUM_BITS}, {FULL_PRECISION_BITS}):
        raise TargetError(
            f"onnxruntime on this machine is timed at {MAXIMUM_BITS} and {FULL_PRECISION_BITS} "
            f"bits, given a kernel at {bits}; let the target's containers map it to one of them"
        )
    return widths == {MAXIMUM_BITS}


class _Timed:
    """A model in its session, inputs and outputs bound, with the times of its runs so far."""

    def __init__(self, model: bytes, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        # Equal copies must each run, as equal layers of a network do.
        self._session = ort.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["CommonSubexpressionElimination"],
        )
        self._binding = self._session.io_binding()
        self._bind()
        self.samples_ms: list[float] = []
        for _ in range(WARM_UP):
            self._session.run_with_iobinding(self._binding)

    def _bind(self) -> None:
        rng = np.random.default_rng(0)
        for tensor in self._session.get_inputs():
            value = rng.integers(0, 256, _shape(tensor)).astype(_dtype(tensor))
            self._binding.bind_ortvalue_input(tensor.name, ort.OrtValue.ortvalue_from_numpy(value))
        for tensor in self._session.get_outputs():
            place = ort.OrtValue.ortvalue_from_shape_and_type(_shape(tensor), _dtype(tensor))
            self._binding.bind_ortvalue_output(tensor.name, place)

    def repeat(self, budget_ms: float) -> None:
        """Run until the budget is spent, and a few times at least."""
        spent = 0.0
        runs = 0
        while spent < budget_ms or runs < LEAST_RUNS:
            start = time.perf_counter_ns()
            self._session.run_with_iobinding(self._binding)
            self.samples_ms.append((time.perf_counter_ns() - start) / 1e6)
            spent += self.samples_ms[-1]
            runs += 1

    @property
    def median_ms(self) -> float:
        """The median over all runs so far."""
        return float(np.median(self.samples_ms))

    @property
    def spread_ms(self) -> float:
        """A standard deviation that outliers do not move: from the interquartile range."""
        low, high = np.quantile(self.samples_ms, (0.25, 0.75))
        return float(high - low) / (2 * NORMAL_QUARTILE)


def _shape(tensor: ort.NodeArg) -> list[int]:
    """The shape for one sample: an open dimension is the batch."""
    return [size if isinstance(size, int) else 1 for size in tensor.shape]


def _dtype(tensor: ort.NodeArg) -> type[np.generic]:
    return np.uint8 if "uint8" in tensor.type else np.float32
