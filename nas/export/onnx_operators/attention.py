"""The operators of attention, and those on sequences of tokens."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nas.export.onnx_operators.site import Site, write
from nas.export.onnx_operators.structure import transposed, viewed
from nas.export.stored_weights import looked_up, stored_codes
from nas.export.writer import Value
from search_spaces.ops import (
    Embedding,
    Learned,
    MatMul,
    MeanTokens,
    MergeHeads,
    PositionalEmbedding,
    Softmax,
    SplitHeads,
)
from supernets.deployed import values
from supernets.encoded import EncodedTensor

_EXCHANGED = (1, 0, 2)  # heads and tokens


@write.register
def _(op: SplitHeads, site: Site) -> Value:
    return transposed(site, viewed(site, (0, 0, op.heads, -1)), _EXCHANGED)


@write.register
def _(op: MergeHeads, site: Site) -> Value:
    together = transposed(site, site.inputs[0], _EXCHANGED)
    return replace(together, shape=(0, 0, -1))


@write.register
def _(op: MatMul, site: Site) -> Value:
    second = _turned(site) if op.transposed else site.read(1)
    product = site.node("MatMul", site.read(0), second)
    if op.scale == 1:
        return product
    return Value(site.writer.node("Mul", product.name, site.writer.float32(op.scale)))


def _turned(site: Site) -> str:
    """The second input of a product with its last two axes exchanged.

    Codes are exchanged as codes, since onnxruntime multiplies codes only if the product reads a
    DequantizeLinear.
    """
    writer, value, scale = site.writer, site.inputs[1], site.scales[1]
    *before, rows, columns = range(1 + len(site.shapes[1]))
    read = writer.plain(value) if scale is None else writer.code(value, scale)
    turned = writer.node("Transpose", read, perm=(*before, columns, rows))
    return turned if scale is None else writer.dequantized(turned, scale)


@write.register
def _(op: Softmax, site: Site) -> Value:
    if not op.causal:
        return site.node("Softmax", site.read(), axis=-1)
    lowest = np.full(site.shapes[0][-2:], np.finfo(np.float32).min, np.float32)
    masked = site.node("Add", site.read(), site.writer.floats(np.triu(lowest, 1)))
    return Value(site.writer.node("Softmax", masked.name, axis=-1))


@write.register
def _(op: Embedding, site: Site) -> Value:
    held, tokens = site.parameters.get("weight"), site.writer.plain(site.inputs[0])
    if not isinstance(held, EncodedTensor):
        return site.node("Gather", site.floats("weight"), tokens)
    # Codes are looked up before they are dequantized, so that no run dequantizes the whole table.
    found = site.node("Gather", stored_codes(site.writer, held, site.address), tokens).name
    on_grid = held.quant.granularity.single and held.quant.format.scaled
    return Value(looked_up(site.writer, held, found, tokens), on_grid=on_grid)


@write.register
def _(op: Learned, site: Site) -> Value:
    held = site.writer.floats(values(site.parameters["numbers"])[None])
    return Value(held, samples=(site.writer.plain(site.inputs[0]), 1 + len(op.shape)))


@write.register
def _(op: PositionalEmbedding, site: Site) -> Value:
    return site.node("Add", site.read(), site.floats("positions"))


@write.register
def _(op: MeanTokens, site: Site) -> Value:
    return site.node("ReduceMean", site.read(), site.writer.int64(1), keepdims=0)
