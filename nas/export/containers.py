"""Containers: the types of ONNX that store codes, and the packing of codes into bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from search_spaces.formats import BFLOAT16, E4M3, E5M2, FLOAT16, Format, Int
from search_spaces.quant import Quant

IntegerArray = NDArray[np.integer]


class ExportError(RuntimeError):
    """A network cannot be exported as requested, or an exported file is wrong."""


@dataclass(frozen=True)
class Container:
    """An ONNX type and the first opset whose DequantizeLinear reads it.

    Attributes:
        bits: The bits of a code.
        signed: Whether codes are signed integers; False for floats, whose codes are bit patterns.
        opset: The opset.
        floats: The name of a type of floats, such as `FLOAT8E4M3FN`; empty for integers.
    """

    bits: int
    signed: bool
    opset: int
    floats: str = ""

    @property
    def name(self) -> str:
        """The name of the type in ONNX, such as `INT4`."""
        return self.floats or f"{'' if self.signed else 'U'}INT{self.bits}"

    @property
    def onnx_type(self) -> int:
        """The number of the type in ONNX."""
        return int(onnx.TensorProto.DataType.Value(self.name))

    @property
    def computed(self) -> Container:
        """The 8-bit type to which integer kernels convert codes of this type."""
        return Container(8, self.signed, BASE_OPSET)

    def bytes_for(self, elements: int) -> int:
        """The stored size, in bytes, of a tensor with so many elements."""
        return math.ceil(elements * self.bits / 8)


BASE_OPSET = 21
_OPSETS = {2: 25, 4: 21, 8: BASE_OPSET}


_FLOATS: dict[Format, str] = {
    E4M3: "FLOAT8E4M3FN",
    E5M2: "FLOAT8E5M2",
    FLOAT16: "FLOAT16",
    BFLOAT16: "BFLOAT16",
}
HALVES = frozenset({"FLOAT16", "BFLOAT16"})
"""The types whose values are numbers as they are, without a scale."""


def container_for(quant: Quant) -> Container:
    """The narrowest type that holds the codes of `quant`: a 4-bit type for 3 bits, 8-bit for 6.

    Raises:
        ExportError: If there is no such type, or onnxruntime (1.32) computes nothing with it, as
            with FLOAT4E2M1.
    """
    if quant.format in _FLOATS:
        return Container(quant.bits, signed=False, opset=BASE_OPSET, floats=_FLOATS[quant.format])
    if not isinstance(quant.format, Int):
        raise ExportError(
            f"format {quant.name} has no type of ONNX in which onnxruntime computes; there are "
            f"{', '.join(held.name for held in _FLOATS)} and integers: take another format, or "
            "leave 'onnx' out of export.formats"
        )
    bits = next(width for width in _OPSETS if width >= quant.bits)
    return Container(bits, quant.integers.symmetric, _OPSETS[bits])


def integers(name: str, codes: IntegerArray, container: Container) -> onnx.TensorProto:
    """An ONNX initializer with the given codes; codes narrower than 8 bits share bytes."""
    low, high = _limits(container)
    if codes.size and not low <= int(codes.min()) <= int(codes.max()) <= high:
        raise ExportError(
            f"codes {codes.min()}..{codes.max()} do not fit {container.name} ({low}..{high}); "
            "quantize the tensor again"
        )
    wide = container.bits > 8
    content = codes.astype("<u2").tobytes() if wide else packed(codes, container.bits)
    return onnx.helper.make_tensor(name, container.onnx_type, codes.shape, content, raw=True)


def _limits(container: Container) -> tuple[int, int]:
    if container.signed:
        return -(2 ** (container.bits - 1)), 2 ** (container.bits - 1) - 1
    return 0, 2**container.bits - 1


def packed(codes: IntegerArray, bits: int) -> bytes:
    """The bytes of codes of 2, 4 or 8 bits in ONNX's packing: first code in the lowest bits."""
    flat = codes.reshape(-1).astype(np.uint8) & np.uint8((1 << bits) - 1)
    per_byte = 8 // bits
    lanes = np.pad(flat, (0, -len(flat) % per_byte)).reshape(-1, per_byte)
    shifted = lanes << (np.arange(per_byte, dtype=np.uint8) * np.uint8(bits))
    return np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8).tobytes()
