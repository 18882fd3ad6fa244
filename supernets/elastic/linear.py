"""The fully connected layer."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import Linear, Shape
from supernets.elastic.dispatch import Tensors, compute, filled, stock


@compute.register
def _(op: Linear, tensors: Tensors, *x: Tensor) -> Tensor:
    return F.linear(x[0], *_whole(tensors))


@stock.register
def _(op: Linear, tensors: Tensors, *inputs: Shape) -> nn.Module:
    weight, bias = _whole(tensors)
    made = nn.Linear(inputs[0][-1], len(weight), device="meta")
    return filled(made, {"weight": weight, "bias": bias})


def _whole(tensors: Tensors) -> tuple[Tensor, Tensor]:
    """The weight `(out, in)` and the bias `(out,)`, with heads and their features as one axis."""
    weight, bias = tensors["weight"], tensors["bias"]
    whole = weight.flatten(0, bias.dim() - 1).flatten(1)
    # Contiguous, since a strided weight takes another path through BLAS and other last bits.
    return whole.contiguous(), bias.flatten()
