"""Weights and biases in an ONNX file: codes, and the nodes that dequantize the codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nas.export.containers import Container, ExportError, IntegerArray, container_for
from nas.export.writer import Writer
from nas.targets.saturation import MOVED_BY, moved
from search_spaces.formats import Int
from search_spaces.quant import Quant
from supernets.encoded import ActivationScale, EncodedTensor, IntegerBias

_MATRIX = 2
_UNSIGNED = container_for(Quant(Int(8, symmetric=False)))


def on_integers(tensor: EncodedTensor, scale: ActivationScale | None) -> bool:
    """Whether a runtime has kernels on integers for such a weight and such an input.

    Scales of groups cannot be applied to finished sums, and floats are no integers.
    """
    if scale is None or not isinstance(scale.quant.format, Int):
        return False
    return isinstance(tensor.quant.format, Int) and not is_grouped(tensor)


def integer_weight(
    writer: Writer, tensor: EncodedTensor, address: str, *, in_pairs: bool = False, axis: int = 0
) -> str:
    """The weight of a kernel that computes on integers: stored codes behind a DequantizeLinear.

    Codes narrower than 8 bits pass a Cast to 8 bits: onnxruntime folds it at load and then runs its
    8-bit kernel, while it has none for 4 bits and rejects a 2-bit convolution that it has fused
    itself (1.31).

    Args:
        writer: The writer that gets the nodes.
        tensor: The weight, output channels first.
        address: The address of the operator.
        in_pairs: Whether the kernel adds up products in pairs. Where a pair might be cut off on
            some processors, codes reach it unsigned (`nas.targets.saturation`).
        axis: The axis of output channels in the result; 1 transposes a matrix.
    """
    code, container = _stored(writer, tensor, address, axis)
    if container.bits < container.computed.bits:
        container = container.computed
        code = writer.node("Cast", code, to=container.onnx_type)
    scale = scales(tensor)
    if in_pairs and moved(tensor.quant, writer.eight_bit_weights):
        code = _moved(writer, code)
        zero = writer.codes(np.full(scale.shape, MOVED_BY), _UNSIGNED)
        return _dequantize(writer, code, scale, zero, axis=axis)
    # QGemm, unlike QLinearConv, is only fused with the zero point written out.
    if tensor.quant.format.symmetric and tensor.codes.ndim > _MATRIX:
        return _dequantize(writer, code, scale, axis=axis)
    zero = writer.codes(_zero_point(tensor, scale), container)
    return _dequantize(writer, code, scale, zero, axis=axis)


def unpacked_weight(writer: Writer, tensor: EncodedTensor, address: str, *, axis: int = 0) -> str:
    """The weight of a kernel on floats that unpacks the codes in every run.

    The arguments are those of `integer_weight`.
    """
    code, container = _stored(writer, tensor, address, axis)
    if not tensor.quant.format.scaled:
        return writer.widened(code)
    if is_grouped(tensor):
        size = tensor.quant.granularity.blocks(tensor.codes.shape)[1]
        blocks = {"axis": 1 - axis, "block_size": size}
        zeros = [] if tensor.quant.format.symmetric else [np.moveaxis(tensor.zero_point, 0, axis)]
        zero = [writer.codes(held, container) for held in zeros]
        return _dequantize(writer, code, np.moveaxis(tensor.scale, 0, axis), *zero, **blocks)
    scale = scales(tensor)
    if tensor.quant.format.symmetric:
        return _dequantize(writer, code, scale, axis=axis)
    zero_point = writer.codes(_zero_point(tensor, scale), container)
    return _dequantize(writer, code, scale, zero_point, axis=axis)


def folded_weight(writer: Writer, tensor: EncodedTensor, address: str, *, axis: int = 0) -> str:
    """The weight of a kernel on floats, as `(codes - zero) * scale` in separate nodes.

    Groups of a convolution are rows of the stored codes, since a block of ONNX has one axis.

    onnxruntime folds them at load, while it dequantizes anew in every run and keeps a convolution
    behind a DequantizeLinear from its faster memory layout (1.31). The arguments are those of
    `integer_weight`.
    """
    if is_grouped(tensor):
        return _folded_rows(writer, tensor, address, axis=axis)
    column = [1] * tensor.codes.ndim
    column[axis] = -1
    return _folded(writer, tensor, *_stored(writer, tensor, address, axis), column)


def unpacked_rows(writer: Writer, tensor: EncodedTensor, address: str) -> str:
    """A weight with scales of groups that every run unpacks; each group is stored as a row."""
    code, _ = _codes(writer, tensor, address, _rows(tensor))
    value = _dequantize(writer, code, tensor.scale.reshape(-1), axis=0)
    return writer.node("Reshape", value, writer.int64(*tensor.codes.shape))


def _rows(tensor: EncodedTensor) -> IntegerArray:
    """The codes of a weight with scales of groups, `(groups, channels of a group, ...)`."""
    shape = tensor.codes.shape
    return tensor.codes.reshape(-1, tensor.quant.granularity.blocks(shape)[1], *shape[2:])


def _folded_rows(writer: Writer, tensor: EncodedTensor, address: str, *, axis: int) -> str:
    """`folded_weight` of a weight with scales of groups; each group is stored as a row."""
    shape = tensor.codes.shape
    code, container = _codes(writer, tensor, address, _rows(tensor))
    column = [-1, *(1 for _ in shape[1:])]
    whole = _folded(writer, tensor, code, container, column)
    value = writer.node("Reshape", whole, writer.int64(*shape))
    return value if axis == 0 else writer.node("Transpose", value, perm=(1, 0))


def _folded(
    writer: Writer, tensor: EncodedTensor, code: str, container: Container, column: list[int]
) -> str:
    """`(codes - zero) * scale` in separate nodes, with scales of the shape `column`."""
    value = writer.node("Cast", code, to=onnx.TensorProto.FLOAT)
    if not tensor.quant.format.symmetric:
        zero = writer.codes(tensor.zero_point.reshape(column), container)
        value = writer.node("Sub", value, writer.node("Cast", zero, to=onnx.TensorProto.FLOAT))
    return writer.node("Mul", value, writer.floats(tensor.scale.reshape(column)))


def stored_codes(writer: Writer, tensor: EncodedTensor, address: str) -> str:
    """The codes of a weight in at least 8 bits; narrower ones are stored and pass a Cast."""
    code, container = _stored(writer, tensor, address, 0)
    if container.bits >= container.computed.bits:
        return code
    return writer.node("Cast", code, to=container.computed.onnx_type)


def looked_up(writer: Writer, tensor: EncodedTensor, found: str, entries: str) -> str:
    """The values of codes that were looked up in a table with a scale per entry, or with one scale.

    Args:
        writer: The writer that gets the nodes.
        tensor: The table, `(entries, numbers)`.
        found: The codes, `(..., numbers)`.
        entries: The indices of the entries, `(...)`.

    Raises:
        ExportError: If the table has small floats, or scales of groups.
    """
    if not tensor.quant.format.scaled:
        return writer.widened(found)
    if is_grouped(tensor) or not isinstance(tensor.quant.format, Int):
        raise ExportError(
            "a table of embeddings leaves as floats of 16 bits, or as integers with one scale or a "
            f"scale per entry, given {tensor.quant}; give it such a precision"
        )
    scale, zero = scales(tensor), _zero_point(tensor, scales(tensor))
    if not scale.ndim:
        container = container_for(tensor.quant).computed
        return _dequantize(writer, found, scale, writer.codes(zero, container))
    value = writer.node("Cast", found, to=onnx.TensorProto.FLOAT)
    if not tensor.quant.format.symmetric:
        zeros = writer.floats(zero.reshape(-1, 1).astype(np.float32))
        value = writer.node("Sub", value, writer.node("Gather", zeros, entries))
    steps = writer.floats(scale.reshape(-1, 1))
    return writer.node("Mul", value, writer.node("Gather", steps, entries))


def integer_bias(writer: Writer, bias: IntegerBias, weight: EncodedTensor) -> str:
    """The int32 bias behind a DequantizeLinear, with as many scales as the weight."""
    step = bias.scale if scales(weight).ndim else bias.scale[0]
    return _dequantize(writer, writer.int32(bias.codes), np.asarray(step), axis=0)


def scales(tensor: EncodedTensor) -> NDArray[np.float32]:
    """The scales of a weight, `(channels,)`, or `()` for a single scale."""
    single = tensor.quant.granularity.single
    return tensor.scale.astype(np.float32).reshape(() if single else -1)


def is_grouped(tensor: EncodedTensor) -> bool:
    """Whether scales belong to groups of input channels."""
    return tensor.scale.ndim > 1


def _stored(
    writer: Writer, tensor: EncodedTensor, address: str, axis: int
) -> tuple[str, Container]:
    """An initializer with the codes of a weight in the narrowest type, and this type."""
    return _codes(writer, tensor, address, np.moveaxis(tensor.codes, 0, axis))


def _codes(
    writer: Writer, tensor: EncodedTensor, address: str, codes: IntegerArray
) -> tuple[str, Container]:
    """An initializer with `codes`, the codes of a weight in any arrangement, and its type."""
    container = container_for(tensor.quant)
    writer.containers[address] = container
    return writer.codes(codes, container), container


def _zero_point(tensor: EncodedTensor, scale: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.broadcast_to(tensor.zero_point, (scale.size,)).reshape(scale.shape)


def _moved(writer: Writer, code: str) -> str:
    """Signed 8-bit codes converted to unsigned by nodes that runtimes fold at load."""
    wide = writer.node("Cast", code, to=onnx.TensorProto.INT32)
    up = writer.node("Add", wide, writer.int32_scalar("up", MOVED_BY))
    return writer.node("Cast", up, to=_UNSIGNED.onnx_type)


def _dequantize(
    writer: Writer, code: str, scale: NDArray[np.float32], *zero: str, **along: int
) -> str:
    attributes: dict[str, Any] = along if scale.ndim else {}
    return writer.node("DequantizeLinear", code, writer.floats(scale), *zero, **attributes)
