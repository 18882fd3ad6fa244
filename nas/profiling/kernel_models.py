"""ONNX models of single kernels, as the profiler times them."""

from __future__ import annotations

from functools import singledispatchmethod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.saturation import MOVED_BY, EightBitWeights, adds_pairs, pair_fits
from nas.targets.errors import TargetError
from nas.targets.table.rows import folds
from search_spaces.kernels import Kernel
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Linear,
    Multiply,
    Op,
    Shape,
)
from search_spaces.quant import MAXIMUM_BITS

OPSET = 21
IR_VERSION = 10
INPUT_SCALE, WEIGHT_SCALE, OUTPUT_SCALE = 0.02, 0.005, 0.05
LOWEST = float(np.finfo(np.float32).min)
NEVER_NEGATIVE = ("relu", "relu6", "hardsigmoid")
MEASURABLE = (
    Conv2d,
    DepthwiseConv2d,
    Linear,
    BatchNorm2d,
    Activation,
    Add,
    Multiply,
    GlobalPool,
)


def kernel_model(
    kernel: Kernel,
    *,
    quantized: bool,
    rounded: bool = False,
    copies: int = 1,
    weight_bits: int = MAXIMUM_BITS,
    eight_bit_weights: EightBitWeights = "unsigned",
) -> bytes:
    """A serialized ONNX model that runs `copies` of `kernel` side by side on the same inputs.

    Each copy has weights of its own. What a convolution gives is cut to one pixel per channel
    before it leaves the model: the runtime then keeps its own memory layout, as it does between
    two layers of a network, instead of converting back for the caller.

    Args:
        kernel: What to run; norms are folded into the weights before them.
        quantized: uint8 tensors around a quantize-dequantize graph with 8-bit weights (one scale
            per output channel) and int32 biases, in place of float32.
        rounded: Whether a float32 kernel puts what it reads on a grid first, as where activations
            are quantized and weights are not.
        copies: How many times the kernel is in the model.
        weight_bits: Bits of the codes of quantized weights.
        eight_bit_weights: How those of 8 bits meet their inputs, as `export_onnx` has it.

    Raises:
        TargetError: If there is no ONNX form of one of the kernel's operators.
    """
    signed = eight_bit_weights == "signed"
    model = _Model(quantized=quantized, weight_bits=weight_bits, signed=signed)
    names = [model.input(position, shape) for position, shape in enumerate(kernel.inputs)]
    for _ in range(copies):
        flat = isinstance(kernel.op, Linear)
        reads = [model.read(name, flat=flat) for name in names]
        if rounded:
            reads = [model.kept_in_floats(model.on_grid(read)) for read in reads]
        value = model.emit(kernel.op, reads, kernel.inputs)
        shape = kernel.op.infer(*kernel.inputs)
        for op in kernel.fused:
            if not folds(kernel.op, op):
                reads_integers = quantized and op.activation is not None
                value = model.emit(
                    op, [model.on_grid(value) if reads_integers else value], (shape,)
                )
            shape = op.infer(shape)
        stored = model.written(value, signed=_signed(kernel))
        if is_cut(kernel):
            stored, shape = model.cut(stored, shape)
        model.output(stored, shape)
    return model.serialize()


def is_cut(kernel: Kernel) -> bool:
    """Whether `kernel_model` cuts what the kernel gives to one pixel per channel."""
    return isinstance(kernel.op, Conv2d | DepthwiseConv2d)


def empty_model(*, quantized: bool, copies: int) -> bytes:
    """What `kernel_model` puts around convolutions, without them: the cost to take off."""
    model = _Model(quantized=quantized)
    shape = (16, 4, 4)
    name = model.input(0, shape)
    for _ in range(copies):
        model.output(*model.cut(name, shape))
    return model.serialize()


def _signed(kernel: Kernel) -> bool:
    last = kernel.fused[-1] if kernel.fused else kernel.op
    return not (isinstance(last, Activation) and last.function in NEVER_NEGATIVE)


