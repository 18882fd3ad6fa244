"""The search spaces of two published tables of CIFAR-10 networks, at any size.

At full size, the MACs of every network are the operations in its table. The choices have the names
and the order that they have in `nas/tabular/shipped`, so a genotype is a row of both.
"""

from __future__ import annotations

from search_spaces.choice import choice, derived
from search_spaces.graph import Graph
from search_spaces.mobilenet import InvertedResidual, inverted_residual
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
    deeper_than,
)
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace

CLASSES = 10
STAGES = (2, 3, 3)
QUARTERS = (1, 2, 3, 4)
_FLOAT = Policy(weight_bits=(None,), activation_bits=(None,), edge_bits=None)


@derived
def expanded(width: int, pick: int) -> int:
    """The channels inside an inverted-residual block: three times `width` per step of `pick`."""
    return 3 * width * pick


@derived
def window(pick: int) -> int:
    """The kernel of an inverted-residual block: 3 for the first, 5 for the second."""
    return 2 * pick + 1


@derived
def left_out(pick: int) -> bool:
    """Whether a layer has no inverted-residual block."""
    return pick == 0


@derived
def quarters(width: int, count: int) -> int:
    """`count` quarters of `width`."""
    return width * count // 4


def nasbench_macro(*, size: int = 32, width: int = 32, last: int = 1280) -> SearchSpace:
    """The space of NAS-Bench-Macro (Su et al. 2021, "Prioritized architecture sampling", table 1).

    Eight layers are each left out, an inverted-residual block of expansion 3 and kernel 3, or one
    of expansion 6 and kernel 5. The first layer of a stage halves the resolution and doubles the
    channels; where it is left out, a 1x1 convolution with a norm does that.

    Args:
        size: Height and width of an image.
        width: Channels of the first convolution; the stages have 2, 4 and 8 times as many.
        last: Channels of the last 1x1 convolution.
    """
    graph = Graph(Input("image", (3, size, size)))
    x = _convolved(graph, "stem", Conv2d(width, 3), "input")
    layers = [first for depth in STAGES for first in (True, *(depth - 1) * (False,))]
    for number, first in enumerate(layers):
        pick, here = choice(f"pick{number}", (0, 1, 2)), f"layer{number}"
        read, width = width, width * (2 if first else 1)
        if first:
            absent = left_out(pick)
            x = graph.add(f"{here}.skip", Conv2d(width, 1, 2), x, present=absent)
            x = graph.add(f"{here}.skip.norm", BatchNorm2d(), present=absent)
        block = InvertedResidual(
            f"{here}.block",
            width,
            hidden=expanded(read, pick),
            kernel=window(pick),
            stride=2 if first else 1,
            function="relu",
            residual=not first,
            present=deeper_than(pick, 0),
        )
        x = inverted_residual(graph, x, block, _FLOAT)
    x = _convolved(graph, "last", Conv2d(last, 1), x)
    return _classified(graph, x, name="nasbench-macro")


def channel_bench_resnet(*, size: int = 32, width: int = 256) -> SearchSpace:
    """The ResNet space of Channel-Bench-Macro (Su et al. 2021, "BCNet").

    Seven layers have 1 to 4 quarters of their widths. The first convolution halves the resolution,
    as does the third of five blocks of two convolutions, which is the only one without a shortcut.

    Args:
        size: Height and width of an image.
        width: The whole width of the first three layers; the others have twice that.
    """
    graph = Graph(Input("image", (3, size, size)))
    whole = (width,) * 3 + (2 * width,) * 4
    widths = [
        quarters(most, choice(f"pick{number}", QUARTERS)) for number, most in enumerate(whole)
    ]
    x = _convolved(graph, "stem", Conv2d(widths[0], 3, 2), "input")
    blocks = ((1, 0, 1), (2, 0, 1), (3, 4, 2), (5, 4, 1), (6, 4, 1))
    for number, (inner, outer, stride) in enumerate(blocks):
        here = f"block{number}"
        main = _convolved(graph, f"{here}.conv1", Conv2d(widths[inner], 3, stride), x)
        graph.add(f"{here}.conv2", Conv2d(widths[outer], 3), main)
        main = graph.add(f"{here}.conv2.norm", BatchNorm2d())
        if stride == 1:
            graph.add(f"{here}.add", Add(), main, x)
        x = graph.add(f"{here}.relu", Activation("relu"))
    return _classified(graph, x, name="channel-bench-resnet")


def _convolved(graph: Graph, name: str, op: Conv2d, x: str) -> str:
    graph.add(name, op, x)
    graph.add(f"{name}.norm", BatchNorm2d())
    return graph.add(f"{name}.relu", Activation("relu"))


def _classified(graph: Graph, x: str, *, name: str) -> SearchSpace:
    graph.add("pool", GlobalPool(), x)
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(CLASSES))
    return SearchSpace(graph, name=name)
