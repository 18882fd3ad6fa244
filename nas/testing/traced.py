"""A small network of the operators that only networks from outside have, as a user's own has."""

from functools import cache

import torch

from nas.export.stand_in import stand_in
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    AdaptiveAvgPool2d,
    Add,
    Affine,
    AvgPool2d,
    Clamp,
    Concat,
    Conv2d,
    Fixed,
    Input,
    Learned,
    Linear,
    MatMul,
    Mean,
    Multiply,
    Opaque,
    Outputs,
    Pad,
    Read,
    Reshape,
    Samples,
    Scale,
    Slice,
)
from search_spaces.quant import Quant
from supernets.deployed import Deployed
from supernets.inputs import Inputs

SHAPE = (4, 6, 8)
READ, WEIGHT = Quant(Int(8, symmetric=False)), Quant(Int(8))


def _body() -> Graph:
    """Two inputs, of which one is gated, up to an image with negative and positive numbers."""
    graph = Graph(Input("left", SHAPE), Input("right", SHAPE))
    graph.add("sum", Add(READ), "left", "right")
    graph.add("sum.token", Learned((4, 1, 8)), "left")
    graph.add("gated", Multiply(), "sum", "sum.token")
    graph.add("joined", Concat(axis=1), "gated", "sum.token")
    graph.add("padded", Pad((0, 1, 0), (0, 0, 2), "reflect"))
    graph.add("body.conv", Conv2d(6, 3, weight=WEIGHT, activation=READ))
    graph.add("body.clamp", Clamp(-0.5, 2 / 3))
    graph.add("body.affine", Affine())
    graph.add("body.scale", Scale(1 / 3, 0.1))
    graph.add("body.mish", Activation("mish"))
    return graph


def _calls(graph: Graph) -> None:
    """Opaque calls behind the last node: one twice, one reads the size of the batch."""
    call = Opaque(
        target="aten.roll.default",
        arguments=(Read(0), (1,), (3,)),
        seen=((6, 8, 10),),
        shape=(6, 8, 10),
    )
    graph.add("rolled.once", call)
    graph.add("rolled", call)
    picked = (Read(0), (None, None, Fixed(0, (5,), "int64")))
    call = Opaque(
        target="aten.index.Tensor", arguments=picked, seen=((6, 8, 10),), shape=(6, 5, 10)
    )
    graph.add("picked", call)
    sizes = (Read(0), (Samples(), 6, 5, 10))
    call = Opaque(
        target="aten.expand.default", arguments=sizes, seen=((6, 5, 10),), shape=(6, 5, 10)
    )
    graph.add("counted", call)


def _head(graph: Graph) -> None:
    """Views of views, tensors of the network in sums and products, and a classifier."""
    graph.add("picked.rows", Reshape((6, -1)))
    graph.add("picked.back", Reshape((6, 5, 10)))
    graph.add("shift", Learned((6, 1, 10)), "left")
    graph.add("shift.turned", Reshape((1, 6, 10)), "shift")
    graph.add("shift.back", Reshape((6, 1, 10)))
    graph.add("shifted", Add(READ), "picked.back", "shift.back")
    graph.add("widened", Concat(3, READ, axis=1), "shifted", "shift", "counted")
    graph.add("pooled", AdaptiveAvgPool2d((3, 4)))
    graph.add("bias", Learned((6, 4, 3), trained=False), "left")
    graph.add("product", MatMul(), "pooled", "bias")
    graph.add("cut", Slice(2, 0, 3, 2))
    graph.add("mean", Mean((1, 2)))
    graph.add("head", Linear(5, weight=WEIGHT, activation=READ))


@cache
def traced_network() -> tuple[Deployed, Inputs]:
    """A deployed network with two inputs and four outputs, and a batch of seven samples for it.

    Two outputs are the same tensor, and one is an input. A tensor of the network itself is repeated
    for every sample. One of the opaque calls holds a tensor of its own.
    """
    graph = _body()
    x = graph.output
    _calls(graph)
    _head(graph)
    graph.add("map", AvgPool2d(3, 2, 1, counts_padding=False), x)
    outputs = Outputs(names=("scores", "map", "again", "same"), arity=4)
    graph.add("outputs", outputs, "head", "map", "map", "right")
    places = torch.tensor([0.0, 7.0, 3.0, 3.0, 5.0])
    network = stand_in(graph).changed("picked", fixed0=places.numpy())
    generator = torch.Generator().manual_seed(0)
    return network, {n: torch.randn(7, *SHAPE, generator=generator) for n in ("left", "right")}
