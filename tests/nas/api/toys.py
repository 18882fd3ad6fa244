"""A space of 48 networks and objectives with figures by formula."""

from __future__ import annotations

from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Input, deeper_than
from search_spaces.quant import Quant
from search_spaces.space import SearchSpace
from search_spaces.tabular import Pick


def toy_space() -> SearchSpace:
    graph = Graph(Input("x", (1,)))
    depth = choice("depth", (1, 2))
    graph.add("width", Pick(choice("width", (8, 16, 32, 64))))
    for layer in range(2):
        bits = choice(f"bits{layer}", (Quant(Int(2)), Quant(Int(4)), Quant(Int(8))))
        graph.add(f"layer{layer}", Pick(bits), present=deeper_than(depth, layer) if layer else True)
    graph.add("head", Pick(0))
    return SearchSpace(graph, name="toy")


def size(picks):
    return picks["width"] * (picks["bits0"] + picks.get("bits1", 0))


def objective(picks):
    return {"error": 1000 / size(picks) + 1 / picks["width"], "size": size(picks)}


def error(picks):
    return objective(picks)["error"]
