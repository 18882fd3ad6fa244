"""Assembly of a plain torch module, free of this engine's classes, from a resolved graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import GraphAppendingTracer

from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Input, Op, Outputs, Shape
from search_spaces.runs import Runs, runs_of
from supernets.elastic import compute, is_bare, sliced
from supernets.encoded import ActivationScale
from supernets.rounding import snapped

Slot = tuple[str, int]

SITE = "quantized slot"
ADDRESS = "address"


@dataclass(frozen=True)
class Step:
    """A node of a subnet.

    Attributes:
        address: The address of the node.
        op: The resolved operator.
        reads: The addresses of the nodes whose results are the inputs.
        inputs: The shapes of the inputs, without the batch.
        runs: The runs of channels of the first input, where it has several.
    """

    address: str
    op: Op
    reads: tuple[str, ...]
    inputs: tuple[Shape, ...]
    runs: Runs | None = None

    def sliced(self, shared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters of the node, from those of the widest subnet."""
        return sliced(self.op, shared, *self.inputs, runs=self.runs)


def steps_of(graph: Graph) -> tuple[Step, ...]:
    """The nodes of a resolved graph in execution order."""
    shapes, runs = graph.shapes(), runs_of(graph)
    return tuple(
        Step(
            address,
            node.op,
            node.inputs,
            tuple(shapes[read] for read in node.inputs),
            runs.get(node.inputs[0]) if node.inputs else None,
        )
        for address, node in graph.nodes.items()
    )


def module_name(address: str) -> str:
    """The attribute that holds the layer at an address, such as `at_stage1__block0__conv1`.

    torch.fx prints attribute names into Python code that is then run. A name therefore consists of
    ASCII letters, digits and `_` only: a dot of the address becomes `__`, any other character
    becomes its code point between two `_`. Distinct addresses have distinct names.
    """
    return f"at_{_identifier(address)}"


def scale_name(slot: Slot) -> str:
    """The name of the buffer that holds the scale of a quantized input."""
    address, position = slot
    return f"scale{position}_at_{_identifier(address)}"


def _identifier(address: str) -> str:
    return _NEITHER_LETTER_NOR_DIGIT.sub(
        lambda found: "__" if found[0] == "." else f"_{ord(found[0]):x}_", address
    )


_NEITHER_LETTER_NOR_DIGIT = re.compile(r"[^A-Za-z0-9]")


def assemble(
    steps: Sequence[Step],
    layer: Callable[[Step], nn.Module | None],
    scales: Mapping[Slot, ActivationScale],
    *,
    device: torch.device | str = "cpu",
    apart: bool = False,
) -> fx.GraphModule:
    """The torch module that runs `steps`, by a layer or by the function `compute` at each step.

    The module has an argument for every input, of the name of the input, in the order of `steps`.
    `module_name` names the layer at an address. The node that divides a quantized input by its
    scale has the slot in `meta[SITE]`. Rounding has no gradient: the module is for inference.

    Args:
        steps: The nodes, from `steps_of`.
        layer: Gives the layer of a step. The function `compute` runs the operator if there is none,
            or if the layer only holds parameters.
        scales: The quantization of each quantized input, by address and position.
        device: The device of the scales.
        apart: Whether a network with several outputs gives a tuple of them, each in its own shape;
            else the module gives what the operator `Outputs` does.
    """
    root, graph = nn.Module(), fx.Graph()
    tracer = GraphAppendingTracer(graph)
    inputs = {step.address: step.op for step in steps if isinstance(step.op, Input)}
    values = {address: graph.placeholder(op.name) for address, op in inputs.items()}
    last = steps[-1]
    several = apart and isinstance(last.op, Outputs)
    for step in (step for step in steps if step.reads and not (several and step is last)):
        read = [values[address] for address in step.reads]
        for position, value in enumerate(read):
            slot = (step.address, position)
            if slot in scales:
                read[position] = _quantized(root, value, slot, scales[slot], device)
        made, name = layer(step), module_name(step.address)
        if made is not None:
            root.add_module(name, made)
        if made is None or is_bare(made):
            parts = dict(made.named_parameters()) if made else {}
            held = {part: graph.get_attr(f"{name}.{part}") for part in parts}
            values[step.address] = _computed(step.op, held, read, tracer)
        else:
            values[step.address] = graph.call_module(name, tuple(read))
    for address, node in values.items():
        node.meta[ADDRESS] = address
    given = tuple(values[read] for read in last.reads)
    graph.output(given if several else values[last.address])
    return fx.GraphModule(root, graph)


def _computed(
    op: Op, held: Mapping[str, fx.Node], read: Sequence[fx.Node], tracer: GraphAppendingTracer
) -> fx.Node:
    """The nodes of the function `compute` for an operator with the parameters `held`."""
    tensors = {name: fx.Proxy(node, tracer) for name, node in held.items()}
    output: Any = compute(op, tensors, *(fx.Proxy(node, tracer) for node in read))  # pyright: ignore[reportArgumentType]
    return output.node


def node_names(module: fx.GraphModule) -> dict[str, str]:
    """The name of the node of an assembled module that computes each address."""
    nodes = module.graph.nodes
    return {node.meta[ADDRESS]: node.name for node in nodes if ADDRESS in node.meta}


def _quantized(
    root: nn.Module,
    value: fx.Node,
    slot: Slot,
    scale: ActivationScale,
    device: torch.device | str,
) -> fx.Node:
    """Fake quantization in the arithmetic of a runtime; in place after the division."""
    graph, name = value.graph, scale_name(slot)
    root.register_buffer(name, torch.tensor([scale.scale], device=device))
    step = graph.get_attr(name)
    divided = graph.call_function(torch.div, (value, step))
    divided.meta[SITE] = slot
    if isinstance(scale.quant.format, Int):
        rounded = graph.call_method("round_", (divided,))
        near = graph.call_method("clamp_", (rounded, *scale.bounds))
    else:
        tracer = GraphAppendingTracer(graph)
        traced: Any = snapped(scale.quant.format, fx.Proxy(divided, tracer), scale.bounds)  # pyright: ignore[reportArgumentType]
        near = traced.node
    return graph.call_method("mul_", (near, step))


def read_scale(module: nn.Module, slot: Slot) -> float:
    """The scale that `module` holds for a quantized input."""
    held: Tensor = module.get_buffer(scale_name(slot))
    return float(held)