class _Model:
    """An ONNX graph in the making; reads and writes hide whether it is quantized."""

    def __init__(
        self, *, quantized: bool, weight_bits: int = MAXIMUM_BITS, signed: bool = False
    ) -> None:
        self._quantized = quantized
        self._largest = 2 ** (weight_bits - 1) - 1
        self._signed = signed or pair_fits(self._largest)
        self._dtype = TensorProto.UINT8 if quantized else TensorProto.FLOAT
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._rng = np.random.default_rng(0)

    def input(self, position: int, shape: Shape) -> str:
        name = f"input{position}"
        self._inputs.append(helper.make_tensor_value_info(name, self._dtype, [1, *shape]))
        return name

    def output(self, value: str, shape: Shape) -> None:
        self._outputs.append(helper.make_tensor_value_info(value, self._dtype, [1, *shape]))

    def cut(self, value: str, shape: Shape) -> tuple[str, Shape]:
        """One pixel per channel of an image."""
        channels, height, width = shape
        cut = self.node("MaxPool", [value], kernel_shape=[1, 1], strides=[height, width])
        return cut, (channels, 1, 1)

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def read(self, name: str, *, flat: bool) -> str:
        """The float view of a stored tensor; flattened as it is stored, so that kernels fuse."""
        if flat:
            name = self.node("Flatten", [name])
        if not self._quantized:
            return name
        return self.node("DequantizeLinear", [name, *self._scale(INPUT_SCALE, 128)])

    def written(self, name: str, *, signed: bool) -> str:
        """The stored form of a float tensor."""
        if not self._quantized:
            return name
        return self.node("QuantizeLinear", [name, *self._scale(OUTPUT_SCALE, 128 if signed else 0)])

    def on_grid(self, name: str) -> str:
        """A float tensor rounded to 8 bits."""
        scale = self._scale(OUTPUT_SCALE, 128)
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [name, *scale]), *scale])

    def kept_in_floats(self, name: str) -> str:
        """As the exporter keeps onnxruntime from rounding the weights that meet this tensor."""
        return self.node("Max", [name, self.constant(np.array(LOWEST, np.float32))])

    def _scale(self, scale: float, zero_point: int) -> list[str]:
        return [
            self.constant(np.array(scale, np.float32)),
            self.constant(np.array(zero_point, np.uint8)),
        ]

    def weight(self, op: Op, shape: Shape) -> str:
        """A random weight of `op`, output channels first."""
        codes = self._rng.integers(-self._largest, self._largest + 1, shape, dtype=np.int32)
        if not self._quantized:
            return self.constant(codes.astype(np.float32) * np.float32(WEIGHT_SCALE))
        scale = self.constant(np.full(shape[0], WEIGHT_SCALE, np.float32))
        moved_by = MOVED_BY if adds_pairs(op) and not self._signed else 0
        stored = np.uint8 if moved_by else np.int8
        zero = self.constant(np.full(shape[0], moved_by, stored))
        held = self.constant((codes + moved_by).astype(stored))
        return self.node("DequantizeLinear", [held, scale, zero], axis=0)

    def bias(self, length: int) -> str:
        codes = self._rng.integers(-1000, 1001, length, dtype=np.int32)
        step = np.float32(INPUT_SCALE * WEIGHT_SCALE)
        if not self._quantized:
            return self.constant(codes.astype(np.float32) * step)
        scale = self.constant(np.full(length, step, np.float32))
        zero = self.constant(np.zeros(length, np.int32))
        return self.node("DequantizeLinear", [self.constant(codes), scale, zero], axis=0)

    def serialize(self) -> bytes:
        graph = helper.make_graph(
            self._nodes, "kernel", self._inputs, self._outputs, self._constants
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        return model.SerializeToString()

    @singledispatchmethod
    def emit(self, op: Op, reads: list[str], shapes: tuple[Shape, ...]) -> str:
        raise TargetError(
            f"operator {type(op).__name__} has no ONNX form to be timed in; measurable are "
            f"{', '.join(kind.__name__ for kind in MEASURABLE)}"
        )

    @emit.register
    def _(self, op: Conv2d | DepthwiseConv2d, reads: list[str], shapes: tuple[Shape, ...]) -> str:
        weight = op.deployed(*shapes)["weight"].shape
        inputs = [*reads, self.weight(op, weight), self.bias(weight[0])]
        return self.node(
            "Conv",
            inputs,
            kernel_shape=op.window.kernel,
            strides=op.window.stride,
            pads=op.window.padding,
            dilations=op.window.dilation,
            group=shapes[0][0] // weight[1],
        )

    @emit.register
    def _(self, op: Linear, reads: list[str], shapes: tuple[Shape, ...]) -> str:
        weight = op.deployed(*shapes)["weight"].shape
        inputs = [*reads, self.weight(op, weight), self.bias(op.out)]
        return self.node("Gemm", inputs, transB=1)

    @emit.register
    def _(self, op: BatchNorm2d, reads: list[str], shapes: tuple[Shape, ...]) -> str:
        channels = shapes[0][0]
        statistics = [self.constant(np.full(channels, v, np.float32)) for v in (1.1, 0.1, 0.2, 0.9)]
        return self.node("BatchNormalization", [*reads, *statistics])

    @emit.register
    def _(self, op: Activation, reads: list[str], shapes: tuple[Shape, ...]) -> str:
        match op.function:
            case "relu":
                return self.node("Relu", reads)
            case "relu6":
                bounds = [self.constant(np.array(bound, np.float32)) for bound in (0, 6)]
                return self.node("Clip", [*reads, *bounds])
            case "hardswish":
                return self.node("HardSwish", reads)
            case "hardsigmoid":
                return self.node("HardSigmoid", reads, alpha=1 / 6, beta=0.5)
            case _:
                raise TargetError(f"activation {op.function!r} has no ONNX form to be timed in")

    @emit.register
    def _(self, op: Add, reads: list[str], shapes: tuple[Shape, ...]) -> str:
        return self.node("Add", reads)

    @emit.register
    def _(self, op: Multiply, reads: list[str], shapes: tuple[Shape, ...]) -> str:
        return self.node("Mul", reads)

    @emit.register
    def _(self, op: GlobalPool, reads: list[str], shapes: tuple[Shape, ...]) -> str:
        return self.node("GlobalAveragePool", reads)
