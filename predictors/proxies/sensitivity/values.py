"""Sensitivities as values by address and precision, and as a cost of whole populations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from search_spaces.choice import variants
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.quant import Quant, bits_of

Values = Mapping[tuple[str, Quant | None], float]


def open_precisions(
    graph: Graph, tensor: Literal["weight", "activation"]
) -> dict[str, tuple[Quant | None, ...]]:
    """The precisions among which each layer of a space chooses, by address.

    Layers with a fixed precision are left out.

    Args:
        graph: The graph of the space.
        tensor: Whether the precision of the weight or that of the inputs is meant.
    """
    found = {
        address: tuple(dict.fromkeys(getattr(form, tensor) for form in variants(node.op)))
        for address, node in graph.nodes.items()
    }
    return {address: options for address, options in found.items() if len(options) > 1}


@dataclass(frozen=True)
class SensitivityCost:
    """A cost of a kernel: the sensitivity to its weight precision plus that to its input precision.

    `SpaceKernels.compile_by_address` compiles it to a feature of whole populations. An address
    without values has a fixed precision and costs nothing.

    Attributes:
        weights: Address and precision of the weight -> sensitivity.
        activations: Address and precision of the inputs -> sensitivity.
    """

    weights: Values = field(default_factory=dict)
    activations: Values = field(default_factory=dict)

    def __call__(self, address: str, kernel: Kernel) -> float:
        """The cost of `kernel`, which ends at `address`.

        Raises:
            ValueError: If values are known for the address, but not for the precision of `kernel`.
        """
        weight = _value(self.weights, address, kernel.op.weight)
        return weight + _value(self.activations, address, kernel.op.activation)


def _value(values: Values, address: str, quant: Quant | None) -> float:
    if (address, quant) in values:
        return values[address, quant]
    measured = _measured(values, address)
    if measured:
        raise ValueError(
            f"the sensitivity of {address!r} is known for {measured}, asked for {quant}; measure "
            "every precision that `open_precisions(space.graph, ...)` lists"
        )
    return 0.0


def _measured(values: Iterable[tuple[str, Quant | None]], address: str) -> list[Quant | None]:
    return [quant for known, quant in values if known == address]


def repaired(values: Values) -> dict[tuple[str, Quant | None], float]:
    """The values with none that rises with the bits, at each address.

    A measured distance of few samples may rise by chance; a solver would then buy fewer bits for
    more accuracy. Of two formats of equal bits, each keeps its own value.
    """
    result = dict(values)
    for address in dict.fromkeys(address for address, _ in values):
        least = float("inf")
        held = {quant: value for (at, quant), value in values.items() if at == address}
        for bits in sorted({bits_of(quant) for quant in held}):
            alike = [quant for quant in held if bits_of(quant) == bits]
            for quant in alike:
                result[address, quant] = min(held[quant], least)
            least = min(least, *(held[quant] for quant in alike))
    return result


def repaired_cost(cost: SensitivityCost) -> SensitivityCost:
    """The sensitivities after `repaired`."""
    return SensitivityCost(repaired(cost.weights), repaired(cost.activations))
