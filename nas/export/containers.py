"""Where integer codes live in an ONNX file: the narrowest type that holds them, packed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from search_spaces.quant import Quant

IntegerArray = NDArray[np.integer]


class ExportError(RuntimeError):
    """A network that cannot be written as asked, or a file that is not what it should be."""


@dataclass(frozen=True)
class Container:
    """An ONNX integer type and the first opset whose DequantizeLinear reads it."""

    bits: int
    signed: bool
    opset: int

    @property
    def name(self) -> str:
        """The type's name in ONNX, such as `INT4`."""
        return f"{'' if self.signed else 'U'}INT{self.bits}"

    @property
    def onnx_type(self) -> int:
        """The type's number in ONNX."""
        return int(onnx.TensorProto.DataType.Value(self.name))

    @property
    def computed(self) -> Container:
        """The 8-bit type that integer kernels compute this one in."""
        return Container(8, self.signed, _BASE_OPSET)

    def bytes_for(self, elements: int) -> int:
        """Stored size of so many codes."""
        return math.ceil(elements * self.bits / 8)


_BASE_OPSET = 21
_OPSETS = {2: 25, 4: 21, 8: _BASE_OPSET}


def container_for(quant: Quant) -> Container:
    """The narrowest type that holds the codes of `quant`: 3 bits live in 4, 6 bits in 8."""
    bits = next(width for width in _OPSETS if width >= quant.bits)
    return Container(bits, quant.symmetric, _OPSETS[bits])


def integers(name: str, codes: IntegerArray, container: Container) -> onnx.TensorProto:
    """The codes as an initializer, whatever their shape, several to a byte where they fit."""
    low, high = _limits(container)
    if codes.size and not low <= int(codes.min()) <= int(codes.max()) <= high:
        raise ExportError(
            f"codes {codes.min()}..{codes.max()} do not fit {container.name} ({low}..{high}); "
            "quantize the tensor again"
        )
    content = packed(codes, container.bits)
    return onnx.helper.make_tensor(name, container.onnx_type, codes.shape, content, raw=True)


def _limits(container: Container) -> tuple[int, int]:
    if container.signed:
        return -(2 ** (container.bits - 1)), 2 ** (container.bits - 1) - 1
    return 0, 2**container.bits - 1


def packed(codes: IntegerArray, bits: int) -> bytes:
    """Codes of 2, 4 or 8 bits as ONNX packs them: the first in the lowest bits of a byte."""
    flat = codes.reshape(-1).astype(np.uint8) & np.uint8((1 << bits) - 1)
    per_byte = 8 // bits
    lanes = np.pad(flat, (0, -len(flat) % per_byte)).reshape(-1, per_byte)
    shifted = lanes << (np.arange(per_byte, dtype=np.uint8) * np.uint8(bits))
    return np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8).tobytes()
