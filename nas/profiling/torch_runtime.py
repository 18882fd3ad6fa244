"""The backend of torch, eager or compiled, on a processor or a CUDA device."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.profiling.kernel_networks import kernel_graph, unshipped
from nas.profiling.timing import RESOLUTION_MS, Timed, device_name, take_turns
from nas.profiling.torch_programs import float_module, int8_module, int8_tensor, missing_in_int8
from nas.targets.numerics import FULL, Numerics, of_width
from nas.targets.table.rows import Row
from search_spaces.formats import MAXIMUM_BITS
from search_spaces.kernels import Kernel
from supernets.inputs import zeros

_BYTES = of_width(MAXIMUM_BITS)
COPIES = 4  # copies of a kernel in a call; the difference to one copy omits the cost of the call


@dataclass(frozen=True)
class Torch:
    """The backend of torch, for kernels in full precision or, eager on a processor, in 8 bits.

    Attributes:
        threads: The number of threads inside a kernel, on a processor.
        device: `cpu`, `cuda` or `cuda:0`.
        compiled: Whether every kernel is compiled by `torch.compile`.
        dtype: The type of full precision: `torch.float32` or `torch.bfloat16`.
    """

    threads: int = 1
    device: str = "cpu"
    compiled: bool = False
    dtype: torch.dtype = torch.float32

    @property
    def name(self) -> str:
        """The name of the backend on the command line."""
        return "torch-compiled" if self.compiled else "torch"

    def conditions(self) -> dict[str, str]:
        """The conditions that all rows of a table must share."""
        cuda = self.device != "cpu"
        way = "compiled" if self.compiled else "eager"
        where = f"CUDA {torch.version.cuda}" if cuda else "CPU"
        full = str(self.dtype).removeprefix("torch.")
        return {
            "device": torch.cuda.get_device_name(self.device) if cuda else device_name(),
            "runtime": f"torch {torch.__version__} {way}, {where}, 32 bits are {full}",
            "threads": str(self.threads),
        }

    def refusal(self, kernel: Kernel, numerics: Numerics) -> str | None:
        """The reason why the backend cannot time `kernel` in `numerics`; None if it can."""
        if (why := unshipped(kernel)) is not None:
            return why
        names = {name for name in (numerics.stored, numerics.activation) if name}
        if names == {FULL}:
            return None
        if names != {_BYTES}:
            return f"torch is timed at {_BYTES} and {FULL}, given {numerics}"
        if self.compiled or self.device != "cpu":
            return "torch runs its 8-bit operators eagerly and on a processor only"
        missing = missing_in_int8(kernel)
        return missing and f"torch's quantized engine has no {missing}"

    def measure(self, kernels: Sequence[tuple[Kernel, Numerics]], *, budget_ms: float) -> list[Row]:
        """A row for each kernel, from the time that its second to fourth copies take in a call."""
        with _threads(self.threads), torch.inference_mode(), warnings.catch_warnings():
            # Since 2.13, torch warns that its quantized tensors will be removed.
            warnings.filterwarnings("ignore", message=".*quantized tensor creation")
            # The compiler of torch still uses parts of torch.jit that warn of their removal.
            warnings.filterwarnings("ignore", message="`torch.jit.*deprecated")
            once, often = (
                [Timed(self._timer(self._copies(k, numerics, n))) for k, numerics in kernels]
                for n in (1, COPIES)
            )
            take_turns([*once, *often], budget_ms=budget_ms / 2)
        return [_row(one, many) for one, many in zip(once, often, strict=True)]

    def _copies(self, kernel: Kernel, numerics: Numerics, count: int) -> Callable[[], object]:
        """A function that runs `count` copies of a kernel, each with its own weights and inputs."""
        made = [self._made(kernel, numerics) for _ in range(count)]

        def call() -> list[Tensor]:
            return [run(*read) for run, read in made]

        if not self.compiled:
            return call
        # torch keeps up to eight compiled forms per code object, so every call has its own object.
        call.__code__ = call.__code__.replace()
        return torch.compile(call, dynamic=False)

    def _made(
        self, kernel: Kernel, numerics: Numerics
    ) -> tuple[Callable[..., Tensor], list[Tensor]]:
        """A kernel as a function, and its arguments."""
        if numerics.activation != FULL:
            return int8_module(kernel).forward, [int8_tensor(shape) for shape in kernel.inputs]
        module, place = float_module(kernel), torch.device(self.device)
        given = zeros(kernel_graph(kernel, numerics), 1).values()
        inputs = [
            torch.randn(held.shape, dtype=self.dtype, device=place)
            if held.is_floating_point()
            else held.to(place)
            for held in given
        ]
        return module.to(dtype=self.dtype, device=place).forward, inputs

    def _timer(self, call: Callable[[], object]) -> Callable[[], float]:
        return _on_cuda(call) if self.device != "cpu" else _on_cpu(call)


def _on_cpu(call: Callable[[], object]) -> Callable[[], float]:
    def run_ms() -> float:
        start = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - start) / 1e6

    return run_ms


def _on_cuda(call: Callable[[], object]) -> Callable[[], float]:
    """A timer with events in the stream of the device, where nothing else may be running."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run_ms() -> float:
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    return run_ms


def _row(one: Timed, many: Timed) -> Row:
    latency = (many.quiet_ms - one.quiet_ms) / (COPIES - 1)
    return Row(
        latency_ms=round(max(latency, RESOLUTION_MS), 6),
        spread_ms=round(many.spread_ms / COPIES, 6),
        count=len(many.samples_ms),
    )


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
