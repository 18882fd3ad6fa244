"""The operators of attention, and those on sequences of tokens."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import (
    Embedding,
    Learned,
    MatMul,
    MeanTokens,
    MergeHeads,
    PositionalEmbedding,
    Shape,
    Softmax,
    SplitHeads,
)
from supernets.elastic.dispatch import Tensors, compute, filled, stock

# The exponential of the lowest number is zero, as that of minus infinity, which has no Python text.
_LOWEST = torch.finfo(torch.float32).min


@compute.register
def _(op: SplitHeads, tensors: Tensors, *x: Tensor) -> Tensor:
    return x[0].unflatten(-1, (op.heads, -1)).transpose(1, 2)


@compute.register
def _(op: MergeHeads, tensors: Tensors, *x: Tensor) -> Tensor:
    return x[0].transpose(1, 2).flatten(2)


@compute.register
def _(op: MatMul, tensors: Tensors, *x: Tensor) -> Tensor:
    product = torch.matmul(x[0], x[1].transpose(-1, -2) if op.transposed else x[1])
    return product if op.scale == 1 else torch.mul(product, op.scale)


@compute.register
def _(op: Softmax, tensors: Tensors, *x: Tensor) -> Tensor:
    if not op.causal:
        return torch.softmax(x[0], -1)
    later = torch.triu(torch.full_like(x[0], _LOWEST), 1)
    return torch.softmax(torch.add(x[0], later), -1)


@stock.register
def _(op: Softmax, tensors: Tensors, *inputs: Shape) -> nn.Module | None:
    return None if op.causal else nn.Softmax(-1)


@compute.register
def _(op: Embedding, tensors: Tensors, *x: Tensor) -> Tensor:
    return F.embedding(x[0], tensors["weight"])


@stock.register
def _(op: Embedding, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return filled(nn.Embedding(op.count, op.out, device="meta"), tensors)


@compute.register
def _(op: PositionalEmbedding, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.add(x[0], tensors["positions"])


@compute.register
def _(op: MeanTokens, tensors: Tensors, *x: Tensor) -> Tensor:
    return x[0].mean(1)


@compute.register
def _(op: Learned, tensors: Tensors, *x: Tensor) -> Tensor:
    numbers = tensors["numbers"] if op.trained else tensors["numbers"].detach()
    return numbers.unsqueeze(0).expand(x[0].shape[0], *(-1 for _ in op.shape))
