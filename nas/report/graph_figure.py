"""The drawing of the chosen subnet's graph: a line per layer, with its bits and its connections.

The drawing is plain SVG with texts, so it needs no script, prints well and can be read aloud.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.report import style
from nas.report.layers import bits_of
from nas.report.markup import Markup, details, html_of, tag
from nas.report.policy_figure import short
from nas.report.subnets import DrawnNode
from nas.targets.numerics import FULL

_LINE, _LANE, _CELL = 30, 12, 40  # pixels: height of a line, width of a lane, width of a cell
_LETTER = 7  # pixels of a letter of a label
_OPEN = 40  # nodes up to which the drawing is unfolded

Edge = tuple[int, int]  # the lines that an arrow leaves and reaches


def drawing(nodes: Sequence[DrawnNode]) -> Markup:
    """The drawing, which can be folded; empty for no nodes."""
    if not nodes:
        return Markup()
    heading = tag("h3", "The policy on the network's graph")
    caption = tag(
        "p",
        "From the input at the top to the output at the bottom. In each line: bits of the weight, "
        "bits of what is read, the layer. Norms, activation functions and poolings are left out.",
        class_="muted",
    )
    shown = tag("div", _svg(nodes), class_="scroll")
    if len(nodes) > _OPEN:
        return html_of([heading, caption, details(f"Draw all {len(nodes)} operators", shown)])
    return html_of([heading, caption, shown])


def lanes(edges: Sequence[Edge]) -> dict[Edge, int]:
    """The lane of each edge that passes a line, from 1; edges in one lane never share a line."""
    taken: list[list[Edge]] = []
    found: dict[Edge, int] = {}
    for edge in sorted(edges, key=lambda edge: (edge[1] - edge[0], edge)):
        free = (
            lane
            for lane, held in enumerate(taken)
            if all(edge[1] <= other[0] or other[1] <= edge[0] for other in held)
        )
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append(edge)
        found[edge] = lane + 1
    return found


def _svg(nodes: Sequence[DrawnNode]) -> Markup:
    line = {node.address: place for place, node in enumerate(nodes)}
    edges = [(line[read], place) for place, node in enumerate(nodes) for read in node.reads]
    sides = lanes([edge for edge in edges if edge[1] - edge[0] > 1])
    left = (max(sides.values(), default=0) + 1) * _LANE
    drawn = [_edge(edge, sides.get(edge, 0), left=left) for edge in edges]
    drawn += [_node(node, place, left=left) for place, node in enumerate(nodes)]
    letters = max(len(_label(node)) for node in nodes)
    width, height = left + 2 * _CELL + 16 + letters * _LETTER, len(nodes) * _LINE + 4
    return tag(
        "svg",
        drawn,
        width=str(width),
        height=str(height),
        viewBox=f"0 0 {width} {height}",
        class_="graph",
        role="img",
        aria_label="The policy on the network's graph; the table of layers tells the same.",
    )


def _edge(edge: Edge, lane: int, *, left: int) -> Markup:
    """A line between neighbours, or an arc through a lane at the left."""
    start, end = (place * _LINE + _LINE // 2 for place in edge)
    if not lane:
        x = left + _CELL // 2 - 1
        return tag("path", d=f"M{x} {start}V{end}", class_="edge")
    x, bend = left - lane * _LANE, _LANE // 2
    path = (
        f"M{left} {start}H{x + bend}Q{x} {start} {x} {start + bend}"
        f"V{end - bend}Q{x} {end} {x + bend} {end}H{left}"
    )
    return tag("path", d=path, class_="edge")


def _node(node: DrawnNode, place: int, *, left: int) -> Markup:
    top = place * _LINE + 5
    cells = [
        _cell(name, left + column * _CELL, top)
        for column, name in enumerate((node.weight, node.activation))
    ]
    label = tag("text", _label(node), x=str(left + 2 * _CELL + 10), y=str(top + 14))
    return html_of([*cells, label])


def _cell(name: str | None, x: int, y: int) -> Markup:
    """A box with the bits of a format in their colour; an empty one where there is none."""
    size = {"x": str(x), "y": str(y), "width": str(_CELL - 2), "height": "20", "rx": "3"}
    if name is None:
        return tag("rect", **size, class_="none")
    colour = style.bits_colour(None if name == FULL else bits_of(name))
    middle = {"x": str(x + _CELL // 2 - 1), "y": str(y + 14)}
    return html_of(
        [tag("rect", **size, fill=colour), tag("text", short(name), **middle, class_="bits")]
    )


def _label(node: DrawnNode) -> str:
    return f"{node.address}  {node.operator}"
