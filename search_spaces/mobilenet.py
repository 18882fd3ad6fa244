"""Inverted-residual networks in the shape of Once-for-All's MobileNetV3, with elastic precision.

Cai et al. 2020, section 3.2: per stage a depth, per block a kernel and an expansion; Howard et al.
2019 for squeeze-excite and hard-swish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from search_spaces.choice import choice, derived
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Image,
    Linear,
    Multiply,
    Nonlinearity,
    deeper_than,
    scaled,
)
from search_spaces.policy import Policy
from search_spaces.quant import Quant
from search_spaces.space import SearchSpace


@dataclass(frozen=True)
class Stage:
    """One stage: its base width, its first stride, and whether it gates and which way it bends."""

    width: int
    stride: int
    squeeze_excite: bool | Literal["choice"] = False
    function: Nonlinearity = "relu"

    def __post_init__(self) -> None:
        if self.width < 1 or self.stride < 1:
            raise ValueError(
                f"a stage has a width and a stride of at least 1, given {self.width}, {self.stride}"
            )


MOBILENET_V3: tuple[Stage, ...] = (
    Stage(24, 2),
    Stage(40, 2, squeeze_excite=True),
    Stage(80, 2, function="hardswish"),
    Stage(112, 1, squeeze_excite=True, function="hardswish"),
    Stage(160, 2, squeeze_excite=True, function="hardswish"),
)


@dataclass(frozen=True)
class _Block:
    """What the nodes of one block share."""

    stage: str
    block: str
    present: bool
    width: int
    hidden: int
    kernel: int
    stride: int


def mobilenet(
    *,
    channels: int,
    classes: int,
    image_sizes: Sequence[int],
    stages: Sequence[Stage] = MOBILENET_V3,
    depths: Sequence[int] = (2, 3, 4),
    kernels: Sequence[int] = (3, 5, 7),
    expansions: Sequence[int] = (3, 4, 6),
    width_multipliers: Sequence[float] = (1.0,),
    stem: int = 16,
    stem_stride: int = 2,
    head: int = 960,
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> SearchSpace:
    """The space of inverted-residual networks.

    Args:
        channels: Channels of the input image.
        classes: Number of logits.
        image_sizes: Input resolutions to choose from, ascending.
        stages: Width, stride, gate and nonlinearity per stage; `squeeze_excite="choice"` makes the
            gate itself a choice per block.
        depths: Options of each stage's number of blocks, ascending.
        kernels: Options of each block's depthwise kernel, odd and ascending.
        expansions: Options of each block's hidden width over its output width, ascending.
        width_multipliers: Options of one factor on all widths, ascending.
        stem: Base width of the first convolution.
        stem_stride: Its stride; 1 suits small images.
        head: Base width of the last 1x1 convolution.
        policy: Precisions to choose from.
    """
    multiplier = choice("width_multiplier", width_multipliers)
    graph = Graph(Image(channels, choice("resolution", image_sizes)))
    graph.add("stem", Conv2d(scaled(stem, multiplier), 3, stem_stride, **policy.edge()))
    x = _normed(graph, "stem", "hardswish", policy.tensor())
    for s, stage in enumerate(stages):
        width, depth = scaled(stage.width, multiplier), choice(f"stage{s}.depth", depths)
        for b in range(max(depths)):
            here = f"stage{s}.block{b}"
            hidden = scaled(width, choice(f"{here}.expansion", expansions))
            reach = deeper_than(depth, b) if b >= min(depths) else True
            kernel, stride = choice(f"{here}.kernel", kernels), 1 if b else stage.stride
            block = _Block(f"stage{s}", f"block{b}", reach, width, hidden, kernel, stride)
            x = _inverted_residual(graph, x, block, stage, policy)
    graph.add("last", Conv2d(scaled(head, multiplier), 1, **policy.edge()), x)
    x = _normed(graph, "last", "hardswish", policy.tensor())
    graph.add("pool", GlobalPool(policy.tensor()), x)
    graph.add("head", Linear(classes, **policy.edge()))
    return SearchSpace(graph, name="mobilenet")


def _inverted_residual(graph: Graph, x: str, block: _Block, stage: Stage, policy: Policy) -> str:
    here = f"{block.stage}.{block.block}"
    precision = {part: policy.layer(block.stage, block.block, part) for part in _LAYERS}
    read = {
        part: between_integers(both["weight"], both["activation"], policy.tensor())
        for part, both in precision.items()
    }
    there = block.present
    graph.add(f"{here}.expand", Conv2d(block.hidden, 1, **precision["expand"]), x, present=there)
    _normed(graph, f"{here}.expand", stage.function, read["expand"], present=there)
    depthwise = DepthwiseConv2d(block.kernel, block.stride, **precision["depthwise"])
    graph.add(f"{here}.depthwise", depthwise, present=there)
    y = _normed(graph, f"{here}.depthwise", stage.function, read["depthwise"], present=there)
    if stage.squeeze_excite is not False:
        y = _squeeze_excite(graph, y, block, stage, policy)
    graph.add(f"{here}.project", Conv2d(block.width, 1, **precision["project"]), y, present=there)
    y = graph.add(f"{here}.project.norm", BatchNorm2d(), present=there)
    if block.block == "block0":
        return y
    return graph.add(f"{here}.add", Add(policy.tensor()), y, x, present=there)


_LAYERS = ("expand", "depthwise", "project")


def _squeeze_excite(graph: Graph, x: str, block: _Block, stage: Stage, policy: Policy) -> str:
    """A gate per channel, from the pooled input through a quarter of the channels."""
    here = f"{block.stage}.{block.block}.gate"
    gated = choice(here, (False, True)) if stage.squeeze_excite == "choice" else True
    there = (block.present, gated)
    graph.add(f"{here}.pool", GlobalPool(policy.tensor()), x, present=there)
    reduced = Conv2d(scaled(block.hidden, 0.25), 1, bias=True, **policy.edge())
    graph.add(f"{here}.reduce", reduced, present=there)
    graph.add(f"{here}.reduce.relu", Activation("relu"), present=there)
    graph.add(f"{here}.expand", Conv2d(block.hidden, 1, bias=True, **policy.edge()), present=there)
    gate = graph.add(f"{here}.sigmoid", _activation("hardsigmoid", policy.tensor()), present=there)
    return graph.add(f"{here}.multiply", Multiply(policy.tensor()), x, gate, present=there)


def _normed(
    graph: Graph,
    name: str,
    function: Nonlinearity,
    read: Quant | None,
    *,
    present: bool = True,
) -> str:
    graph.add(f"{name}.norm", BatchNorm2d(), present=present)
    return graph.add(f"{name}.{function}", _activation(function, read), present=present)


def _activation(function: Nonlinearity, read: Quant | None) -> Activation:
    """Curved functions read integers, else the convolution before them would stay in floats."""
    return Activation(function, None if function in ("relu", "relu6") else read)


@derived
def between_integers(
    weight: Quant | None, activation: Quant | None, tensor: Quant | None
) -> Quant | None:
    """`tensor` behind a convolution on integers, full precision behind one in floats."""
    return None if weight is None or activation is None else tensor
