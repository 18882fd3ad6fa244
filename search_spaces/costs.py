"""What a genotype costs: multiply-accumulates, BitOPs, bytes, peak activation.

Each cost is a function of one kernel. Over a resolved graph it is summed (`total`); over a whole
space it is compiled once into small tables, so that a population's cost is a few numpy gathers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import choices_in, resolve
from search_spaces.graph import Graph, Node
from search_spaces.kernels import UNFUSED, Fusion, Kernel, fused_groups, kernels
from search_spaces.ops import Op, Shape
from search_spaces.quant import PerChannel, bits_of
from search_spaces.space import IntArray, SearchSpace
from search_spaces.tables import Table, merged, tabulate

FloatArray = NDArray[np.float64]
KernelCost = Callable[[Kernel], float]

BIAS_BYTES = 4
SCALE_BYTES = 4
_CHUNK = 1 << 14


def macs(kernel: Kernel) -> float:
    """Multiply-accumulates per sample."""
    return float(kernel.macs)


def bitops(kernel: Kernel) -> float:
    """MACs x weight bits x activation bits; 32 bits where there is no quantization."""
    return float(kernel.macs * bits_of(kernel.op.weight) * bits_of(kernel.op.activation))


def parameters(kernel: Kernel) -> float:
    """Weights and biases, with norms folded in."""
    shape = kernel.op.weight_shape(*kernel.inputs)
    return 0.0 if shape is None else float(math.prod(shape) + kernel.op.bias_length(*kernel.inputs))


def model_bytes(kernel: Kernel) -> float:
    """Stored size: weights packed at their bits, 32-bit biases, a 32-bit scale per step."""
    shape = kernel.op.weight_shape(*kernel.inputs)
    if shape is None:
        return 0.0
    weight = kernel.op.weight
    scales = 0 if weight is None else shape[0] if isinstance(weight.granularity, PerChannel) else 1
    packed = math.ceil(math.prod(shape) * bits_of(weight) / 8)
    return float(packed + kernel.op.bias_length(*kernel.inputs) * BIAS_BYTES + scales * SCALE_BYTES)


def total(cost: KernelCost, graph: Graph, fusion: Fusion = UNFUSED) -> float:
    """The sum of `cost` over the kernels of a resolved graph."""
    return sum(cost(kernel) for _, kernel in kernels(graph, fusion))


class CompiledCost:
    """A cost of every genotype of a space: called with `(n, choices)`, gives `(n,)`."""

    def __init__(
        self, space: SearchSpace, tables: Sequence[Table], combine: np.ufunc = np.add
    ) -> None:
        self.tables = merged(tables, combine)
        self._column = space.column
        self._combine = combine

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of every row of `(n, choices)`, as `(n,)`."""
        result = np.empty(len(genotypes))
        for start in range(0, len(genotypes), _CHUNK):
            # Columns contiguous and the chunk small: every gather then works within the cache.
            rows = np.asfortranarray(genotypes[start : start + _CHUNK])
            out = result[start : start + _CHUNK]
            out[:] = self._combine.identity if self._combine.identity is not None else -np.inf
            for table in self.tables:
                self._combine(out, table.gather(rows, self._column), out=out)
        return result


