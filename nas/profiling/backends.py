"""The backends by their names on the command line."""

from __future__ import annotations

import torch

from nas.profiling.backend import Backend
from nas.profiling.onnx_runtime import OnnxRuntime
from nas.profiling.torch_runtime import Torch
from nas.targets.errors import TargetError
from nas.targets.saturation import EightBitWeights

ELSEWHERE = "elsewhere"  # writes a folder to measure on another machine
BACKENDS = ("onnxruntime", "torch", "torch-compiled")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def backend_named(
    name: str,
    *,
    threads: int,
    device: str = "cpu",
    dtype: str = "float32",
    eight_bit_weights: EightBitWeights = "unsigned",
    network_weights: int = 0,
) -> Backend:
    """The backend called `name`.

    Args:
        name: One of `BACKENDS`.
        threads: The number of threads inside a kernel, for kernels on a processor.
        device: `cpu`; for torch also `cuda` or `cuda:0`.
        dtype: The type of full precision: `float32`; for torch also `bfloat16`.
        eight_bit_weights: The form of 8-bit weights of the measured target, for onnxruntime.
        network_weights: The number of weights of the networks of the kernels, for onnxruntime.

    Raises:
        TargetError: If there is no such backend, or it does not support these settings here.
    """
    if name not in BACKENDS:
        known = ", ".join((*BACKENDS, ELSEWHERE))
        raise TargetError(f"backend {name!r} is not known; known are {known}")
    if dtype not in DTYPES:
        raise TargetError(f"dtype {dtype!r} is not known; give one of {', '.join(DTYPES)}")
    if name != "onnxruntime":
        _require_device(device)
        compiled = name == "torch-compiled"
        if compiled and device == "cpu":
            _require_compiler()
        return Torch(threads, device, compiled, DTYPES[dtype])
    if (device, dtype) != ("cpu", "float32"):
        raise TargetError(
            f"backend {name!r} runs in float32 on cpu here, given {dtype} on {device!r}; use "
            "--backend torch, or --backend elsewhere, whose script takes other providers"
        )
    return OnnxRuntime(threads, eight_bit_weights, network_weights)


def _require_device(device: str) -> None:
    kind, _, place = device.partition(":")
    if kind not in ("cpu", "cuda") or (place and (kind == "cpu" or not place.isdecimal())):
        raise TargetError(f"device {device!r} is not known; give cpu, cuda or cuda:0")
    if kind == "cuda" and int(place or 0) >= torch.cuda.device_count():
        raise TargetError(
            f"device {device!r} is asked for, and torch sees {torch.cuda.device_count()} CUDA "
            "devices here; give cpu, or run this where there is one"
        )


def _require_compiler() -> None:
    """Raise `TargetError` without a C++ compiler, which `torch.compile` needs for a processor.

    `torch.compile` itself would fail only late.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise TargetError(
            "backend 'torch-compiled' needs a C++ compiler, and torch finds none here; install g++ "
            "or name one in the environment variable CXX, or use --backend torch"
        ) from error
