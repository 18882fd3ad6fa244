"""The space of MobileNetV2 and V3: inverted-residual networks with elastic shape and precision.

Each stage has a choice of depth, each block a choice of kernel and of expansion (Cai et al. 2020,
section 3.2). The block is that of Sandler et al. 2018, with the squeeze-and-excitation and the
hard-swish of Howard et al. 2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from search_spaces.choice import choice, derived
from search_spaces.graph import Graph
from search_spaces.interface import numbers_given, reading_image
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
    Multiply,
    Nonlinearity,
    Shape,
    deeper_than,
    scaled,
)
from search_spaces.options import Factors, Kernels, Size, Sizes
from search_spaces.policy import Policy
from search_spaces.quant import Quant
from search_spaces.space import SearchSpace


@dataclass(frozen=True)
class Stage:
    """One stage of the network: blocks that write the same number of channels.

    Attributes:
        width: Channels that each block writes, before the width multiplier.
        stride: The stride of the first block; all others have 1.
        squeeze_excite: Whether the blocks scale their channels by squeeze-and-excitation;
            `"choice"` makes that a choice per block.
        function: The nonlinearity of the blocks.
        depths: The options of the number of blocks, ascending; the `depths` of the space where
            left empty.
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
    """One block of a MobileNet: its place in the graph and its sizes (Sandler et al. 2018).

    Every field may hold a choice. The block widens its input to `hidden` channels, convolves each
    of them on its own, and narrows the result to `width` channels.

    Attributes:
        address: The beginning of the addresses of the block's nodes, such as `stage1.block0`.
        width: Channels that the block writes.
        hidden: Channels of the depthwise convolution. None leaves out the expansion, so that the
            depthwise convolution has the channels of the block's input.
        kernel: The kernel of the depthwise convolution.
        stride: The stride of the depthwise convolution.
        function: The nonlinearity of the block.
        squeeze_excite: Whether the block scales its channels by squeeze-and-excitation;
            `"choice"` makes that a choice.
        residual: Whether the block adds its input to its output.
        present: Whether the network has the block; a condition on the depth of the stage.
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
    inputs: tuple[Input, ...],
    output: Shape,
    *,
    stages: tuple[Stage, ...] = MOBILENET_V3,
    depths: Sizes = (2, 3, 4),
    kernels: Kernels = (3, 5, 7),
    expansions: Sizes = (3, 4, 6),
    expand_from: Literal["output", "input"] = "output",
    width_multipliers: Factors = (1.0,),
    stem: Size = 16,
    stem_stride: Size = 2,
    first: Stage | None = None,
    head: Size = 960,
    feature_mix: Size | None = None,
    function: Nonlinearity = "hardswish",
    image_sizes: Sizes | None = None,
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> SearchSpace:
    """The space of inverted-residual networks.

    Args:
        inputs: The inputs of the task: one image, `(channels, height, width)`.
        output: The shape of the task's output per sample: `(classes,)`.
        stages: The stages in order. Each has a width, a first stride, a nonlinearity, and possibly
            squeeze-and-excitation and depths of its own.
        depths: Options of the number of blocks per stage, ascending; for stages that have no
            `depths` of their own.
        kernels: Options of each block's depthwise kernel, odd and ascending.
        expansions: Options of each block's expansion ratio, ascending: the hidden width divided by
            the width of the block's output or input.
        expand_from: Whether that is the output or the input. Once-for-All and MobileNetV2 use the
            input.
        width_multipliers: Options of one factor on all widths, ascending.
        stem: Width of the first convolution, before the width multiplier.
        stem_stride: Stride of the first convolution; 1 suits small images.
        first: A block without expansion behind the first convolution; no such block where left
            out.
        head: Width of the last 1x1 convolution, before the width multiplier.
        feature_mix: Width of a 1x1 convolution behind the pooling, before the width multiplier; no
            such layer where left out.
        function: Nonlinearity of the first convolution and of the layers behind the last stage.
        image_sizes: Resolutions to choose from, ascending; that of the image where left out.
        policy: Precisions to choose from.

    Raises:
        ValueError: If `first` has squeeze-and-excitation, an option is invalid, or the space cannot
            read the inputs or give the output.
    """
    multiplier = choice("width_multiplier", width_multipliers)
    graph = reading_image(inputs, space="mobilenet", sizes=image_sizes)
    read = scaled(stem, multiplier)
    graph.add("stem", Conv2d(read, 3, stem_stride, **policy.edge()))
    x = _normed(graph, "stem", function, policy.tensor())
    if first is not None:
        width = scaled(first.width, multiplier)
        x, read = _first_block(graph, x, (first, read, width), policy), width
    options: Any = {"depths": tuple(depths), "kernels": kernels, "expansions": expansions}
    widths: Any = {"multiplier": multiplier, "expand_from": expand_from}
    for block in _blocks(stages, read, **widths, **options):
        x = inverted_residual(graph, x, block, policy)
    graph.add("last", Conv2d(scaled(head, multiplier), 1, **policy.edge()), x)
    x = _normed(graph, "last", function, policy.tensor())
    graph.add("pool", GlobalPool(policy.tensor()), x)
    if feature_mix is not None:
        graph.add("mix", Conv2d(scaled(feature_mix, multiplier), 1, **policy.edge()))
        graph.add(f"mix.{function}", _activation(function, policy.tensor()))
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(numbers_given(output, space="mobilenet"), **policy.edge()))
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
    """The blocks of all stages, the first of which reads `read` channels."""
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
    """Append a block without expansion, in the precision of first and last layers.

    Args:
        graph: The graph.
        x: The address of the block's input.
        widths: The stage that describes the block, the channels of its input, and those of its
            output.
        policy: Precisions to choose from.

    Returns:
        The address of the block's output.
    """
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
    """Append an inverted-residual block to `graph` and return the address of its output.

    The block widens its input, convolves each channel, and narrows the result without a
    nonlinearity (Sandler et al. 2018, figure 4d).

    Args:
        graph: The graph.
        x: The address of the block's input.
        block: Place and sizes of the block.
        policy: Precisions to choose from.

    Raises:
        ValueError: If the block has squeeze-and-excitation but no expansion.
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
    """Append squeeze-and-excitation: each channel is scaled by a factor made from all of them.

    The factors come from the pooled input through a layer with a quarter of the channels
    (Howard et al. 2019, section 5.3).
    """
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
    """The activation `function`; all but ReLU and ReLU6 quantize their input to `read`.

    Without that, an integer runtime would keep the convolution before a curved function in floats.
    """
    return Activation(function, None if function in ("relu", "relu6") else read)


@derived
def between_integers(
    weight: Quant | None, activation: Quant | None, tensor: Quant | None
) -> Quant | None:
    """The precision of a tensor between a convolution and a curved function.

    `tensor` where the convolution has an integer weight and integer activations, else None, which
    is full precision.
    """
    return None if weight is None or activation is None else tensor
