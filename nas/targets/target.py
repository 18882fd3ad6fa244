"""A hardware target: what a device can run, how it fuses operators, what each kernel costs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from nas.targets.capability import Capability
from nas.targets.device_costs import DeviceCosts
from nas.targets.errors import TargetError
from nas.targets.network_costs import KernelFigure, NetworkCosts, PopulationCost, priced
from nas.targets.numerics import FULL, Numerics
from nas.targets.rules import Rules
from nas.targets.saturation import EightBitWeights
from nas.targets.seams.seam_cost import SeamCost
from nas.targets.seams.space_seams import SpaceSeams
from nas.targets.seams.table import SeamTable
from search_spaces.costs import KernelCost, SpaceKernels
from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, Kernel
from search_spaces.notebook import html_table
from search_spaces.ops import Op
from search_spaces.space import SearchSpace

Provenance = Literal["measured", "imported", "simulated", "predicted", "analytical"]


class CostModel(Protocol):
    """A source of kernel costs: a latency table, a roofline, or a model of the user's own."""

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Numerics], float]]:
        """The costs by name with unit, such as `latency_ms`.

        Each is a function of a kernel and the formats in which it computes.
        """
        ...

    def lacking(self, kernels: Iterable[tuple[Kernel, Numerics]]) -> str | None:
        """The kernels that the model has no cost for and the remedy, in words; None if all have."""
        ...


