"""What every operator writes with: nodes, constants, and quantized readings of tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nas.export.containers import Container, IntegerArray, container_for, integers
from nas.saturation import MOVED_BY, EightBitWeights, moved
from search_spaces.quant import Quant
from supernets.integers import ActivationScale, IntegerBias, IntegerTensor

Clamp = tuple[float, float]
_SIGNED_ZERO = 128
_MATRIX = 2
_UNSIGNED = container_for(Quant(8, symmetric=False))


@dataclass(frozen=True)
class Value:
    """A float tensor of the file; `clamp` is what its reader has still to cut it to."""

    name: str
    clamp: Clamp | None = None


@dataclass
class Writer:
    """Nodes and initializers in the order in which they are written, under short names.

    `shared` holds scalars that several nodes use; a reading that was written once is used again.
    `eight_bit_weights` is how weights reach kernels that `nas.saturation` is about.
    """

    eight_bit_weights: EightBitWeights = "unsigned"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    shared: dict[str, onnx.TensorProto] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    named: int = 0
    _readings: dict[Any, str] = field(default_factory=dict)

    def fresh(self, prefix: str) -> str:
        """A name that no other tensor has."""
        self.named += 1
        return f"{prefix}{self.named}"

    def node(self, op_type: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        output = self.fresh("t")
        self.nodes.append(
            onnx.helper.make_node(op_type, inputs, [output], name=name or None, **attributes)
        )
        return output

    def rename(self, output: str, name: str) -> None:
        """Give the tensor `output` another `name`, which no tensor has yet."""
        for names in (names for node in self.nodes for names in (node.input, node.output)):
            for place, known in enumerate(names):
                names[place] = name if known == output else known

    def floats(self, values: NDArray[np.floating[Any]]) -> str:
        """A float32 initializer."""
        return self._array(values.astype(np.float32), onnx.TensorProto.FLOAT)

    def int32(self, values: IntegerArray) -> str:
        """An int32 initializer."""
        return self._array(values.astype(np.int32), onnx.TensorProto.INT32)

    def codes(self, values: IntegerArray, container: Container) -> str:
        """Integer codes in `container`."""
        name = self.fresh("w")
        self.initializers.append(integers(name, values, container))
        return name

    def uint8(self, value: int) -> str:
        """A shared uint8 scalar."""
        return self._scalar(f"u{value}", np.uint8(value), onnx.TensorProto.UINT8)

    def float32(self, value: float) -> str:
        """A shared float32 scalar."""
        return self._scalar(f"f{value:g}", np.float32(value), onnx.TensorProto.FLOAT)

    def int64(self, *values: int) -> str:
        """A shared int64 vector."""
        name = "s" + "x".join(map(str, values))
        return self._scalar(name, np.array(values, np.int64), onnx.TensorProto.INT64)

    def _scalar(self, name: str, value: Any, kind: int) -> str:
        if name not in self.shared:
            content = value.tobytes()
            self.shared[name] = onnx.helper.make_tensor(name, kind, value.shape, content, raw=True)
        return name

    def _array(self, values: NDArray[Any], kind: int) -> str:
        name = self.fresh("w")
        self.initializers.append(
            onnx.helper.make_tensor(name, kind, values.shape, values.tobytes(), raw=True)
        )
        return name

    def plain(self, value: Value) -> str:
        """The tensor as floats, its clamp done by a node of its own."""
        if value.clamp is None:
            return value.name
        if value not in self._readings:
            low, high = value.clamp
            self._readings[value] = (
                self.node("Relu", value.name)
                if value.clamp == (0.0, np.inf)
                else self.node("Clip", value.name, self.float32(low), self.float32(high))
            )
        return self._readings[value]

    def quantized(self, value: Value, scale: ActivationScale, *, flat: bool) -> str:
        """The tensor on the grid of `scale`: quantize, cut to the true codes, dequantize.

        Codes always live in uint8, symmetric ones moved up by 128: onnxruntime on x86 fuses
        uint8 activations only. `flat` flattens the codes behind the batch axis.
        """
        key = (value, scale, flat)
        if key not in self._readings:
            self._readings[key] = self._quantize(value, scale, flat=flat)
        return self._readings[key]

    def _quantize(self, value: Value, scale: ActivationScale, *, flat: bool) -> str:
        grid = ActivationGrid.of(scale)
        step = self._scale_of(scale)
        zero = self.uint8(grid.zero_point)
        least, most = grid.clamp_codes(value.clamp)
        # A clamp commutes with rounding to the grid. Done on codes it leaves the kernel before it
        # next to its QuantizeLinear, which fuses; a Relu that cuts where uint8 ends fuses itself.
        source = value.name
        if value.clamp is not None and least == 0:
            source = self.plain(Value(value.name, (0.0, np.inf)))
        code = self.node("QuantizeLinear", source, step, zero)
        if least > grid.low:
            code = self.node("Max", code, self.uint8(least))
        if most < grid.high:
            code = self.node("Min", code, self.uint8(most))
        if (grid.low, grid.high) != (0, 255):
            code = self.node("Clip", code, self.uint8(grid.low), self.uint8(grid.high))
        if flat:
            code = self.node("Flatten", code)
        return self.node("DequantizeLinear", code, step, zero)

    def _scale_of(self, scale: ActivationScale) -> str:
        if scale not in self._readings:
            self._readings[scale] = self.floats(np.array(scale.scale, np.float32))
        return self._readings[scale]

    def weight(
        self, tensor: IntegerTensor, address: str, *, integer_kernel: bool, in_pairs: bool = False
    ) -> str:
        """The weight as stored codes and what turns them to numbers.

        That is a DequantizeLinear, but of a convolution in floats `(codes - zero) * scale` written
        out: onnxruntime folds this at load, while it dequantizes anew in every run and keeps such
        a convolution from its faster memory layout (1.31).

        Where the kernel computes on integers, codes narrower than 8 bits pass a Cast to 8 bits:
        onnxruntime folds it at load and then runs its 8-bit kernel, while it has none for 4 bits
        and rejects a 2-bit convolution that it has fused itself (1.31).

        Where such a kernel adds up products `in_pairs`, and a pair might be cut off on some
        processors, codes reach it unsigned (`nas.saturation`).
        """
        container = container_for(tensor.quant)
        self.containers[address] = container
        code = self.codes(tensor.codes, container)
        if integer_kernel and container.bits < container.computed.bits:
            container = container.computed
            code = self.node("Cast", code, to=container.onnx_type)
        scale = scales(tensor)
        if not integer_kernel and tensor.codes.ndim > _MATRIX:
            return self._written_out(tensor, code, container)
        if integer_kernel and in_pairs and moved(tensor.quant, self.eight_bit_weights):
            zero = np.full(scale.shape, MOVED_BY)
            return self._dequantize(self._moved(code), scale, self.codes(zero, _UNSIGNED))
        # QGemm, unlike QLinearConv, is only fused with the zero point written out.
        if tensor.quant.symmetric and not (integer_kernel and tensor.codes.ndim == _MATRIX):
            return self._dequantize(code, scale)
        zero = np.broadcast_to(tensor.zero_point, (scale.size,)).reshape(scale.shape)
        return self._dequantize(code, scale, self.codes(zero, container))

    def _moved(self, code: str) -> str:
        """Signed 8-bit codes moved up to unsigned ones by nodes that runtimes fold at load."""
        wide = self.node("Cast", code, to=onnx.TensorProto.INT32)
        up = self.node("Add", wide, self._scalar("up", np.int32(MOVED_BY), onnx.TensorProto.INT32))
        return self.node("Cast", up, to=_UNSIGNED.onnx_type)

    def _written_out(self, tensor: IntegerTensor, code: str, container: Container) -> str:
        """`(codes - zero) * scale` of a convolution's weight, in single nodes."""
        column = (-1, *(1,) * (tensor.codes.ndim - 1))
        value = self.node("Cast", code, to=onnx.TensorProto.FLOAT)
        if not tensor.quant.symmetric:
            zero = self.codes(tensor.zero_point.reshape(column), container)
            value = self.node("Sub", value, self.node("Cast", zero, to=onnx.TensorProto.FLOAT))
        return self.node("Mul", value, self.floats(tensor.scale.reshape(column)))

    def _dequantize(self, code: str, scale: NDArray[np.float32], *zero: str) -> str:
        axis: dict[str, Any] = {"axis": 0} if scale.ndim else {}
        return self.node("DequantizeLinear", code, self.floats(scale), *zero, **axis)

    def integer_bias(self, bias: IntegerBias, weight: IntegerTensor) -> str:
        """The bias as int32 behind a DequantizeLinear, with as many scales as the weight."""
        step = bias.scale if scales(weight).ndim else bias.scale[0]
        return self._dequantize(self.int32(bias.codes), np.asarray(step))


def scales(tensor: IntegerTensor) -> NDArray[np.float32]:
    """The scales as `(channels,)`, or `()` where one serves the whole tensor."""
    alone = tensor.scale.size == 1 and not tensor.quant.per_channel
    return tensor.scale.astype(np.float32).reshape(() if alone else -1)


@dataclass(frozen=True)
class ActivationGrid:
    """The codes of an activation as the file holds them, in uint8."""

    scale: float
    zero_point: int
    low: int
    high: int

    @classmethod
    def of(cls, scale: ActivationScale) -> ActivationGrid:
        """The grid of `scale`, symmetric codes moved up to be unsigned."""
        shift = _SIGNED_ZERO if scale.quant.symmetric else 0
        low, high = scale.quant.code_range
        return cls(scale.scale, scale.zero_point + shift, low + shift, high + shift)

    def clamp_codes(self, clamp: Clamp | None) -> tuple[int, int]:
        """The codes of the ends of `clamp`, or of the whole grid."""
        if clamp is None:
            return self.low, self.high
        ends = np.rint(np.array(clamp, np.float32) / np.float32(self.scale)) + self.zero_point
        least, most = np.clip(ends, self.low, self.high)
        return int(least), int(most)
