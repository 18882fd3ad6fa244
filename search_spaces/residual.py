"""The space of CIFAR-style residual networks with elastic widths, depths, kernels and precision.

A 3x3 convolution is followed by stages of blocks with two convolutions each; every stage after the
first halves the resolution (He et al. 2016, section 4.2).
"""

from __future__ import annotations

from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.interface import numbers_given, reading_image
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
    Shape,
    deeper_than,
)
from search_spaces.options import Kernels, Sizes
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace


def residual(
    inputs: tuple[Input, ...],
    output: Shape,
    *,
    widths: tuple[Sizes, ...],
    depths: tuple[Sizes, ...],
    kernels: Kernels = (3,),
    image_sizes: Sizes | None = None,
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> SearchSpace:
    """The space of residual networks.

    Args:
        inputs: The inputs of the task: one image, `(channels, height, width)`.
        output: The shape of the task's output per sample: `(classes,)`.
        widths: One list of options for the width of the first convolution, then one for the width
            of each stage; each ascending.
        depths: One list of options per stage for its number of blocks, ascending, at least 1.
        kernels: Options of the kernel of every block's first convolution, odd and ascending.
        image_sizes: Resolutions to choose from, ascending; that of the image where left out.
        policy: Precisions to choose from.

    Raises:
        ValueError: If the number of lists in `widths` is not that in `depths` plus one, or the
            space cannot read the inputs or give the output.
    """
    if len(widths) != len(depths) + 1:
        raise ValueError(
            f"residual needs widths for the stem and each of {len(depths)} stages, "
            f"given {len(widths)} lists of widths"
        )
    graph = reading_image(inputs, space="residual", sizes=image_sizes)
    graph.add("stem", Conv2d(choice("stem.width", widths[0]), 3, **policy.edge()))
    x = _normed(graph, "stem", activate=True)
    for s, (width, depth) in enumerate(zip(widths[1:], depths, strict=True)):
        out, blocks = choice(f"stage{s}.width", width), choice(f"stage{s}.depth", depth)
        for b in range(max(depth)):
            stage, stride = f"stage{s}", 2 if s and not b else 1
            kernel = choice(f"stage{s}.block{b}.kernel", kernels)
            reach = deeper_than(blocks, b) if b >= min(depth) else True
            x = _block(graph, x, (stage, f"block{b}"), (out, kernel, stride), policy, present=reach)
    graph.add("pool", GlobalPool(policy.tensor()), x)
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(numbers_given(output, space="residual"), **policy.edge()))
    return SearchSpace(graph, name="residual")


def _block(
    graph: Graph,
    x: str,
    where: tuple[str, str],
    shape: tuple[int, int, int],
    policy: Policy,
    *,
    present: bool,
) -> str:
    stage, block = where
    out, kernel, stride = shape
    here = f"{stage}.{block}"
    first = policy.layer(stage, block, "conv1")
    graph.add(f"{here}.conv1", Conv2d(out, kernel, stride, **first), x, present=present)
    _normed(graph, f"{here}.conv1", activate=True, present=present)
    graph.add(
        f"{here}.conv2", Conv2d(out, 3, **policy.layer(stage, block, "conv2")), present=present
    )
    main = _normed(graph, f"{here}.conv2", activate=False, present=present)
    skip = x
    if block == "block0":
        graph.add(f"{here}.skip", Conv2d(out, 1, stride, **policy.layer(stage, block, "skip")), x)
        skip = _normed(graph, f"{here}.skip", activate=False)
    graph.add(f"{here}.add", Add(policy.tensor()), main, skip, present=present)
    return graph.add(f"{here}.relu", Activation("relu"), present=present)


def _normed(graph: Graph, name: str, *, activate: bool, present: bool = True) -> str:
    x = graph.add(f"{name}.norm", BatchNorm2d(), present=present)
    return graph.add(f"{name}.relu", Activation("relu"), present=present) if activate else x
