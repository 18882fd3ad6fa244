"""Inverted-residual networks in the shapes of MobileNetV2 and V3, with elastic precision.

Cai et al. 2020, section 3.2: per stage a depth, per block a kernel and an expansion; Sandler et al.
2018 for the block, Howard et al. 2019 for squeeze-excite and hard-swish.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    Flatten,
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
    """One stage: its base width, its first stride, and whether it gates and which way it bends.

    `depths` are the options of its number of blocks, ascending; the space's where there are none.
    """

    width: int
    stride: int
    squeeze_excite: bool | Literal["choice"] = False
    function: Nonlinearity = "relu"
    depths: tuple[int, ...] = ()

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

# Sandler et al. 2018, table 2, behind a first block `Stage(16, 1, function="relu6")`.
MOBILENET_V2: tuple[Stage, ...] = (
    Stage(24, 2, function="relu6", depths=(2,)),
    Stage(32, 2, function="relu6", depths=(3,)),
    Stage(64, 2, function="relu6", depths=(4,)),
    Stage(96, 1, function="relu6", depths=(3,)),
    Stage(160, 2, function="relu6", depths=(3,)),
    Stage(320, 1, function="relu6", depths=(1,)),
)


@dataclass(frozen=True)
class InvertedResidual:
    """An inverted residual: where it stands and what its nodes share.

    Attributes:
        address: What the addresses of its nodes begin with.
        width: Channels it writes.
        hidden: Channels of its depthwise convolution, or None for those it reads: no expansion.
        kernel: Of the depthwise convolution.
        stride: Of the depthwise convolution.
        function: Its nonlinearity.
        squeeze_excite: Whether it gates its channels.
        residual: Whether it adds its input to its output.
        present: Whether it is there.
    """

    address: str
    width: int
    hidden: int | None
    kernel: int
    stride: int
    function: Nonlinearity
    squeeze_excite: bool | Literal["choice"] = False
    residual: bool = False
    present: bool = True


def mobilenet(
    *,
    channels: int,
    classes: int,
    image_sizes: Sequence[int],
    stages: Sequence[Stage] = MOBILENET_V3,
    depths: Sequence[int] = (2, 3, 4),
    kernels: Sequence[int] = (3, 5, 7),
    expansions: Sequence[int] = (3, 4, 6),
    expand_from: Literal["output", "input"] = "output",
    width_multipliers: Sequence[float] = (1.0,),
    stem: int = 16,
    stem_stride: int = 2,
    first: Stage | None = None,
    head: int = 960,
    feature_mix: int | None = None,
    function: Nonlinearity = "hardswish",
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> SearchSpace:
    """The space of inverted-residual networks.

    Args:
        channels: Channels of the input image.
        classes: Number of logits.
        image_sizes: Input resolutions to choose from, ascending.
        stages: Width, stride, gate, nonlinearity and depths per stage; `squeeze_excite="choice"`
            makes the gate itself a choice per block.
        depths: Options of each stage's number of blocks, ascending, where it has none of its own.
        kernels: Options of each block's depthwise kernel, odd and ascending.
        expansions: Options of each block's hidden width over its output or input, ascending.
        expand_from: Which of the two; Once-for-All and MobileNetV2 take the input.
        width_multipliers: Options of one factor on all widths, ascending.
        stem: Base width of the first convolution.
        stem_stride: Its stride; 1 suits small images.
        first: A block without expansion behind the stem; none where left out.
        head: Base width of the last 1x1 convolution.
        feature_mix: Base width of a 1x1 convolution behind the pool; none where left out.
        function: Nonlinearity of the stem and of the layers behind the last stage.
        policy: Precisions to choose from.
    """
    multiplier = choice("width_multiplier", width_multipliers)
    graph = Graph(Image(channels, choice("resolution", image_sizes)))
    read = scaled(stem, multiplier)
    graph.add("stem", Conv2d(read, 3, stem_stride, **policy.edge()))
    x = _normed(graph, "stem", function, policy.tensor())
    if first is not None:
        width = scaled(first.width, multiplier)
        x, read = _first_block(graph, x, (first, read, width), policy), width
    options = {"depths": tuple(depths), "kernels": kernels, "expansions": expansions}
    widths = {"multiplier": multiplier, "expand_from": expand_from}
    for block in _blocks(stages, read, **widths, **options):
        x = inverted_residual(graph, x, block, policy)
    graph.add("last", Conv2d(scaled(head, multiplier), 1, **policy.edge()), x)
    x = _normed(graph, "last", function, policy.tensor())
    graph.add("pool", GlobalPool(policy.tensor()), x)
    if feature_mix is not None:
        graph.add("mix", Conv2d(scaled(feature_mix, multiplier), 1, **policy.edge()))
        graph.add(f"mix.{function}", _activation(function, policy.tensor()))
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(classes, **policy.edge()))
    return SearchSpace(graph, name="mobilenet")


def _blocks(
    stages: Sequence[Stage],
    read: int,
    *,
    multiplier: float,
    expand_from: Literal["output", "input"],
    depths: tuple[int, ...],
    kernels: Sequence[int],
    expansions: Sequence[int],
) -> Iterator[InvertedResidual]:
    """The blocks of all stages, where `read` channels come in."""
    for s, stage in enumerate(stages):
        width, options = scaled(stage.width, multiplier), stage.depths or depths
        depth = choice(f"stage{s}.depth", options)
        for b in range(max(options)):
            here = f"stage{s}.block{b}"
            base = width if b or expand_from == "output" else read
            yield InvertedResidual(
                here,
                width,
                hidden=scaled(base, choice(f"{here}.expansion", expansions)),
                kernel=choice(f"{here}.kernel", kernels),
                stride=1 if b else stage.stride,
                function=stage.function,
                squeeze_excite=stage.squeeze_excite,
                residual=b > 0,
                present=deeper_than(depth, b) if b >= min(options) else True,
            )
        read = width


def _first_block(graph: Graph, x: str, widths: tuple[Stage, int, int], policy: Policy) -> str:
    """A block without expansion at the precision of the network's edges."""
    stage, read, width = widths
    block = InvertedResidual(
        "first",
        width,
        hidden=None,
        kernel=3,
        stride=stage.stride,
        function=stage.function,
        squeeze_excite=stage.squeeze_excite,
        residual=stage.stride == 1 and read == width,
    )
    return inverted_residual(graph, x, block, policy.edges())


