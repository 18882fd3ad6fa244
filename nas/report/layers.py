"""The layers of a resolved graph, as the report lists them."""

from __future__ import annotations

from nas.report.data import LayerPolicy
from search_spaces.graph import Graph
from search_spaces.quant import Quant


def layer_policies(graph: Graph) -> tuple[LayerPolicy, ...]:
    """The operators with a weight, in the order of the resolved `graph`, with widths and bits."""
    shapes = graph.shapes()
    found = []
    for address, node in graph.nodes.items():
        inputs = [shapes[read] for read in node.inputs]
        if node.op.weight_shape(*inputs) is None:
            continue
        found.append(
            LayerPolicy(
                address=address,
                operator=type(node.op).__name__,
                width=shapes[address][node.op.channel_axis],
                kernel=getattr(node.op, "kernel", None),
                weight_bits=_bits(node.op.weight),
                activation_bits=_bits(node.op.activation),
                macs=node.op.macs(*inputs),
            )
        )
    return tuple(found)


def kernel_text(layer: LayerPolicy) -> str:
    """The kernel of a layer, such as `3` or `3x5`; empty for an operator without a kernel."""
    if isinstance(layer.kernel, tuple):
        return "x".join(map(str, layer.kernel))
    return "" if layer.kernel is None else str(layer.kernel)


def _bits(quant: Quant | None) -> int | None:
    return None if quant is None else quant.bits
