"""Costs of a genotype that are sums over its kernels: MACs, BitOPs, parameters, bytes.

Each cost is a function of one kernel. `total` sums it over a resolved graph. `compile_cost`
tabulates it over a whole space, so that the costs of a population are read by numpy indexing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import choices_in, resolve
from search_spaces.fusion import UNFUSED, Fusion, Group, Layout
from search_spaces.graph import Graph, inferred
from search_spaces.grouping import Groups
from search_spaces.kernels import Kernel, kernels
from search_spaces.lookups import LARGEST_SPACE, Lookup, Lookups, SpaceTooLarge, merged, tabulate
from search_spaces.ops import Op, Shape
from search_spaces.quant import Quant, bits_of
from search_spaces.space import IntArray, SearchSpace

T = TypeVar("T", bound=Hashable)
FloatArray = NDArray[np.float64]
KernelCost = Callable[[Kernel], float]

PARAMETER_BYTES = 4
_CHUNK = 1 << 13


def macs(kernel: Kernel) -> float:
    """The multiply-accumulates of a kernel for one sample."""
    return float(kernel.macs)


def bitops(kernel: Kernel) -> float:
    """The BitOPs of a kernel for one sample: MACs x the bits of both factors.

    The factors are a weight and an activation, or two activations (`Op.products`). A tensor that is
    not quantized counts 32 bits.
    """
    return float(sum(_bitops(op, reads) for op, reads in kernel.members()))


def _bitops(op: Op, reads: Sequence[Shape]) -> int:
    other = op.activation if op.products else op.weight
    return op.macs(*reads) * bits_of(other) * bits_of(op.activation)


def parameters(kernel: Kernel) -> float:
    """The number of weights and biases of a kernel, after norms are folded."""
    return float(
        sum(
            math.prod(parameter.shape)
            for op, reads in kernel.members()
            for parameter in op.deployed(*reads).values()
        )
    )


def model_bytes(kernel: Kernel) -> float:
    """The bytes that a kernel's parameters take in a file.

    Weights are packed at their bit-width, and scales have the bits of their format; each bias takes
    32 bits.
    """
    return float(sum(stored_bytes(op, reads, bits_of(op.weight)) for op, reads in kernel.members()))


def stored_bytes(op: Op, reads: Sequence[Shape], weight_bits: int) -> int:
    """The bytes of an operator's weight at `weight_bits` bits, its scales and other parameters.

    Args:
        op: The resolved operator.
        reads: The shapes of its inputs.
        weight_bits: Bits per element of the weight.
    """
    held = dict(op.deployed(*reads))
    weight = held.pop("weight", None)
    others = sum(math.prod(parameter.shape) for parameter in held.values()) * PARAMETER_BYTES
    if weight is None:
        return others
    packed = math.ceil(math.prod(weight.shape) * weight_bits / 8)
    if op.weight is None:
        return packed + others
    return packed + others + math.ceil(scale_bits(op.weight, weight.shape) / 8)


def scale_bits(quant: Quant, shape: Shape) -> int:
    """The bits of the scales of a weight of this `shape`."""
    return math.prod(quant.granularity.counts(shape)) * quant.scales.bits


def total(cost: KernelCost, graph: Graph, fusion: Fusion = UNFUSED) -> float:
    """The sum of `cost` over the kernels of a resolved graph.

    Raises:
        ValueError: If a region of `fusion` reads more than one tensor or is read at more than one
            node.
    """
    return sum(cost(kernel) for _, kernel in kernels(graph, fusion))


class CompiledCost:
    """A cost of every genotype of a space: called with `(n, choices)`, returns `(n,)`.

    Args:
        space: The space.
        tables: Lookups over choices of the space, whose sum is the cost.
    """

    def __init__(self, space: SearchSpace, tables: Sequence[Lookup]) -> None:
        self.tables = merged(tables)
        self._entries = Lookups(self.tables, space.column)

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of every row of `genotypes` `(n, choices)`, as `(n,)`."""
        result = np.empty(len(genotypes))
        for start in range(0, len(genotypes), _CHUNK):
            rows = slice(start, start + _CHUNK)
            self._entries(genotypes[rows]).sum(axis=0, out=result[rows])
        return result


