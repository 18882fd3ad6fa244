"""The layers of a resolved graph, as the report lists them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from nas.report import text
from nas.report.subnets import DrawnNode, LayerPolicy
from nas.targets.numerics import FULL, bits_in, wanted
from search_spaces.formats import FORMATS, Int
from search_spaces.graph import Graph

_TOLD = 6  # widths that are told one after the other; of more only the ends


def layer_policies(graph: Graph) -> tuple[LayerPolicy, ...]:
    """The operators with a weight, in the order of `graph`, with widths and formats."""
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
                weight=wanted(node.op).stored,
                activation=wanted(node.op).activation,
                macs=node.op.macs(*inputs),
            )
        )
    return tuple(found)


def drawn_nodes(graph: Graph) -> tuple[DrawnNode, ...]:
    """The inputs, the operators with a weight, and those that read several results.

    All others, such as norms and activation functions, are passed through.
    """
    shapes, found = graph.shapes(), list[DrawnNode]()
    seen_as: dict[str, tuple[str, ...]] = {}  # address -> the drawn operators that are seen there
    for address, node in graph.nodes.items():
        above = tuple(dict.fromkeys(s for read in node.inputs for s in seen_as[read]))
        has_weight = node.op.weight_shape(*(shapes[read] for read in node.inputs)) is not None
        if not (has_weight or len(node.inputs) != 1):
            seen_as[address] = above
            continue
        numbers, kind = wanted(node.op), type(node.op).__name__
        weight = numbers.stored if has_weight else None
        read_as = numbers.activation if node.inputs else None
        found.append(DrawnNode(address, kind, above, weight, read_as))
        seen_as[address] = (address,)
    return tuple(found)


def in_words(layers: Sequence[LayerPolicy]) -> str:
    """The kind of network that the layers make: "8 layers of 4, 6 and 8 channels, ...".

    The last layer counts, but not its width, which is that of the answer.
    """
    widths = [width for width, _ in itertools.groupby(layer.width for layer in layers[:-1])]
    if len(widths) > _TOLD:
        widths = [f"{min(widths)} to {max(widths)}"]
    channels = f" of {text.listed(widths)} channels" if widths else ""
    kernels = sorted({*map(kernel_text, layers)} - {""}, key=lambda name: (len(name), name))
    kernel = f", kernel{'s' * (len(kernels) > 1)} {text.listed(kernels)}" if kernels else ""
    count = f"{len(layers)} layer{'s' * (len(layers) > 1)}"
    return f"{count}{channels}{kernel}, weights of {_formats_in_words(layers)}"


def _formats_in_words(layers: Sequence[LayerPolicy]) -> str:
    names = sorted({layer.weight for layer in layers}, key=lambda name: (bits_of(name), name))
    if all(is_plain(name) for name in names):
        return f"{text.listed(sorted(set(map(bits_of, names))))} bits"
    return text.listed(names)


def bits_of(name: str) -> int:
    """The bits of an element in the format of a layer; 32 in full precision."""
    return bits_in(name.partition("-")[0])


def is_plain(name: str) -> bool:
    """Whether a format of a layer is full precision, or integers without groups."""
    return name == FULL or isinstance(FORMATS.get(name), Int)


def kernel_text(layer: LayerPolicy) -> str:
    """The kernel of a layer, such as `3` or `3x5`; empty for an operator without a kernel."""
    if isinstance(layer.kernel, tuple):
        return "x".join(map(str, layer.kernel))
    return "" if layer.kernel is None else str(layer.kernel)