def inverted_residual(graph: Graph, x: str, block: InvertedResidual, policy: Policy) -> str:
    """Append a block that reads `x`; the address of its output.

    Sandler et al. 2018, figure 4d: widen, convolve each channel, narrow without a nonlinearity.
    """
    here, there = block.address, block.present
    stage, _, name = here.rpartition(".")
    precision = {part: policy.layer(stage or here, name, part) for part in _LAYERS}
    read = {
        part: between_integers(both["weight"], both["activation"], policy.tensor())
        for part, both in precision.items()
    }
    y = x
    if block.hidden is not None:
        widen = Conv2d(block.hidden, 1, **precision["expand"])
        graph.add(f"{here}.expand", widen, y, present=there)
        y = _normed(graph, f"{here}.expand", block.function, read["expand"], present=there)
    depthwise = DepthwiseConv2d(block.kernel, block.stride, **precision["depthwise"])
    graph.add(f"{here}.depthwise", depthwise, y, present=there)
    y = _normed(graph, f"{here}.depthwise", block.function, read["depthwise"], present=there)
    if block.squeeze_excite is not False:
        y = _squeeze_excite(graph, y, block, policy)
    graph.add(f"{here}.project", Conv2d(block.width, 1, **precision["project"]), y, present=there)
    y = graph.add(f"{here}.project.norm", BatchNorm2d(), present=there)
    if not block.residual:
        return y
    return graph.add(f"{here}.add", Add(policy.tensor()), y, x, present=there)


_LAYERS = ("expand", "depthwise", "project")


def _squeeze_excite(graph: Graph, x: str, block: InvertedResidual, policy: Policy) -> str:
    """A gate per channel, from the pooled input through a quarter of the channels."""
    if block.hidden is None:
        raise ValueError(f"block {block.address!r} without expansion cannot squeeze and excite")
    here = f"{block.address}.gate"
    gated = choice(here, (False, True)) if block.squeeze_excite == "choice" else True
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
