"""onnxruntime's own static quantization of a float file, with which our files are compared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.ort import quantization
from supernets.inputs import Inputs


def quantize_statically(path: Path, out: Path, batches: Iterable[Inputs]) -> None:
    """Write the file at `path`, quantized to 8 bits by onnxruntime, to `out`.

    Weights get a scale per channel, and activations are unsigned, since onnxruntime (1.32) has
    kernels on integers for those only; everything else is as its defaults say. The file at `path`
    is prepared first, as onnxruntime advises.

    Args:
        path: A file in full precision.
        out: Where to.
        batches: Calibration batches; at least one.
    """
    made = quantization()
    prepared = out.with_suffix(".prepared.onnx")
    made.shape_inference.quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    made.quantize_static(
        str(prepared),
        str(out),
        _Reader(batches),
        activation_type=made.QuantType.QUInt8,
        per_channel=True,
    )
    prepared.unlink()


class _Reader:
    """Batches in the form in which onnxruntime asks for them."""

    def __init__(self, batches: Iterable[Inputs]) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """The next batch; None behind the last."""
        batch = next(self._left, None)
        return None if batch is None else {name: part.numpy() for name, part in batch.items()}
