"""A network of a single kernel, which is exported and timed like any other network."""

from __future__ import annotations

from dataclasses import fields, replace

from nas.export.stand_in import stand_in
from nas.targets.numerics import FULL, Numerics
from nas.targets.target import deciding
from search_spaces.formats import Int, format_named
from search_spaces.graph import Graph, Node
from search_spaces.kernels import Kernel
from search_spaces.ops import DType, Input, Op
from search_spaces.quant import PerChannel, PerTensor, Quant, granularity_named
from supernets.deployed import Deployed
from supernets.fold import without_norms


def kernel_network(kernel: Kernel, numerics: Numerics, *, copy: int = 0) -> Deployed:
    """The deployed network that consists of `kernel`, with random weights and folded norms.

    The network has an input for every tensor that the kernel reads.

    Args:
        kernel: The kernel to run.
        numerics: The formats in which the kernel really computes, whatever its operators have.
        copy: The index of a copy in a model, which fixes the names and the random numbers.

    Raises:
        ExportError: If the kernel has a norm that cannot be folded.
    """
    return stand_in(kernel_graph(kernel, numerics, copy=copy), seed=copy)


def kernel_graph(kernel: Kernel, numerics: Numerics, *, copy: int = 0) -> Graph:
    """The graph that consists of `kernel`, norms included, in the precisions that really run."""
    graph = Graph()
    values = declare_inputs(graph, "input", kernel)
    for place, (op, slots) in enumerate(zip(kernel.ops, kernel.slots, strict=True)):
        values.append(f"copy{copy}.op{place}")
        reads = tuple(values[slot] for slot in slots)
        graph.append(values[-1], Node(running(op, kernel, numerics), reads))
    return graph


def declare_inputs(
    graph: Graph, prefix: str, kernel: Kernel, *, but: int | None = None
) -> list[str]:
    """Add an input to `graph` for every tensor that `kernel` reads, unless it is there already.

    Args:
        graph: The graph that gets the inputs.
        prefix: The beginning of their names, which end in the place of the tensor.
        kernel: The kernel.
        but: The place of a tensor that gets no input.

    Returns:
        The names of the inputs, in order.
    """
    types: dict[int, DType] = {
        slot: op.reads
        for op, slots in reversed([*zip(kernel.ops, kernel.slots, strict=True)])
        for slot in slots
    }
    names = {place: f"{prefix}{place}" for place in range(len(kernel.inputs)) if place != but}
    for place, name in names.items():
        if name not in graph.nodes:
            graph.append(name, Node(Input(name, kernel.inputs[place], types[place])))
    return list(names.values())


def unshipped(kernel: Kernel) -> str | None:
    """The reason why no deployed network runs a kernel, such as a single norm; else None."""
    if not kernel.inputs:
        return f"{type(kernel.op).__name__} is what a network reads, and nothing that runs"
    try:
        without_norms(kernel_graph(kernel, Numerics(None, FULL)))
    except ValueError as error:
        return f"a norm runs in no network that leaves, since it is folded: {error}"
    return None


def running(op: Op, kernel: Kernel, numerics: Numerics) -> Op:
    """`op` in the precision that really runs: weights per channel or group, integers unsigned.

    Only integers of inputs are unsigned, as `Numerics.runs` allows.
    """
    precisions: dict[str, Quant | None] = {"weight": None, "activation": None}
    if numerics.weight not in (None, FULL):
        held_as = format_named(numerics.weight)
        plain = PerChannel() if held_as.scaled else PerTensor()
        granularity = granularity_named(numerics.groups) if numerics.groups else plain
        precisions["weight"] = Quant(held_as, granularity)
    on_grid = op.activation is not None or op in deciding(kernel)
    if on_grid and numerics.activation != FULL:
        held_as = format_named(numerics.activation)
        unsigned = Int(held_as.bits, symmetric=False) if isinstance(held_as, Int) else held_as
        precisions["activation"] = Quant(unsigned)
    held = {field.name for field in fields(op)}
    return replace(op, **{name: quant for name, quant in precisions.items() if name in held})
