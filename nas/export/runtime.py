"""Running exported ONNX files in onnxruntime, with pinned threads and readable errors."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from nas.export.containers import ExportError
from nas.export.form import joined
from nas.ort import RUNTIME_ERRORS, onnxruntime
from supernets.inputs import Inputs


def file_outputs(
    path: str | Path, batches: Iterable[Inputs], *, threads: int = 1
) -> Iterator[NDArray[np.float32]]:
    """The outputs `(batch, ...)` of an ONNX file on the CPU, batch by batch."""
    options = session_options(threads=threads)
    try:
        session = _session(path, options)
        for batch in batches:
            fed = {name: tensor.numpy() for name, tensor in batch.items()}
            yield joined(session.run(None, fed))
    except RUNTIME_ERRORS as error:
        raise ExportError(f"onnxruntime cannot run {path}: {error}") from error


def session_options(*, threads: int = 1) -> onnxruntime.SessionOptions:
    """Session options with pinned threads, without approximations by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # By default, products with few-bit weights round their inputs to 8 bits where this is faster.
    # The check of a file needs the numbers that the file defines.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return options


def _session(path: str | Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except UnicodeDecodeError as error:  # in the runtime's own message, of a name in the file
        raise ExportError(f"{path} holds names that are not UTF-8 text; export it again") from error


def kernels_run(path: str | Path) -> Mapping[str, int]:
    """The number of kernels of each type that onnxruntime runs for the file, after its fusions.

    Convolutions on integers appear as `QLinearConv`, those in floats as `Conv` or `FusedConv`.
    """
    options = session_options()
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(optimized)
        _session(path, options)
        model = onnx.load(optimized)
    return Counter(node.op_type for node in model.graph.node)
