"""A hardware target: what a device runs, how it fuses, and what every kernel costs on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from nas.saturation import EightBitWeights
from nas.targets.capability import Bits, Capability
from nas.targets.network_costs import KernelFigure, NetworkCosts, PopulationCost, executes, priced
from nas.targets.rules import Rules
from search_spaces.costs import KernelCost, SpaceKernels
from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, Kernel
from search_spaces.ops import Op
from search_spaces.space import SearchSpace

Provenance = Literal["measured", "imported", "simulated", "predicted", "analytical"]


class CostModel(Protocol):
    """Where a target's figures come from: a table, a roofline, or what a user brings."""

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Bits], float]]:
        """Cost name with its unit -> the cost of a kernel that computes in the given bits."""
        ...

    def require(self, kernels: Iterable[tuple[Kernel, Bits]]) -> None:
        """Raise `TargetError` naming every one of `kernels` that there is no figure for."""
        ...


@dataclass(frozen=True, eq=False)
class HardwareTarget:
    """One device and runtime, as seen by costs.

    Attributes:
        name: What recipes and reports call it.
        device: The hardware, in words.
        runtime: What runs the model there, in words.
        provenance: How its figures came about; reports repeat it.
        capability: What it runs natively, and what happens otherwise.
        fusion: What it runs as one kernel.
        model: The figures.
        source: Where the figures come from, in words.
        rules: What it does beyond single kernels.
        eight_bit_weights: How 8-bit weights meet quantized inputs in the files made for it.
        notes: How the figures came about: runtime, threads, batch, date, clock and the like.
    """

    name: str
    device: str
    runtime: str
    provenance: Provenance
    capability: Capability
    fusion: Fusion
    model: CostModel
    source: str = ""
    rules: Rules = field(default_factory=Rules)
    eight_bit_weights: EightBitWeights = "unsigned"
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def kernel_costs(self) -> Mapping[str, KernelCost]:
        """Cost name -> the cost of one kernel; at least `latency_ms`."""
        return {name: self._of_kernel(figure) for name, figure in self.model.costs.items()}

    def kernel_cost(self, kernel: Kernel) -> float:
        """Latency of one kernel in ms: 0 for the input image, infinite where it is refused."""
        return self.kernel_costs["latency_ms"](kernel)

    def compile(self, space: SearchSpace) -> dict[str, PopulationCost]:
        """Every cost of every genotype of `space`, by name with its unit.

        Those of its figures, such as `latency_ms`; `model_bytes` as this device stores it,
        `peak_activation_bytes`, and `memory_bytes`, which is both together. All are infinite where
        the device refuses the network.

        Raises:
            TargetError: If a kernel that the target would run has no figure.
        """
        return self._network_costs(space_kernels(space, self.fusion))

    def costs(self, graph: Graph) -> dict[str, float]:
        """Every cost of one resolved network, as `compile` has them.

        Raises:
            TargetError: If a kernel of it has no figure.
        """
        compiled = self._network_costs(SpaceKernels(SearchSpace(graph), self.fusion))
        only = np.zeros((1, 0), dtype=np.int64)
        return {name: float(cost(only)[0]) for name, cost in compiled.items()}

    def _network_costs(self, kernels: SpaceKernels) -> dict[str, PopulationCost]:
        network = NetworkCosts(kernels, self.bits, self.rules)
        self.model.require(network.runs)
        return network.all(self.model.costs)

    @property
    def limits(self) -> dict[str, float]:
        """Hard upper limits on costs that the device's memory sets, by cost name."""
        memory = self.rules.memory
        known = {
            "memory_bytes": memory.total_bytes,
            "peak_activation_bytes": memory.activation_bytes,
            "model_bytes": memory.model_bytes,
        }
        return {name: limit for name, limit in known.items() if limit is not None}

    def runs(self, kernels: Iterable[Kernel]) -> list[tuple[Kernel, Bits]]:
        """Those of `kernels` that the target runs, each with the bits that it computes in."""
        contained = ((k, self.bits(k)) for k in kernels if executes(k))
        return [(kernel, bits) for kernel, bits in contained if bits is not None]

    def natively(self, space: SearchSpace) -> list[tuple[Kernel, Bits]]:
        """Every kernel of `space` as it runs and at the widest it can: what a table should hold.

        This is more than the space needs, so that full precision can be quoted beside it.
        """
        kernels = space_kernels(space, self.fusion).distinct()
        return [
            (k, bits)
            for k, own in self.runs(kernels)
            for bits in (own, max(self.capability.native(deciding(k)[0]), key=_width))
        ]

    def bits(self, kernel: Kernel) -> Bits | None:
        """The widths that a kernel computes in, or None where it is refused.

        Its weighted operators decide: the widest where they differ, none where one is refused.
        """
        contained = [self.capability.container(op) for op in deciding(kernel)]
        found = [bits for bits in contained if bits is not None]
        if len(found) < len(contained):
            return None
        return max(found, key=_width)

    def _of_kernel(self, figure: KernelFigure) -> KernelCost:
        price = priced(figure)
        return lambda kernel: price(kernel, self.bits(kernel))


def deciding(kernel: Kernel) -> tuple[Op, ...]:
    """The operators that decide in which bits a kernel computes: those with a weight, if any."""
    weighted = (op for op, reads in kernel.members() if op.weight_shape(*reads) is not None)
    return tuple(weighted) or (kernel.op,)


def _width(bits: Bits) -> tuple[int, int]:
    return bits.product, bits.weight or 0


@functools.lru_cache(maxsize=8)
def space_kernels(space: SearchSpace, fusion: Fusion) -> SpaceKernels:
    """The kernels of `space`, enumerated once for all the targets that fuse alike."""
    return SpaceKernels(space, fusion)
