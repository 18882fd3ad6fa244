"""Proxies composed of simple operations on each weight and its gradient, as those that EMQ finds.

Composition(weight=("abs",), gradient=("abs",), join="multiply").proxy("mine")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject

UNARY: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "abs": torch.abs,
        "square": torch.square,
        "root": lambda x: x.abs().sqrt(),
        "log": lambda x: x.abs().log1p(),
        "exp": lambda x: x.clamp(max=80.0).exp(),
        "negative": torch.neg,
        "sign": torch.sign,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "standard": lambda x: (x - x.mean()) / x.std(correction=0).clamp_min(1e-12),
        "unit": lambda x: x / x.norm().clamp_min(1e-12),
    }
)
"""Name -> operation on a tensor."""

BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "add": torch.add,
        "subtract": torch.subtract,
        "multiply": torch.multiply,
        "largest": torch.maximum,
        "least": torch.minimum,
    }
)
"""Name -> operation on two tensors of the same shape."""


@dataclass(frozen=True)
class Composition:
    """A tree of two branches over a weight w and its gradient g (Dong et al. 2023, EMQ).

    Each branch applies its operations in order, and `join` the last one. The value of a layer is
    the mean over the elements of its tensors, that of the network the sum over tensors.

    Attributes:
        weight: Names of operations in `UNARY` on w.
        gradient: Names of operations in `UNARY` on g.
        join: The name of an operation in `BINARY`.
        larger_is_better: The direction.
    """

    weight: Sequence[str]
    gradient: Sequence[str]
    join: str
    larger_is_better: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in (*self.weight, *self.gradient) if name not in UNARY]
        unknown += [] if self.join in BINARY else [self.join]
        if unknown:
            raise ValueError(
                f"a composition has no operation {', '.join(map(repr, unknown))}; branches know "
                f"{', '.join(UNARY)}, and join knows {', '.join(BINARY)}"
            )

    def __call__(self, weight: Tensor, gradient: Tensor) -> float:
        """The value for one weight tensor and its gradient."""
        left, right = weight.double(), gradient.double()
        for name in self.weight:
            left = UNARY[name](left)
        for name in self.gradient:
            right = UNARY[name](right)
        return float(BINARY[self.join](left, right).mean())

    def proxy(self, name: str) -> Proxy:
        """The proxy of this name; its cost is one forward and one backward pass."""

        def composed(subject: Subject) -> Mapping[str, Value]:
            weights = subject.passed.network.weights
            slopes = subject.slopes.weights
            found = {at: self(w.detach(), slopes[at]) for at, w in weights.items()}
            return {name: Value.of_parameters(found)}

        return Proxy(composed, {name: self.larger_is_better})


EMQ = Composition(("abs", "log"), ("abs", "root"), "multiply").proxy("emq")
"""The proxy `emq`: the mean of log(1 + |w|) times the root of |g|, summed over tensors.

It is an example of a composition, not the one that its authors publish, whose table of operations
is not released.
"""
