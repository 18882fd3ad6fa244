"""Backends by the names that the command line knows them by."""

from __future__ import annotations

from nas.targets.errors import TargetError
from nas.targets.profiling.backend import Backend
from nas.targets.profiling.onnx_runtime import OnnxRuntime

ELSEWHERE = "elsewhere"  # writes a folder for another machine in place of measuring
BACKENDS = ("onnxruntime",)


def backend_named(name: str, *, threads: int, device: str = "cpu") -> Backend:
    """The backend of this name.

    Args:
        name: One of `BACKENDS`.
        threads: Threads inside one kernel, where it runs on a processor.
        device: `cpu`, or `cuda` for torch.

    Raises:
        TargetError: If there is none of that name, or it does not run on that device here.
    """
    if name not in BACKENDS:
        raise TargetError(
            f"backend {name!r} is not known; known are {', '.join((*BACKENDS, ELSEWHERE))}"
        )
    if device != "cpu":
        raise TargetError(f"backend {name!r} runs on cpu here, given device {device!r}")
    return OnnxRuntime(threads)
