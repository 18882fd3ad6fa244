"""Operators with a weight and a bias, in integers where their inputs and results allow it."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.export.containers import ExportError, container_for
from nas.export.onnx_operators.site import Site, write
from nas.export.onnx_operators.windows import moving
from nas.export.stored_weights import (
    folded_weight,
    integer_bias,
    integer_weight,
    is_grouped,
    on_integers,
    unpacked_rows,
    unpacked_weight,
)
from nas.export.writer import Value, Writer
from nas.targets.saturation import adds_pairs
from search_spaces.formats import Int
from search_spaces.ops import Convolution, Linear
from supernets.deployed import Stored, values
from supernets.encoded import EncodedTensor, IntegerBias


@write.register
def _(op: Convolution, site: Site) -> Value:
    window, groups = op.window, op.groups_of(site.shapes[0][0])
    attributes = moving(window)
    if window.dilation != (1, 1):
        attributes["dilations"] = window.dilation
    if groups > 1:
        attributes["group"] = groups
    return weighted(site, "Conv", site.read(), **attributes)


@write.register
def _(op: Linear, site: Site) -> Value:
    # Gemm adds the bias itself, but reads vectors only and unpacks few-bit weights in every run.
    if len(site.shapes[0]) > 1 or _meets_floats(site):
        return multiplied(site, site.read())
    return weighted(site, "Gemm", site.read(), transB=1)


def weighted(site: Site, op_type: str, x: str, **attributes: Any) -> Value:
    """Write a node with a weight and a bias.

    The node is an integer kernel if input and weight are quantized and the result is `rounded`.
    """
    if site.computed:
        return site.node(op_type, x, site.computed["weight"], site.computed["bias"], **attributes)
    writer, scale, (held, bias) = site.writer, site.scales[0], _weight_and_bias(site)
    if not isinstance(held, EncodedTensor):
        x = _kept_apart(site, x)
        weight, added = writer.floats(held), writer.floats(values(bias))
        return site.node(op_type, x, weight, added, **attributes)
    if not on_integers(held, scale) or not (site.rounded or op_type == "Gemm"):
        x = x if on_integers(held, scale) else _kept_apart(site, x)
        weight = _weight_for_floats(writer, held, site.address)
        return site.node(op_type, x, weight, writer.floats(values(bias)), **attributes)
    in_pairs = adds_pairs(held.codes.shape[1], groups=attributes.get("group", 1))
    weight = integer_weight(writer, held, site.address, in_pairs=in_pairs)
    exact = isinstance(bias, IntegerBias)
    added = integer_bias(writer, bias, held) if exact else writer.floats(values(bias))
    return site.node(op_type, x, weight, added, **attributes)


def multiplied(site: Site, x: str) -> Value:
    """Write a product of the last axis of `x` with a matrix, named by the address, plus a bias.

    onnxruntime (1.32) fuses a product of floats with few-bit weights to its MatMulNBits, unless a
    Clip or a QuantizeLinear follows.
    """
    if site.computed:
        matrix = site.writer.node("Transpose", site.computed["weight"], perm=(1, 0))
        product = site.node("MatMul", x, matrix)
        return Value(site.writer.node("Add", product.name, site.computed["bias"]))
    writer, (held, bias), kept = site.writer, _weight_and_bias(site), False
    if isinstance(held, EncodedTensor) and on_integers(held, site.scales[0]):
        weight = integer_weight(writer, held, site.address, in_pairs=True, axis=1)
    else:
        x = _kept_apart(site, x)
        weight, kept = _matrix_for_floats(site, held)
    product = site.node("MatMul", x, weight)
    sums = writer.node("Add", product.name, writer.floats(values(bias)))
    return Value(sums, kept=kept)


def _matrix_for_floats(site: Site, held: EncodedTensor | NDArray[np.float32]) -> tuple[str, bool]:
    """The matrix `(in, out)` of a product in floats, and whether the kernel unpacks its codes."""
    if not isinstance(held, EncodedTensor):
        return site.writer.floats(held.T), False
    if not held.quant.format.scaled:
        return unpacked_weight(site.writer, held, site.address, axis=1), False
    if is_sound(container_for(held.quant).bits, outputs=len(held.codes)):
        return unpacked_weight(site.writer, held, site.address, axis=1), True
    return folded_weight(site.writer, held, site.address, axis=1), False


def is_sound(bits: int, *, outputs: int) -> bool:
    """Whether onnxruntime computes products of floats with few-bit weights correctly.

    Releases 1.31 and 1.32 give wrong numbers for 2 bits unless `outputs` is a multiple of 4.
    """
    return bits > 2 or outputs % 4 == 0


def _weight_for_floats(writer: Writer, held: EncodedTensor, address: str) -> str:
    """The weight of a convolution on floats, output channels first."""
    if isinstance(held.quant.format, Int):
        return folded_weight(writer, held, address)
    return (unpacked_rows if is_grouped(held) else unpacked_weight)(writer, held, address)


def _meets_floats(site: Site) -> bool:
    """Whether floats meet codes that a kernel unpacks, since it does not multiply on integers."""
    held = site.parameters.get("weight")
    if not isinstance(held, EncodedTensor) or not held.quant.format.scaled:
        return False
    return not on_integers(held, site.scales[0])


def _weight_and_bias(site: Site) -> tuple[EncodedTensor | NDArray[np.float32], Stored]:
    held, bias = (site.parameters.get(name) for name in ("weight", "bias"))
    if held is None or bias is None or isinstance(held, IntegerBias):
        raise ExportError(f"node {site.address!r} has no weight and bias; deploy the network again")
    return held, bias


def _kept_apart(site: Site, x: str) -> str:
    """`x` for a kernel in floats, behind a node that changes no number if `x` is dequantized.

    Between a DequantizeLinear and a QuantizeLinear, onnxruntime (1.31) rounds float weights to 8
    bits at load, even if operators that only move numbers lie between. The extra node prevents
    this.
    """
    return site.writer.unchanged(x) if site.on_grid else x
