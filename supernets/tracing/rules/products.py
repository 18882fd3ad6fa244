"""Linear layers, products of matrices, and embeddings."""

from __future__ import annotations

from dataclasses import replace

import torch

from search_spaces.ops import Embedding, Input, Linear, MatMul, Permute
from supernets.tracing.site import Site, constant, rule
from supernets.tracing.values import Constant, Held, Value


@rule("linear")
def _(site: Site) -> Value:
    value, weight, bias = site["input"], constant(site["weight"]), site["bias"]
    if not isinstance(value, Held) or weight is None or (bias is not None and not constant(bias)):
        return None
    return _linear(site, value, weight, bias)


@rule("addmm")
def _(site: Site) -> Value:
    value, weight, bias = site["mat1"], constant(site["mat2"]), constant(site["self"])
    if not isinstance(value, Held) or weight is None or bias is None or bias.value.dim() != 1:
        return None
    if (site["alpha"], site["beta"]) != (1, 1):
        return None
    return _linear(site, value, replace(weight, value=weight.value.t()), bias)


def _linear(site: Site, value: Held, weight: Constant, bias: Constant | None) -> Value:
    if site.axis(value, -1) is None or weight.value.dim() != 2:
        return None
    out = weight.value.shape[0]
    tensors = {"weight": weight, "bias": torch.zeros(out) if bias is None else bias}
    return site.like(value, site.add(Linear(out), value.address, main=True, tensors=tensors))


@rule("matmul", "mm", "bmm")
def _(site: Site) -> Value:
    first = site["self"]
    second = site["other"] if "other" in site.given else site["mat2"]
    if isinstance(first, Held) and (weight := constant(second)) is not None:
        if weight.value.dim() != 2 or len(first.called) < 2:
            return None
        return _linear(site, first, replace(weight, value=weight.value.t()), None)
    if isinstance(second, Held) and (weight := constant(first)) is not None:
        return _from_left(site, weight, second)
    if isinstance(first, Held) and isinstance(second, Held):
        return product(site, first, second)
    return None


def _from_left(site: Site, weight: Constant, value: Held) -> Value:
    """The product of a constant matrix with a tensor: a linear layer over the last axis but one."""
    axes = [site.axis(value, -2), site.axis(value, -1)]
    if weight.value.dim() != 2 or None in axes:
        return None
    order = [*range(len(site.sample(value)))]
    order[-2:] = reversed(order[-2:])
    address = site.build.permuted(site.call, value.address, order)
    tensors = {"weight": weight, "bias": torch.zeros(len(weight.value))}
    address = site.add(Linear(len(weight.value)), address, main=True, tensors=tensors)
    return site.like(value, site.build.permuted(site.call, address, order))


def product(site: Site, first: Held, second: Held, scale: float = 1.0) -> Value:
    """The product of two tensors, `(..., m, k)` and `(..., k, n)`, or None if none of ours fits."""
    ranks = len(first.called), len(second.called)
    if ranks[0] != ranks[1] or ranks[0] < 3 or first.layout != second.layout:
        return None
    if first.layout.axis >= ranks[0] - 2:
        return None
    shapes = site.sample(first), site.sample(second)
    if shapes[0][:-2] != shapes[1][:-2]:
        return None
    address, transposed = untransposed(site, second.address)
    op = MatMul(transposed, scale)
    address = site.add(op, first.address, address, word="matmul")
    shape = (*first.called[:-1], second.called[-1])
    return site.build.held(site.call, address, first.layout, shape)


def untransposed(site: Site, address: str) -> tuple[str, bool]:
    """The node before a swap of the last two axes, and whether there is such a swap."""
    op = site.build.op(address)
    if isinstance(op, Permute):
        last = [*range(len(op.order))]
        last[-2:] = reversed(last[-2:])
        if [*op.order] == last:
            return site.build.source(address), True
    return address, False


@rule("embedding")
def _(site: Site) -> Value:
    table, tokens = constant(site["weight"]), site["indices"]
    if table is None or not isinstance(tokens, Held) or site["scale_grad_by_freq"]:
        return None
    if not isinstance(site.build.op(tokens.address), Input):
        return None
    count, out = table.value.shape
    op, tensors = Embedding(count, out), {"weight": table}
    return site.like(tokens, site.add(op, tokens.address, main=True, tensors=tensors))
