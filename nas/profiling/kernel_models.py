"""ONNX models of single kernels as the profiler times them, written by the exporter."""

from __future__ import annotations

import onnx

from nas.export.onnx_model import declared, model_of, tensor
from nas.export.onnx_network import write_network
from nas.export.stand_in import never_negative, scale_of
from nas.export.writer import Value, Writer
from nas.profiling.kernel_networks import kernel_network
from nas.targets.numerics import Numerics
from nas.targets.saturation import EightBitWeights
from search_spaces.formats import MAXIMUM_BITS, Int
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.ops import Input, Resize, Shape
from search_spaces.quant import Quant
from supernets.deployed import Deployed
from supernets.encoded import ActivationScale

_CODES = Quant(Int(MAXIMUM_BITS, symmetric=False))


def kernel_model(
    kernel: Kernel,
    numerics: Numerics,
    *,
    copies: int = 1,
    eight_bit_weights: EightBitWeights = "unsigned",
) -> bytes:
    """A serialized ONNX model that runs `copies` of `kernel` side by side on the same inputs.

    Each copy has weights of its own. A kernel on integers reads and writes uint8 codes, as between
    two layers of a network. The output of a convolution is cut to one pixel per channel before it
    leaves the model. The runtime then keeps its own memory layout, as between two layers, and
    does not convert the whole output for the caller.

    Args:
        kernel: The kernel to run.
        numerics: The formats in which the kernel computes.
        copies: The number of copies of the kernel in the model.
        eight_bit_weights: The form of 8-bit weights, as in `export_onnx`.

    Raises:
        ExportError: If an operator of the kernel has no form in ONNX.
    """
    writer, quantized = Writer(eight_bit_weights), numerics.on_integers
    networks = [kernel_network(kernel, numerics, copy=copy) for copy in range(copies)]
    gives = [_written(network, writer, kernel, quantized=quantized) for network in networks]
    grids = grids_of(networks[0]) if quantized else {}
    last = has_channels_last(kernel)
    reads = [
        read_code(op, last=last) if name in grids else declared(op)
        for name, op in networks[0].graph.inputs.items()
    ]
    return model_of(writer, reads, gives, texts={}).SerializeToString()


def _written(
    network: Deployed, writer: Writer, kernel: Kernel, *, quantized: bool
) -> onnx.ValueInfoProto:
    """Write a copy of a kernel; returns its output."""
    writer.forget_readings()
    graph, grids = network.graph, grids_of(network) if quantized else {}
    last = quantized and has_channels_last(kernel)
    given = {
        name: given_code(writer, op, grids[name], last=last) if name in grids else Value(name)
        for name, op in graph.inputs.items()
    }
    end = end_of(graph, graph.output)
    ends = {graph.output: end} if quantized else {}
    value = write_network(network, writer, given, ends=ends)[graph.output]
    name, shape = writer.code(value, end) if quantized else writer.plain(value), kernel.output
    if is_cut(kernel):
        name, shape = cut(writer, name, shape)
    elif last:
        name, shape = channels_last(writer, name, shape)
    return tensor(name, shape, element_type(quantized=quantized))


def has_channels_last(kernel: Kernel) -> bool:
    """Whether a kernel on integers has its images in memory with channels last.

    True for sums, products and activations of images. Between convolutions on integers, onnxruntime
    holds images so, and kernels of this kind run on them as they are. A product of an image with a
    number per channel then takes another time than with channels first. A resizing is left out:
    onnxruntime 1.32 refuses models in which it moves a Transpose behind a Resize.
    """
    images = all(len(shape) == 3 for shape in (*kernel.inputs, kernel.output))
    alone = all(
        op.channelwise and op.weight_shape(*reads) is None and not isinstance(op, Resize)
        for op, reads in kernel.members()
    )
    return images and alone and kernel.output in kernel.inputs


def read_code(op: Input, *, last: bool) -> onnx.ValueInfoProto:
    """The declaration of an input of codes, an image with channels last where `last` says so."""
    shape = (*op.shape[1:], op.shape[0]) if last else op.shape
    return tensor(op.name, shape, element_type(quantized=True))


def given_code(writer: Writer, op: Input, scale: ActivationScale, *, last: bool) -> Value:
    """The tensor of an input of codes; a runtime moves its Transpose to the end, and drops both."""
    name = writer.node("Transpose", op.name, perm=[0, 3, 1, 2]) if last else op.name
    return writer.given(name, scale)


def channels_last(writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    """Write a node that puts the channels of an image last; returns the result and its shape."""
    return writer.node("Transpose", name, perm=[0, 2, 3, 1]), (*shape[1:], shape[0])


def end_of(graph: Graph, address: str) -> ActivationScale:
    """The grid on which a result of a kernel on integers leaves a model."""
    return scale_of(_CODES, positive=never_negative(graph)[address])


def grids_of(network: Deployed) -> dict[str, ActivationScale]:
    """The scale of each input whose readers all quantize it with the same scale."""
    found: dict[str, set[ActivationScale | None]] = {}
    for address, node in network.graph.nodes.items():
        for slot, read in enumerate(node.inputs):
            found.setdefault(read, set()).add(network.inputs.get((address, slot)))
    alone = {
        address: found[address].pop()
        for address in network.graph.inputs
        if len(found[address]) == 1
    }
    return {address: scale for address, scale in alone.items() if scale is not None}


def is_cut(kernel: Kernel) -> bool:
    """Whether `kernel_model` cuts the output of a kernel to one pixel per channel.

    True for kernels with a convolution, the operator whose weight has a window.
    """
    weight = kernel.op.deployed(*kernel.inputs).get("weight")
    return weight is not None and "window" in weight.roles


def cut(writer: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    """Write nodes that cut an image to one pixel per channel; returns the result and its shape."""
    channels, height, width = shape
    pixel = writer.node("MaxPool", name, kernel_shape=[1, 1], strides=[height, width])
    return pixel, (channels, 1, 1)


def empty_model(*, quantized: bool, copies: int) -> bytes:
    """A model like `kernel_model` without the convolutions, whose latency is to be subtracted."""
    writer, kind, shape = Writer(), element_type(quantized=quantized), (16, 4, 4)
    gives = [tensor(*cut(writer, "input0", shape), kind) for _ in range(copies)]
    return model_of(writer, [tensor("input0", shape, kind)], gives, texts={}).SerializeToString()


def element_type(*, quantized: bool) -> int:
    """The type of the numbers that pass into or out of a kernel."""
    return onnx.TensorProto.UINT8 if quantized else onnx.TensorProto.FLOAT
