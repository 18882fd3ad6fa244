"""Timing by turns: everything that is compared runs again and again, one after the other.

It needs numpy, onnxruntime and `ort.py`: `elsewhere` sends both to other machines.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.ort import onnxruntime as ort

ROUNDS = 5
WARM_UP = 3
LEAST_RUNS = 3  # per round, however slow
GROUP = 12  # kernels whose repetitions take turns
RESOLUTION_MS = 1e-5
NORMAL_QUARTILE = 0.6745  # of the standard normal distribution
# Other work on the machine only ever slows a run. On a shared machine half the runs may be slowed
# several times; the fastest tenth is what repeats.
QUIET = 0.1


Model = bytes | str  # serialized, or its path


class Timed:
    """Something that can run again and again, warmed up, with the times of its runs so far.

    Args:
        run_ms: Runs it once and gives the milliseconds that it took.
    """

    def __init__(self, run_ms: Callable[[], float]) -> None:
        self._run_ms = run_ms
        self.samples_ms: list[float] = []
        for _ in range(WARM_UP):
            run_ms()

    def repeat(self, budget_ms: float) -> None:
        """Run until the budget is spent, and a few times at least."""
        spent = 0.0
        runs = 0
        while spent < budget_ms or runs < LEAST_RUNS:
            self.samples_ms.append(self._run_ms())
            spent += self.samples_ms[-1]
            runs += 1

    @property
    def quiet_ms(self) -> float:
        """The time of an undisturbed run: the 10 % quantile over all runs so far."""
        return float(np.quantile(self.samples_ms, QUIET))

    @property
    def spread_ms(self) -> float:
        """A standard deviation that outliers do not move: from the interquartile range."""
        low, high = np.quantile(self.samples_ms, (0.25, 0.75))
        return float(high - low) / (2 * NORMAL_QUARTILE)


def take_turns(timed: Iterable[Timed], *, budget_ms: float) -> None:
    """Repeat each of `timed` in turn, so that a slow spell of the machine strikes all alike."""
    taking = tuple(timed)
    for _ in range(ROUNDS):
        for one in taking:
            one.repeat(budget_ms / ROUNDS)


class Session:
    """A model in onnxruntime, its inputs and outputs bound; calling it runs it once and gives ms.

    Args:
        model: A serialized ONNX model, or the path of one.
        threads: Threads inside one kernel.
        providers: Execution providers, the first one that can run a node runs it.
    """

    def __init__(self, model: Model, *, threads: int, providers: Iterable[str] = ()) -> None:
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
            providers=[*providers] or ["CPUExecutionProvider"],
            disabled_optimizers=["CommonSubexpressionElimination"],
        )
        self._binding = self._session.io_binding()
        rng = np.random.default_rng(0)
        for tensor in self._session.get_inputs():
            value = rng.integers(0, 256, _shape(tensor)).astype(_dtype(tensor))
            self._binding.bind_ortvalue_input(tensor.name, ort.OrtValue.ortvalue_from_numpy(value))
        for tensor in self._session.get_outputs():
            place = ort.OrtValue.ortvalue_from_shape_and_type(_shape(tensor), _dtype(tensor))
            self._binding.bind_ortvalue_output(tensor.name, place)

    def __call__(self) -> float:
        """Run the model once; gives milliseconds."""
        start = time.perf_counter_ns()
        self._session.run_with_iobinding(self._binding)
        return (time.perf_counter_ns() - start) / 1e6


def _shape(tensor: ort.NodeArg) -> list[int]:
    """The shape for one sample: an open dimension is the batch."""
    return [size if isinstance(size, int) else 1 for size in tensor.shape]


def _dtype(tensor: ort.NodeArg) -> type[np.generic]:
    return np.uint8 if "uint8" in tensor.type else np.float32


# Name -> number of copies -> what is around a kernel's copies, without them.
Empties = Mapping[str, Mapping[int, Model]]
Start = Callable[[Model], Timed]


@dataclass(frozen=True)
class TimedKernel:
    """A kernel to be timed.

    Attributes:
        model: Serialized ONNX model of `copies` of the kernel side by side, or the path of one.
        copies: How many.
        empty: Name of the models without the kernel whose time is taken off.
        is_cut: Whether each copy's output is cut to one pixel, whose time is taken off too.
    """

    model: Model
    copies: int
    empty: str
    is_cut: bool


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one run, their standard deviation over repetitions, and how many."""

    latency_ms: float
    spread_ms: float
    count: int


def time_kernels(
    jobs: Mapping[str, TimedKernel], *, empties: Empties, start: Start, budget_ms: float
) -> dict[str, Timing]:
    """Time a few kernels by turns, each less what its call costs without it.

    Args:
        jobs: The kernels by any names.
        empties: The models that `jobs` name as empty, with one copy and with as many as theirs.
        start: Makes a model ready to be timed.
        budget_ms: Time spent on the repetitions of each.
    """
    used = dict.fromkeys(job.empty for job in jobs.values())
    around = {e: {n: start(model) for n, model in empties[e].items()} for e in used}
    timed = {name: start(job.model) for name, job in jobs.items()}
    empty = [one for by_copies in around.values() for one in by_copies.values()]
    take_turns([*empty, *timed.values()], budget_ms=budget_ms)
    return {name: _timing(job, timed[name], around[job.empty]) for name, job in jobs.items()}


def _timing(job: TimedKernel, timed: Timed, around: Mapping[int, Timed]) -> Timing:
    """One copy's share, without the call and without the cut."""
    once, often = around[1].quiet_ms, around[job.copies].quiet_ms
    cut = (often - once) / (job.copies - 1)
    latency = (timed.quiet_ms - (once - cut)) / job.copies - (cut if job.is_cut else 0.0)
    return Timing(
        latency_ms=round(max(latency, RESOLUTION_MS), 6),
        spread_ms=round(timed.spread_ms / job.copies, 6),
        count=len(timed.samples_ms),
    )


def time_networks(
    models: Mapping[str, Model], *, empty: Model, start: Start, budget_ms: float
) -> dict[str, Timing]:
    """Time whole networks by turns, each less what the call of an empty model costs."""
    call = start(empty)
    timed = {name: start(model) for name, model in models.items()}
    take_turns([call, *timed.values()], budget_ms=budget_ms)
    return {name: _whole(one, call) for name, one in timed.items()}


def _whole(timed: Timed, call: Timed) -> Timing:
    low, high = np.quantile(timed.samples_ms, (0.16, 0.84))
    latency = timed.quiet_ms - call.quiet_ms
    return Timing(max(latency, RESOLUTION_MS), float(high - low) / 2, len(timed.samples_ms))


def device_name() -> str:
    """The board's or the processor's name, as well as the system tells it."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    for wanted in ("model name", "Hardware"):
        for words in lines:
            key, _, value = words.partition(":")
            if key.strip() == wanted:
                return value.strip()
    return platform.processor() or platform.machine()


def conditions(*, threads: int, providers: Sequence[str], device: str | None) -> dict[str, str]:
    """What measurements must share to stand in one table."""
    short = "+".join(name.replace("ExecutionProvider", "") for name in providers) or "CPU"
    return {
        "device": device or device_name(),
        "runtime": f"onnxruntime {ort.__version__}, {short}",
        "threads": str(threads),
    }
