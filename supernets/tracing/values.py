"""The values that the calls of a model read and give while they become a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from supernets.tracing.layout import Layout


@dataclass(frozen=True)
class Held:
    """A tensor that a node of the graph holds.

    Attributes:
        address: The address of the node.
        layout: How the call holds the batch.
        called: The shape of the tensor in the call, for the first batch size.
        dtype: The type of the numbers.
    """

    address: str
    layout: Layout
    called: tuple[int, ...]
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the inputs, with its numbers for the first batch size.

    Attributes:
        value: The tensor.
        name: Its name in the model; None for one that is computed.
        trained: Whether it is a parameter of the model, or computed from parameters.
        layout: How the tensor holds the batch; None if its shape does not depend on the batch.
    """

    value: Tensor
    name: str | None = None
    trained: bool = False
    layout: Layout | None = None


Value = Held | Constant | Sequence[Any] | None