class SpaceKernels:
    """The fused kernels of a whole space, each as a lookup over the few choices that shape it.

    The kernels are found once per space and fusion; every cost is then compiled from them without
    another walk over the graph. Kernels, groups and shapes are numbered; number 0 of the kernels
    and of the groups is None.

    Attributes:
        kernels: Every distinct kernel by its number.
        tables: Address -> lookup of the number of the kernel that ends at the node, 0 where the
            node is absent or its kernel ends later. Addresses at which no network has the end of
            a kernel are left out.
        groups: Every distinct group of nodes by its number.
        grouping: Address -> lookup of the number of the group that ends at the node, as `tables`.
        shapes: Every distinct shape by its number.
        shape_tables: Address -> lookup of the number of the shape that readers of the node get.

    Raises:
        ValueError: If a region of `fusion` reads more than one tensor or is read at more than one
            node.
        SpaceTooLarge: If the nodes have too many forms to tabulate.
    """

    def __init__(self, space: SearchSpace, fusion: Fusion = UNFUSED) -> None:
        self.space = space
        self.shapes: list[Shape] = []
        self.kernels: list[Kernel | None] = [None]
        self.groups: list[Group | None] = [None]
        self._known: dict[Hashable, int] = {None: 0}
        self._combinations = 0
        self._counts = {c.name: len(c.options) for c in space.choices}
        self._resolvers = {a: _resolver(node.op) for a, node in space.graph.nodes.items()}
        self.shape_tables = self._shape_tables()
        layout = Layout(space.graph, fusion)
        grouping = {a: self._group_table(a, layout) for a in space.graph.nodes}
        self.grouping = {a: table for a, table in grouping.items() if table.values.any()}
        self.tables = {a: self._kernel_table(a, table) for a, table in self.grouping.items()}

    def compile(self, cost: KernelCost) -> CompiledCost:
        """The sum of `cost` over the kernels of every genotype."""
        return self.summed(np.array([0.0, *map(cost, self.distinct())]))

    def summed(self, by_kernel: FloatArray) -> CompiledCost:
        """The sum of `by_kernel` over the kernels of every genotype.

        Args:
            by_kernel: The cost of every kernel by its number, `(kernels,)`; entry 0 is 0.
        """
        tables = self.tables.values()
        spread = [Lookup(table.choices, by_kernel[table.values]).minimal() for table in tables]
        return CompiledCost(self.space, spread)

    def compile_by_address(self, cost: Callable[[str, Kernel], float]) -> CompiledCost:
        """The sum of a cost that depends on a kernel and on the address at which it ends."""

        def known(address: str, number: int) -> float:
            kernel = self.kernels[number]
            return 0.0 if kernel is None else cost(address, kernel)

        tables: list[Lookup] = []
        for address, table in self.tables.items():
            numbers, places = np.unique(table.values, return_inverse=True)
            values = np.array([known(address, number) for number in numbers.tolist()])
            spread = values[places].reshape(table.values.shape)
            tables.append(Lookup(table.choices, spread).minimal())
        return CompiledCost(self.space, tables)

    def distinct(self) -> list[Kernel]:
        """Every kernel that some genotype of the space runs, in order of first appearance."""
        return [kernel for kernel in self.kernels if kernel is not None]

    def _intern(self, item: T, among: list[T]) -> int:
        """The number of `item`: its index in the list `among`, to which a new item is appended."""
        if item not in self._known:
            self._known[item] = len(among)
            among.append(item)
        return self._known[item]

    def _shape_tables(self) -> dict[str, Lookup]:
        tables: dict[str, Lookup] = {}
        for address, node in self.space.graph.nodes.items():
            reads = [tables[read] for read in node.inputs]
            tables[address] = self._tabulate(address, self._handed_on(address, reads))
        return tables

    def _handed_on(
        self, address: str, reads: Sequence[Lookup]
    ) -> Callable[[Mapping[str, int]], int]:
        conditions = self.space.graph.nodes[address].present

        def shape(picks: Mapping[str, int]) -> int:
            if not all(resolve(condition, picks) for condition in conditions):
                return reads[0].at(picks)
            inputs = (self.shapes[read.at(picks)] for read in reads)
            made = inferred(address, self._resolvers[address](picks), *inputs)
            return self._intern(made, self.shapes)

        return shape

    def _group_table(self, address: str, layout: Layout) -> Lookup:
        def group(picks: Mapping[str, int]) -> int:
            return self._intern(Groups(layout, picks).ending_at(address), self.groups)

        return self._tabulate(address, group)

    def _kernel_table(self, address: str, grouping: Lookup) -> Lookup:
        def kernel(picks: Mapping[str, int]) -> int:
            group = self.groups[grouping.at(picks)]
            if group is None:
                return 0
            inputs = tuple(self.shapes[self.shape_tables[read].at(picks)] for read in group.reads)
            anchor, *behind = (self._resolvers[member](picks) for member in group.members)
            made = Kernel(anchor, tuple(behind), inputs, group.wiring)
            return self._intern(made, self.kernels)

        return self._tabulate(address, kernel)

    def _tabulate(self, address: str, value: Callable[[Mapping[str, int]], int]) -> Lookup:
        def counted(picks: Mapping[str, int]) -> int:
            found = value(picks)
            self._combinations += 1
            if self._combinations > LARGEST_SPACE:
                raise SpaceTooLarge(
                    f"the nodes of space {self.space.name!r} up to {address!r} have more than "
                    f"{LARGEST_SPACE:,} forms in all, which takes too long to plan with; give the "
                    f"choices fewer options (the most, {self.space.counts.max()}, has "
                    f"{self.space.choices[int(self.space.counts.argmax())].name!r})"
                )
            return found

        return tabulate(f"node {address!r}", self._counts, counted, np.int64)


def _resolver(op: Op) -> Callable[[Mapping[str, int]], Op]:
    """A function that resolves `op` for picks and remembers every form that it has made."""
    names = tuple(dict.fromkeys(found.name for found in choices_in(op)))
    known: dict[tuple[int, ...], Op] = {}

    def resolved(picks: Mapping[str, int]) -> Op:
        key = tuple(picks[name] for name in names)
        if key not in known:
            known[key] = resolve(op, picks)
        return known[key]

    return resolved


def compile_cost(space: SearchSpace, cost: KernelCost) -> CompiledCost:
    """The compiled `cost` of every genotype of `space`, summed over operators without fusion."""
    return SpaceKernels(space).compile(cost)
