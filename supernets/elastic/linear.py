"""The fully connected layer."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import Linear, Shape
from supernets.elastic.dispatch import Tensors, compute, filled, stock


@compute.register
def _(op: Linear, tensors: Tensors, *x: Tensor) -> Tensor:
    # Contiguous, since a strided weight takes another path through BLAS and other last bits.
    return F.linear(x[0], tensors["weight"].contiguous(), tensors["bias"])


@stock.register
def _(op: Linear, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return filled(nn.Linear(inputs[0][-1], op.out, device="meta"), tensors)
