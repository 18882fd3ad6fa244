"""Timing with interleaved repetitions: all models that are compared run in turn, many times.

The module needs numpy, onnxruntime and `ort.py` only, since `elsewhere` sends both files to other
machines.
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
LEAST_RUNS = 3  # the least number of runs per round, also of slow models
LEAST_COLD = 12  # the same where much memory is read before each run
GROUP = 12  # the number of kernels whose repetitions are interleaved
RESOLUTION_MS = 1e-5
NORMAL_QUARTILE = 0.6745  # the upper quartile of the standard normal distribution
# Other work on the machine can only slow a run. On a shared machine, half the runs may take several
# times as long, while the time of the fastest tenth is reproducible.
QUIET = 0.1


Model = bytes | str  # a serialized model, or its path


class Reading:
    """So many bytes of memory, read when called, as the other layers of a network are read.

    Between two runs of a layer, a network reads the weights of all its other layers, which may then
    push those of the layer out of the caches.
    """

    def __init__(self, count: int) -> None:
        self._numbers = np.ones(max(1, count // 8))

    def __call__(self) -> float:
        """Read the bytes; returns the time in milliseconds."""
        start = time.perf_counter_ns()
        self._numbers.sum()
        return (time.perf_counter_ns() - start) / 1e6


class Timed:
    """A timed function with the times of its runs so far; warmed up when the object is made.

    Args:
        run_ms: A function that runs the code once and returns the time in milliseconds.
        before: What is done before each run that counts, and takes no part in its time.
    """

    def __init__(self, run_ms: Callable[[], float], before: Reading | None = None) -> None:
        self._run_ms, self._before = run_ms, before
        self.samples_ms: list[float] = []
        for _ in range(WARM_UP):
            run_ms()

    def repeat(self, budget_ms: float) -> None:
        """Run until `budget_ms` is spent, with what is done before; a least number of times."""
        spent = 0.0
        runs = 0
        least = LEAST_RUNS if self._before is None else LEAST_COLD
        while spent < budget_ms or runs < least:
            spent += self._before() if self._before is not None else 0.0
            self.samples_ms.append(self._run_ms())
            spent += self.samples_ms[-1]
            runs += 1

    @property
    def quiet_ms(self) -> float:
        """The time of an undisturbed run: the 10 % quantile over all runs so far."""
        return float(np.quantile(self.samples_ms, QUIET))

    @property
    def spread_ms(self) -> float:
        """The standard deviation of the times, robustly estimated from the interquartile range."""
        low, high = np.quantile(self.samples_ms, (0.25, 0.75))
        return float(high - low) / (2 * NORMAL_QUARTILE)


def take_turns(timed: Iterable[Timed], *, budget_ms: float) -> None:
    """Repeat each of `timed` in turn, so that a slow phase of the machine affects all equally."""
    taking = tuple(timed)
    for _ in range(ROUNDS):
        for one in taking:
            one.repeat(budget_ms / ROUNDS)


class Session:
    """A model in onnxruntime with bound inputs and outputs; a call runs the model once.

    Args:
        model: A serialized ONNX model, or its path.
        threads: The number of threads inside a kernel.
        providers: The execution providers; the first provider that supports a node runs the node.
        clock: The clock, in nanoseconds; that of the wall where left out.
    """

    def __init__(
        self,
        model: Model,
        *,
        threads: int,
        providers: Iterable[str] = (),
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._clock = clock or time.perf_counter_ns
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        # Equal copies must all run, as equal layers of a network do.
        self._session = ort.InferenceSession(
            model,
            options,
            providers=[*providers] or ["CPUExecutionProvider"],
            disabled_optimizers=["CommonSubexpressionElimination"],
        )
        self._binding = self._session.io_binding()
        rng = np.random.default_rng(0)
        for tensor in self._session.get_inputs():
            # Tokens are few, since every vocabulary has the first ones.
            most = 2 if _dtype(tensor) is np.int64 else 256
            value = rng.integers(0, most, _shape(tensor)).astype(_dtype(tensor))
            self._binding.bind_ortvalue_input(tensor.name, ort.OrtValue.ortvalue_from_numpy(value))
        for tensor in self._session.get_outputs():
            place = ort.OrtValue.ortvalue_from_shape_and_type(_shape(tensor), _dtype(tensor))
            self._binding.bind_ortvalue_output(tensor.name, place)

    def __call__(self) -> float:
        """Run the model once; returns the time in milliseconds."""
        start = self._clock()
        self._session.run_with_iobinding(self._binding)
        return (self._clock() - start) / 1e6


def _shape(tensor: ort.NodeArg) -> list[int]:
    """The shape of a tensor for one sample; an open dimension is the batch and becomes 1."""
    return [size if isinstance(size, int) else 1 for size in tensor.shape]


_DTYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
}


def _dtype(tensor: ort.NodeArg) -> type[np.generic]:
    return _DTYPES[tensor.type]


# Name -> number of copies -> the model around so many copies of a kernel, without the copies.
Empties = Mapping[str, Mapping[int, Model]]
# Makes a model ready to be timed, with what is read before each run.
Start = Callable[[Model, "Reading | None"], Timed]


@dataclass(frozen=True)
class TimedKernel:
    """A kernel to be timed.

    Attributes:
        model: A serialized ONNX model with `copies` of the kernel side by side, or its path.
        copies: The number of copies.
        empty: The name of the models without the kernel, whose time is subtracted.
        cuts: The number of outputs of each copy that are cut to one pixel; the time of these cuts
            is subtracted too.
        beside: The bytes that are read before each run, as other layers read theirs.
    """

    model: Model
    copies: int
    empty: str
    cuts: int
    beside: int = 0


@dataclass(frozen=True)
class Timing:
    """The time of a run in ms, its standard deviation, and the number of repetitions."""

    latency_ms: float
    spread_ms: float
    count: int


def time_kernels(
    jobs: Mapping[str, TimedKernel], *, empties: Empties, start: Start, budget_ms: float
) -> dict[str, Timing]:
    """Time a few kernels with interleaved repetitions, each less the cost of a call without it.

    Args:
        jobs: The kernels by name.
        empties: The models that `jobs` name in `empty`, each for one copy and for `copies` copies.
        start: A function that makes a model ready to be timed.
        budget_ms: The time for the repetitions of each kernel.
    """
    counts = dict.fromkeys(job.beside for job in jobs.values())
    reading = {count: Reading(count) if count else None for count in counts}
    used = dict.fromkeys((job.empty, job.beside) for job in jobs.values())
    needed = {1, *(job.copies for job in jobs.values())}
    around = {
        (name, beside): {
            n: start(model, reading[beside]) for n, model in empties[name].items() if n in needed
        }
        for name, beside in used
    }
    timed = {name: start(job.model, reading[job.beside]) for name, job in jobs.items()}
    empty = [one for by_copies in around.values() for one in by_copies.values()]
    take_turns([*empty, *timed.values()], budget_ms=budget_ms)
    return {
        name: _timing(job, timed[name], around[job.empty, job.beside]) for name, job in jobs.items()
    }


def _timing(job: TimedKernel, timed: Timed, around: Mapping[int, Timed]) -> Timing:
    """The time of a copy, without the cost of the call and of the cut."""
    once, often = around[1].quiet_ms, around[job.copies].quiet_ms
    cut = (often - once) / (job.copies - 1)
    latency = (timed.quiet_ms - (once - cut)) / job.copies - cut * job.cuts
    return Timing(
        latency_ms=round(max(latency, RESOLUTION_MS), 6),
        spread_ms=round(timed.spread_ms / job.copies, 6),
        count=len(timed.samples_ms),
    )


def time_networks(
    models: Mapping[str, Model], *, empty: Model, start: Start, budget_ms: float
) -> dict[str, Timing]:
    """Time whole networks with interleaved repetitions, each less the cost of an empty call."""
    call = start(empty, None)
    timed = {name: start(model, None) for name, model in models.items()}
    take_turns([call, *timed.values()], budget_ms=budget_ms)
    return {name: _whole(one, call) for name, one in timed.items()}


def _whole(timed: Timed, call: Timed) -> Timing:
    low, high = np.quantile(timed.samples_ms, (0.16, 0.84))
    latency = timed.quiet_ms - call.quiet_ms
    return Timing(max(latency, RESOLUTION_MS), float(high - low) / 2, len(timed.samples_ms))


def device_name() -> str:
    """The name of the board or of the processor, as far as the system knows it."""
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
