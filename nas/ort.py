"""The library onnxruntime with its telemetry turned off; no other module may import onnxruntime.

Since release 1.32, onnxruntime contacts a server of its maker and keeps a database of events, with
the names of model files, in the user's cache folder. Only an environment variable turns that off,
and only before the library is loaded. A value that the user has set is kept.
"""

from __future__ import annotations

import os
from types import ModuleType

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as Unsupported,
)

__all__ = ["RUNTIME_ERRORS", "onnxruntime", "quantization"]

# The errors that onnxruntime raises for a model that it cannot read or run.
RUNTIME_ERRORS = (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    Unsupported,
    RuntimeException,
)


def quantization() -> ModuleType:
    """The part of onnxruntime that quantizes files; loaded when asked for, since it loads onnx."""
    import onnxruntime.quantization as loaded
    import onnxruntime.quantization.shape_inference  # noqa: F401  # an attribute of it from now on

    return loaded
