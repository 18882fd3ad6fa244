"""Zero-cost proxies: their type, and the values that they give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from predictors.proxies.layers import path_of
from predictors.proxies.subject import Subject


@dataclass(frozen=True)
class Value:
    """The value of a proxy for a network, and its values for the layers of the network.

    Attributes:
        total: The value for the network; NaN where the proxy is not defined for it.
        layers: The path of a module, such as `stage1.0.conv` -> the value for this module. Empty
            for a proxy that says nothing of layers.
    """

    total: float
    layers: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def summed(cls, layers: Mapping[str, float]) -> Value:
        """The values of layers, with their sum as the value for the network."""
        return cls(float(sum(layers.values())), layers)

    @classmethod
    def of_parameters(cls, values: Mapping[str, float]) -> Value:
        """The values of parameters, by name, summed over each layer and over the network."""
        layers: dict[str, float] = defaultdict(float)
        for name, value in values.items():
            layers[path_of(name)] += value
        return cls.summed(dict(layers))


@dataclass(frozen=True)
class Proxy:
    """A function that scores an untrained or shared-weight module without training it.

    Attributes:
        score: Maps a subject (a module, a batch and a loss) to values by name. What the subject
            computes once, such as gradients, serves all proxies. The function leaves the module
            unchanged, also after an error. It draws no random number from torch's own generators,
            and the same subject gives the same values. A name that it leaves out counts as NaN.
        larger_is_better: For every name that `score` returns, whether a larger value promises a
            smaller loss.
        of_precision: Whether the proxy compares the network with its quantized form, so that the
            subject should have one.
    """

    score: Callable[[Subject], Mapping[str, Value]]
    larger_is_better: Mapping[str, bool]
    of_precision: bool = False