@dataclass(frozen=True, eq=False)
class HardwareTarget:
    """A device with its runtime: the operators it can run, and the costs of networks on it.

    Attributes:
        name: The name of the target in recipes and reports.
        device: The hardware, in words.
        runtime: The software that runs the model, in words.
        provenance: Whether the costs are measured, imported, simulated, predicted or analytical;
            reports repeat it.
        capability: The precisions that the device runs natively, and what happens to all others.
        fusion: The operators that run as one kernel.
        model: The costs of kernels.
        source: The origin of the costs, in words.
        rules: How the costs of kernels make the cost of a network.
        seams: What tensors between kernels add to the latency; None where that is not measured.
        eight_bit_weights: Whether files for this target hold 8-bit weights as unsigned or signed
            integers where their input is quantized.
        notes: Conditions of the measurement: runtime, threads, batch, date, clock and the like.
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
    seams: SeamTable | None = None
    eight_bit_weights: EightBitWeights = "unsigned"
    notes: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        where, costs = f"{self.device}, {self.runtime}", ", ".join(self.model.costs)
        return f"<HardwareTarget {self.name!r}: {where}; {self.provenance} {costs}>"

    def _repr_html_(self) -> str:
        rows = [
            ("device", self.device),
            ("runtime", self.runtime),
            ("costs", f"{', '.join(self.model.costs)} ({self.provenance})"),
            *((f"most {name}", f"{limit:,.0f}") for name, limit in self.limits.items()),
            *self.notes.items(),
        ]
        return html_table(f"Target {self.name}", ("", ""), rows)

    @property
    def kernel_costs(self) -> Mapping[str, KernelCost]:
        """The costs of one kernel by name, at least `latency_ms`."""
        return {name: self._of_kernel(figure) for name, figure in self.model.costs.items()}

    def kernel_cost(self, kernel: Kernel) -> float:
        """The latency of one kernel in ms: 0 for an input, infinite for a refused kernel."""
        return self.kernel_costs["latency_ms"](kernel)

    def compile(self, space: SearchSpace) -> DeviceCosts:
        """The costs of every genotype of `space`, by name with unit, and the device's own limits.

        The costs are those of the cost model, such as `latency_ms`; `model_bytes` as this device
        stores the model; `peak_activation_bytes`; and `memory_bytes`, the sum of the last two. All
        are infinite for a network that the device refuses.

        Raises:
            TargetError: If the cost model lacks a kernel that the device would run.
        """
        return DeviceCosts(self._network_costs(space_kernels(space, self.fusion)), self.limits)

    def costs(self, graph: Graph) -> dict[str, float]:
        """The costs of one resolved network, by name as in `compile`.

        Raises:
            TargetError: If the cost model lacks a kernel of the network.
        """
        compiled = self._network_costs(SpaceKernels(SearchSpace(graph), self.fusion))
        only = np.zeros((1, 0), dtype=np.int64)
        return {name: float(cost(only)[0]) for name, cost in compiled.items()}

    def _network_costs(self, kernels: SpaceKernels) -> dict[str, PopulationCost]:
        network = NetworkCosts(kernels, self.numerics, self.rules)
        if (reason := self.model.lacking(network.runs)) is not None:
            raise TargetError(reason)
        if self.seams is None:
            return network.all(self.model.costs)
        seams = self._seams_of(kernels)
        if (reason := self._lacking(seams, self.seams)) is not None:
            raise TargetError(reason)
        alone = self.model.costs["latency_ms"]
        between = SeamCost(seams, self.seams.added_ms, alone=alone)
        return network.all(self.model.costs, between=between)

    def _seams_of(self, kernels: SpaceKernels) -> SpaceSeams:
        return SpaceSeams(kernels, self.numerics, in_floats=self.in_floats)

    def _lacking(self, seams: SpaceSeams, table: SeamTable) -> str | None:
        floats = [(kernel, floats) for kernel, _, floats in seams.falling.values()]
        return self.model.lacking(floats) or table.lacking(seams.distinct())

    def lacking(self, space: SearchSpace) -> str | None:
        """The figures that `compile` would lack for `space`, in words; None if it has them all.

        A target whose table is still to be measured lacks some.
        """
        kernels = space_kernels(space, self.fusion)
        reason = self.model.lacking(self.runs(kernels.distinct()))
        if reason is not None or self.seams is None:
            return reason
        return self._lacking(self._seams_of(kernels), self.seams)

    @property
    def limits(self) -> dict[str, float]:
        """The hard upper limits that the device's memory sets, by name of the cost."""
        memory = self.rules.memory
        known = {
            "model_bytes": memory.flash_bytes,
            "peak_activation_bytes": memory.ram_bytes,
            "memory_bytes": memory.total_bytes,
        }
        return {name: limit for name, limit in known.items() if limit is not None}

    def runs(self, kernels: Iterable[Kernel]) -> list[tuple[Kernel, Numerics]]:
        """The kernels among `kernels` that the target runs, each with its formats there."""
        contained = ((k, self.numerics(k)) for k in kernels if k.runs)
        return [(kernel, numerics) for kernel, numerics in contained if numerics is not None]

    def natively(self, space: SearchSpace) -> list[tuple[Kernel, Numerics]]:
        """The kernels that a latency table for `space` should hold, each with its formats.

        Every kernel comes in the formats in which it runs and also in the widest native ones. The
        latter are not needed for the space; reports compare with full precision.
        """
        kernels = space_kernels(space, self.fusion).distinct()
        return [
            (k, numerics) for k, own in self.runs(kernels) for numerics in (own, self._widest(k))
        ]

    def in_floats(self, kernel: Kernel) -> Numerics | None:
        """The formats in which a kernel computes in floats; None where the device has none."""
        widest = self._widest(kernel)
        return widest if widest.activation == FULL else None

    def _widest(self, kernel: Kernel) -> Numerics:
        return max(self.capability.native(deciding(kernel)[0]), key=_width)

    def numerics(self, kernel: Kernel) -> Numerics | None:
        """The formats in which a kernel computes, or None where the kernel is refused.

        Operators with a weight decide: the widest of their formats, and None if one is refused.
        """
        contained = [self.capability.container(op) for op in deciding(kernel)]
        found = [numerics for numerics in contained if numerics is not None]
        if len(found) < len(contained):
            return None
        return max(found, key=_width)

    def _of_kernel(self, figure: KernelFigure) -> KernelCost:
        price = priced(figure)
        return lambda kernel: price(kernel, self.numerics(kernel))


def deciding(kernel: Kernel) -> tuple[Op, ...]:
    """The operators that decide in which formats a kernel computes: those with a weight.

    The anchor where no operator of the kernel has a weight.
    """
    weighted = (op for op, reads in kernel.members() if op.weight_shape(*reads) is not None)
    return tuple(weighted) or (kernel.op,)


def _width(numerics: Numerics) -> tuple[int, int]:
    return numerics.width


@functools.lru_cache(maxsize=8)
def space_kernels(space: SearchSpace, fusion: Fusion) -> SpaceKernels:
    """The kernels of `space` under `fusion`, enumerated once for all targets that fuse alike."""
    return SpaceKernels(space, fusion)
