"""The writer of ONNX files: nodes, constants, and quantized readings of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nas.export.containers import Container, ExportError, IntegerArray, container_for, integers
from nas.export.grid import ActivationGrid, Clamp
from nas.targets.saturation import ARRANGEMENTS, EightBitWeights
from search_spaces.formats import Int
from supernets.encoded import ActivationScale

_LOWEST = float(np.finfo(np.float32).min)
_HIGHEST = 1e38
_FLAT = (0, -1)


@dataclass(frozen=True)
class Value:
    """A float tensor of the file, with operations that are left to the reader of the tensor.

    Attributes:
        name: The name of the tensor.
        clamp: The bounds to which the reader must clamp the tensor, or None.
        shape: The shape to which the reader must then reshape the tensor, as in ONNX's Reshape:
            the batch first, 0 for an unchanged length, -1 for the remaining length.
        kept: Whether a node that clamps or rounds must not directly follow the node that computes
            the tensor, since a runtime would then choose a slower kernel.
        on_grid: Whether the numbers come from a DequantizeLinear and were only moved since.
        samples: For a tensor of a single sample that the reader must repeat for the batch: a tensor
            of the file that has the batch, and the number of axes; else None.
    """

    name: str
    clamp: Clamp | None = None
    shape: tuple[int, ...] | None = None
    kept: bool = False
    on_grid: bool = False
    samples: tuple[str, int] | None = None


@dataclass
class Writer:
    """Nodes and initializers in the order in which they are written, under short names.

    `shared` holds scalars that several nodes use; a reading that was written once is used again.
    `reserved` are names that no tensor gets. `eight_bit_weights` is how weights reach kernels that
    `nas.targets.saturation` is about.
    """

    eight_bit_weights: EightBitWeights = "unsigned"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    shared: dict[str, onnx.TensorProto] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    named: int = 0
    reserved: frozenset[str] = frozenset()
    _readings: dict[Any, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.eight_bit_weights not in ARRANGEMENTS:
            raise ExportError(
                f"eight_bit_weights is one of {', '.join(ARRANGEMENTS)}, given "
                f"{self.eight_bit_weights!r}"
            )

    def fresh(self, prefix: str) -> str:
        """A name that no other tensor has."""
        self.named += 1
        return self._free(f"{prefix}{self.named}")

    def _free(self, name: str) -> str:
        """`name`, changed if it is reserved."""
        return self._free(f"{name}_") if name in self.reserved else name

    def node(self, op_type: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        output = self.fresh("t")
        self.nodes.append(
            onnx.helper.make_node(op_type, inputs, [output], name=name or None, **attributes)
        )
        return output

    def inlined(self, node: onnx.NodeProto, names: Mapping[str, str]) -> None:
        """Append a copy of `node` without its name; `names` are the new names of its tensors."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("name")
        for held in (copy.input, copy.output):
            held[:] = [names[name] if name else name for name in held]
        self.nodes.append(copy)

    def copied(self, tensor: onnx.TensorProto, name: str) -> None:
        """Append a copy of an initializer under another name."""
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.name = name
        self.initializers.append(copy)

    def rename(self, output: str, name: str) -> None:
        """Give the tensor `output` another `name`, which no tensor has yet."""
        for names in (names for node in self.nodes for names in (node.input, node.output)):
            for place, known in enumerate(names):
                names[place] = name if known == output else known

    def floats(self, values: NDArray[np.floating[Any]]) -> str:
        """A float32 initializer."""
        return self._array(values.astype(np.float32, copy=False), onnx.TensorProto.FLOAT)

    def uint16(self, values: NDArray[np.uint16]) -> str:
        """A uint16 initializer."""
        return self._array(values, onnx.TensorProto.UINT16)

    def once(self, values: NDArray[np.float32]) -> str:
        """A float32 initializer that all equal arrays share."""
        key = (values.shape, values.tobytes())
        if key not in self._readings:
            self._readings[key] = self.floats(values)
        return self._readings[key]

    def int32(self, values: IntegerArray) -> str:
        """An int32 initializer."""
        return self._array(values.astype(np.int32, copy=False), onnx.TensorProto.INT32)

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
        held, name = np.float32(value), f"{value:g}"
        name = name if np.float32(name) == held else str(held)  # six digits are not every number
        return self._scalar(f"f{name}", held, onnx.TensorProto.FLOAT)

    def int32_scalar(self, name: str, value: int) -> str:
        """A shared int32 scalar under a name of its own."""
        return self._scalar(name, np.int32(value), onnx.TensorProto.INT32)

    def int64(self, *values: int) -> str:
        """A shared int64 vector."""
        name = "s" + "x".join(map(str, values))
        return self._scalar(name, np.array(values, np.int64), onnx.TensorProto.INT64)

    def _scalar(self, name: str, value: Any, kind: int) -> str:
        name = self._free(name)
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
        """The tensor as floats, with clamp, reshape and repetition done by separate nodes."""
        if value not in self._readings:
            whole = self._repeated(self._clamped(value), value.samples)
            self._readings[value] = self._shaped(whole, value.shape)
        return self._readings[value]

    def _repeated(self, name: str, samples: tuple[str, int] | None) -> str:
        if samples is None:
            return name
        like, axes = samples
        key = ("samples", samples)
        if key not in self._readings:
            count = self.node("Shape", like, start=0, end=1)
            ones = [self.int64(*(1,) * (axes - 1))] if axes > 1 else []
            self._readings[key] = self.node("Concat", count, *ones, axis=0)
        repeated = ("repeated", name, samples)
        if repeated not in self._readings:
            self._readings[repeated] = self.node("Expand", name, self._readings[key])
        return self._readings[repeated]

    def clamped(self, value: Value, clamp: Clamp | None) -> Value:
        """The tensor with `clamp` left to its reader."""
        if value.clamp is None and value.shape is None:
            return replace(value, clamp=clamp)
        return Value(self.plain(value), clamp)

    def _clamped(self, value: Value) -> str:
        if value.clamp is None:
            return value.name
        if value.clamp == (0.0, np.inf):
            return self.node("Relu", self._apart(value))
        return self.node("Clip", self._apart(value), *map(self.float32, value.clamp))

    def _shaped(self, name: str, shape: tuple[int, ...] | None) -> str:
        if shape is None:
            return name
        if shape == _FLAT:
            return self.node("Flatten", name)
        return self.node("Reshape", name, self.int64(*shape))

    def _apart(self, value: Value) -> str:
        """The tensor for a node that clamps or rounds, behind another node if `kept`."""
        if not value.kept:
            return value.name
        key = ("kept", value.name)
        if key not in self._readings:
            self._readings[key] = self.unchanged(value.name)
        return self._readings[key]

    def unchanged(self, name: str) -> str:
        """The tensor behind a node that changes no number and that no optimization removes."""
        return self.node("Max", name, self.float32(_LOWEST))

    def quantized(self, value: Value, scale: ActivationScale) -> str:
        """The tensor quantized with `scale`: quantize, clamp to the true codes, dequantize."""
        key = ("quantized", value, scale)
        if key not in self._readings:
            self._readings[key] = self.dequantized(self.code(value, scale), scale)
        return self._readings[key]

    def dequantized(self, code: str, scale: ActivationScale) -> str:
        """The floats that the tensor `code`, codes on the grid of `scale`, stands for."""
        if not scale.quant.format.scaled:
            return self.widened(code)
        return self.node("DequantizeLinear", code, *self._grid_of(scale))

    def widened(self, name: str) -> str:
        """The numbers of a tensor of another type, in float32."""
        return self.node("Cast", name, to=onnx.TensorProto.FLOAT)

    def code(self, value: Value, scale: ActivationScale) -> str:
        """The codes of the tensor on the grid of `scale`.

        Codes always live in uint8, symmetric ones moved up by 128: onnxruntime on x86 fuses
        uint8 activations only. They get their shape as codes, which keeps kernels fused.
        """
        if value.samples is not None:
            # Repeated before rounding: a runtime would round a constant itself, and forget how.
            value = Value(self.plain(replace(value, shape=None)), shape=value.shape)
        key = (value, scale)
        if key not in self._readings:
            self._readings[key] = (
                self._quantize(value, scale)
                if value.shape is None
                else self._shaped_code(self.code(replace(value, shape=None), scale), value, scale)
            )
        return self._readings[key]

    def _shaped_code(self, code: str, value: Value, scale: ActivationScale) -> str:
        if isinstance(scale.quant.format, Int):
            return self._shaped(code, value.shape)
        return self.node("Reshape", code, self.int64(*(value.shape or ())))  # no Flatten of floats

    def given(self, name: str, scale: ActivationScale) -> Value:
        """An input tensor of the file that consists of codes with the given `scale`."""
        value = Value(name)
        self._readings[value, scale] = name
        return value

    def forget_readings(self) -> None:
        """Forget all earlier readings, so that those of another network are written anew."""
        self._readings.clear()

    def _grid_of(self, scale: ActivationScale) -> tuple[str, str]:
        """The scale and the zero point of a quantized activation, as scalars of the file."""
        if not isinstance(scale.quant.format, Int):
            return self._scale_of(scale), self._zero_of(container_for(scale.quant))
        return self._scale_of(scale), self.uint8(ActivationGrid.of(scale).zero_point)

    def _zero_of(self, container: Container) -> str:
        """A shared zero of a type of floats."""
        return self._scalar(container.name.lower(), np.uint8(0), container.onnx_type)

    def _quantize(self, value: Value, scale: ActivationScale) -> str:
        if not scale.quant.format.scaled:
            return self._narrowed(value, scale)
        if not isinstance(scale.quant.format, Int):
            return self.node("QuantizeLinear", self._bounded(value), *self._grid_of(scale))
        grid, held = ActivationGrid.of(scale), self._grid_of(scale)
        least, most = grid.clamp_codes(value.clamp)
        # A clamp commutes with rounding to the grid. Done on codes it leaves the kernel before it
        # next to its QuantizeLinear, which fuses; a Relu that cuts where uint8 ends fuses itself.
        if value.clamp is not None and value.clamp[0] == 0 and least == 0:
            source = self.plain(replace(value, clamp=(0.0, np.inf)))
        else:
            source = self._apart(value)
        code = self.node("QuantizeLinear", source, *held)
        if least > grid.low:
            code = self.node("Max", code, self.uint8(least))
        if most < grid.high:
            code = self.node("Min", code, self.uint8(most))
        if (grid.low, grid.high) != (0, 255):
            code = self.node("Clip", code, self.uint8(grid.low), self.uint8(grid.high))
        return code

    def _narrowed(self, value: Value, scale: ActivationScale) -> str:
        """The tensor, clamped to the numbers of a format without scales, in the format's type.

        A Cast makes infinity of what is beyond float16. All but nothing is beyond bfloat16.
        """
        low, high = scale.bounds
        least, most = value.clamp or (-np.inf, np.inf)
        if high < _HIGHEST and (least < low or most > high):
            value = replace(value, clamp=(max(least, low), min(most, high)))
        to = container_for(scale.quant).onnx_type
        return self.node("Cast", self.plain(value), to=to)

    def _bounded(self, value: Value) -> str:
        """The tensor, clamped, for a QuantizeLinear to floats, which saturates.

        onnxruntime (1.32) leaves out a Relu or a Clip before a QuantizeLinear, as if a zero point
        of all zero bits were the least code, which is wrong for floats; a node between prevents it.
        """
        if value.clamp is None:
            return self._apart(value)
        return self.unchanged(self.plain(value))

    def _scale_of(self, scale: ActivationScale) -> str:
        if scale not in self._readings:
            self._readings[scale] = self.floats(np.array(scale.scale, np.float32))
        return self._readings[scale]