class SpaceKernels:
    """The fused kernels of a whole space, each as a table over the few choices that shape it.

    Built once per space and fusion; every cost then compiles from it without walking the graph.
    """

    def __init__(self, space: SearchSpace, fusion: Fusion = UNFUSED) -> None:
        self.space = space
        self._shapes: list[Shape] = []
        self._shape_number: dict[Shape, int] = {}
        self.kernels: list[Kernel | None] = [None]
        self._kernel_number: dict[Kernel, int] = {}
        tables = self._shape_tables()
        groups = fused_groups(space.graph, fusion)
        self.tables = {
            a: self._kernel_table(a, followers, tables) for a, followers in groups.items()
        }

    def compile(self, cost: KernelCost) -> CompiledCost:
        """`cost` summed over the kernels of every genotype."""
        known = [0.0 if kernel is None else cost(kernel) for kernel in self.kernels]
        return self._compiled(lambda _, number: known[number])

    def compile_by_address(self, cost: Callable[[str, Kernel], float]) -> CompiledCost:
        """`compile` for a cost that also depends on the address of a kernel's anchor."""

        def known(address: str, number: int) -> float:
            kernel = self.kernels[number]
            return 0.0 if kernel is None else cost(address, kernel)

        return self._compiled(known)

    def _compiled(self, known: Callable[[str, int], float]) -> CompiledCost:
        """The sum over addresses of `known(address, kernel number)`."""
        tables: list[Table] = []
        for address, table in self.tables.items():
            numbers, places = np.unique(table.values, return_inverse=True)
            values = np.array([known(address, number) for number in numbers.tolist()])
            spread = values[places].reshape(table.values.shape)
            tables.append(Table(table.choices, spread).minimal())
        return CompiledCost(self.space, tables)

    def distinct(self) -> list[Kernel]:
        """Every kernel that some genotype of the space runs, in order of first appearance."""
        return [kernel for kernel in self.kernels if kernel is not None]

    def _intern_shape(self, shape: Shape) -> int:
        if shape not in self._shape_number:
            self._shape_number[shape] = len(self._shapes)
            self._shapes.append(shape)
        return self._shape_number[shape]

    def _intern_kernel(self, kernel: Kernel) -> int:
        if kernel not in self._kernel_number:
            self._kernel_number[kernel] = len(self.kernels)
            self.kernels.append(kernel)
        return self._kernel_number[kernel]

    def _shape_tables(self) -> dict[str, Table]:
        """For every address, the number of the shape that it hands on."""
        tables: dict[str, Table] = {}
        for address, node in self.space.graph.nodes.items():
            reads = [tables[read] for read in node.inputs]
            tables[address] = self._tabulate(
                address, [address], reads, self._handed_on(node, reads)
            )
        return tables

    def _handed_on(self, node: Node, reads: Sequence[Table]) -> Callable[[dict[str, int]], int]:
        resolved = _resolver(node.op)

        def shape(picks: dict[str, int]) -> int:
            inputs = [self._shapes[read.at(picks)] for read in reads]
            if not all(resolve(condition, picks) for condition in node.present):
                return self._intern_shape(inputs[0])
            return self._intern_shape(resolved(picks).infer(*inputs))

        return shape

    def _kernel_table(
        self, address: str, followers: tuple[str, ...], shapes: dict[str, Table]
    ) -> Table:
        """The number of the kernel that runs at `address`; 0 where it is absent."""
        node = self.space.graph.nodes[address]
        reads = [shapes[read] for read in node.inputs]
        anchor = _resolver(node.op)
        fused = [_resolver(self.space.graph.nodes[follower].op) for follower in followers]

        def kernel(picks: dict[str, int]) -> int:
            if not all(resolve(condition, picks) for condition in node.present):
                return 0
            inputs = tuple(self._shapes[read.at(picks)] for read in reads)
            behind = tuple(resolved(picks) for resolved in fused)
            return self._intern_kernel(Kernel(anchor(picks), behind, inputs))

        return self._tabulate(address, [address, *followers], reads, kernel)

    def _tabulate(
        self,
        address: str,
        members: Sequence[str],
        reads: Sequence[Table],
        value: Callable[..., int],
    ) -> Table:
        nodes = [self.space.graph.nodes[member] for member in members]
        own = [
            c for node in nodes for value_ in (node.present, node.op) for c in choices_in(value_)
        ]
        read = [
            self.space.choices[self.space.column[name]] for table in reads for name in table.choices
        ]
        return tabulate(f"node {address!r}", [*own, *read], value, np.int64)


def _resolver(op: Op) -> Callable[[dict[str, int]], Op]:
    """Resolves `op`, remembering each form by the picks of the choices that it holds."""
    names = tuple(dict.fromkeys(found.name for found in choices_in(op)))
    known: dict[tuple[int, ...], Op] = {}

    def resolved(picks: dict[str, int]) -> Op:
        key = tuple(picks[name] for name in names)
        if key not in known:
            known[key] = resolve(op, picks)
        return known[key]

    return resolved


def compile_cost(space: SearchSpace, cost: KernelCost) -> CompiledCost:
    """`cost` of every genotype of `space`, over unfused operators."""
    return SpaceKernels(space).compile(cost)
