"""What a genotype costs: multiply-accumulates, BitOPs, bytes, peak activation.

Each cost is a function of one kernel. Over a resolved graph it is summed (`total`); over a whole
space it is compiled once into small tables, so that a population's cost is a few numpy gathers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import choices_in, resolve
from search_spaces.fusion import UNFUSED, Fusion, Group, Groups, Layout
from search_spaces.graph import Graph, inferred
from search_spaces.kernels import Kernel, kernels
from search_spaces.lookups import LARGEST_SPACE, Lookup, Lookups, SpaceTooLarge, merged, tabulate
from search_spaces.ops import Op, Shape
from search_spaces.quant import bits_of
from search_spaces.space import IntArray, SearchSpace

T = TypeVar("T", bound=Hashable)
FloatArray = NDArray[np.float64]
KernelCost = Callable[[Kernel], float]

PARAMETER_BYTES = 4
SCALE_BYTES = 4
_CHUNK = 1 << 13


def macs(kernel: Kernel) -> float:
    """Multiply-accumulates per sample."""
    return float(kernel.macs)


def bitops(kernel: Kernel) -> float:
    """MACs x weight bits x activation bits; 32 bits where there is no quantization."""
    return float(
        sum(
            op.macs(*reads) * bits_of(op.weight) * bits_of(op.activation)
            for op, reads in kernel.members()
        )
    )


def parameters(kernel: Kernel) -> float:
    """Weights and biases, with norms folded in."""
    return float(
        sum(
            math.prod(parameter.shape)
            for op, reads in kernel.members()
            for parameter in op.deployed(*reads).values()
        )
    )


def model_bytes(kernel: Kernel) -> float:
    """Stored size: weights packed at their bits, 32-bit biases, a 32-bit scale per step."""
    return float(sum(stored_bytes(op, reads, bits_of(op.weight)) for op, reads in kernel.members()))


def stored_bytes(op: Op, reads: Sequence[Shape], weight_bits: int) -> int:
    """Bytes of an operator's weight at `weight_bits`, its scales and its other parameters."""
    held = dict(op.deployed(*reads))
    weight = held.pop("weight", None)
    others = sum(math.prod(parameter.shape) for parameter in held.values()) * PARAMETER_BYTES
    if weight is None:
        return others
    per_channel = op.weight is not None and op.weight.per_channel
    scales = 0 if op.weight is None else weight.shape[0] if per_channel else 1
    packed = math.ceil(math.prod(weight.shape) * weight_bits / 8)
    return packed + others + scales * SCALE_BYTES


def total(cost: KernelCost, graph: Graph, fusion: Fusion = UNFUSED) -> float:
    """The sum of `cost` over the kernels of a resolved graph."""
    return sum(cost(kernel) for _, kernel in kernels(graph, fusion))


class CompiledCost:
    """A cost of every genotype of a space: called with `(n, choices)`, gives `(n,)`."""

    def __init__(self, space: SearchSpace, tables: Sequence[Lookup]) -> None:
        self.tables = merged(tables)
        self._entries = Lookups(self.tables, space.column)

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of every row of `(n, choices)`, as `(n,)`."""
        result = np.empty(len(genotypes))
        for start in range(0, len(genotypes), _CHUNK):
            rows = slice(start, start + _CHUNK)
            self._entries(genotypes[rows]).sum(axis=0, out=result[rows])
        return result


class SpaceKernels:
    """The fused kernels of a whole space, each as a table over the few choices that shape it.

    Built once per space and fusion; every cost then compiles from it without walking the graph.

    Attributes:
        kernels: Every distinct kernel by its number; number 0 is none.
        tables: Address -> the number of the kernel whose result is that of the node, 0 where it is
            absent or runs inside another kernel. Addresses that never end a kernel are left out.
        groups: Every distinct group of nodes by its number; number 0 is none.
        grouping: Address -> the number of the group that ends there, like `tables`.
        shapes: Every distinct shape by its number.
        shape_tables: Address -> the number of the shape that it hands on.
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
        """`cost` summed over the kernels of every genotype."""
        return self.summed(np.array([0.0, *map(cost, self.distinct())]))

    def summed(self, by_kernel: FloatArray) -> CompiledCost:
        """The sum of `by_kernel`, `(kernels,)` with 0 for none, over every genotype's kernels."""
        tables = self.tables.values()
        spread = [Lookup(table.choices, by_kernel[table.values]).minimal() for table in tables]
        return CompiledCost(self.space, spread)

    def compile_by_address(self, cost: Callable[[str, Kernel], float]) -> CompiledCost:
        """`compile` for a cost that also depends on the address of a kernel's result."""

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
        """The number of `item`, which is its place `among` its like."""
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
    """Resolves `op`, remembering each form by the picks of the choices that it holds."""
    names = tuple(dict.fromkeys(found.name for found in choices_in(op)))
    known: dict[tuple[int, ...], Op] = {}

    def resolved(picks: Mapping[str, int]) -> Op:
        key = tuple(picks[name] for name in names)
        if key not in known:
            known[key] = resolve(op, picks)
        return known[key]

    return resolved


def compile_cost(space: SearchSpace, cost: KernelCost) -> CompiledCost:
    """`cost` of every genotype of `space`, over unfused operators."""
    return SpaceKernels(space).compile(cost)
