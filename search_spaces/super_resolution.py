"""The space of networks from an image to an image of the same or of a multiple size.

All convolutions work at the size of the input, and the last one computes `block * block` numbers
per pixel and channel, which `DepthToSpace` spreads out (Shi et al. 2016, ESPCN). Blocks between the
first and last convolution are residual, without norms (Lim et al. 2017, EDSR). All of this is added
to the input, which is resized, so that networks learn the difference (Kim et al. 2016, VDSR).
"""

from __future__ import annotations

from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.interface import reading_image
from search_spaces.ops import (
    Activation,
    Add,
    Conv2d,
    DepthToSpace,
    Input,
    Resize,
    Shape,
    deeper_than,
)
from search_spaces.options import Kernels, Sizes
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace


def super_resolution(
    inputs: tuple[Input, ...],
    output: Shape,
    *,
    widths: Sizes = (8, 16, 24),
    depths: Sizes = (1, 2, 3),
    kernels: Kernels = (3,),
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> SearchSpace:
    """The space of networks from an image `(c, h, w)` to an image `(c, block * h, block * w)`.

    Args:
        inputs: The one input image.
        output: The shape of the output image, in units of the input's pixels.
        widths: Options of the width of all inner convolutions, ascending.
        depths: Options of the number of residual blocks, ascending, at least 1.
        kernels: Options of the kernel of every block's first convolution, odd and ascending.
        policy: Precisions to choose from.

    Raises:
        ValueError: If the shapes are not those of such images, or a depth is below 1.
    """
    graph = reading_image(inputs, space="super_resolution")
    block = _growth(inputs[0].shape, output)
    source, width, depth = graph.output, choice("width", widths), choice("depth", depths)
    graph.add("stem", Conv2d(width, 3, **policy.edge()))
    x = graph.add("stem.relu", Activation("relu"))
    if min(depths) < 1:
        raise ValueError(f"super_resolution has at least one block, given depths {tuple(depths)}")
    for b in range(max(depths)):
        kernel = choice(f"block{b}.kernel", kernels)
        there = deeper_than(depth, b) if b >= min(depths) else True
        x = _block(graph, x, f"block{b}", (width, kernel), policy, present=there)
    drawn = graph.add("head", Conv2d(output[0] * block**2, 3, bias=True, **policy.edge()), x)
    if block > 1:
        drawn = graph.add("pixels", DepthToSpace(block))
        source = graph.add("grown", Resize((output[1], output[2])), source)
    graph.add("sum", Add(policy.tensor()), drawn, source)
    return SearchSpace(graph, name="super_resolution")


def _block(
    graph: Graph, x: str, here: str, shape: tuple[int, int], policy: Policy, *, present: bool
) -> str:
    """Append a residual block of a width and a kernel that reads `x`; returns its address."""
    width, kernel = shape
    first = Conv2d(width, kernel, bias=True, **policy.layer("body", here, "conv1"))
    graph.add(f"{here}.conv1", first, x, present=present)
    graph.add(f"{here}.relu", Activation("relu"), present=present)
    second = Conv2d(width, 3, bias=True, **policy.layer("body", here, "conv2"))
    main = graph.add(f"{here}.conv2", second, present=present)
    return graph.add(f"{here}.add", Add(policy.tensor()), x, main, present=present)


def _growth(image: Shape, output: Shape) -> int:
    """The factor from the height and width of the image to those of the output."""
    channels, height, width = image
    block = output[1] // height if len(output) == 3 else 0
    if block < 1 or output != (channels, block * height, block * width):
        raise ValueError(
            "super_resolution makes an image of as many channels, and of the same size or a whole "
            f"multiple of it, given an image {image} and the output {output}; choose another space "
            "for this task"
        )
    return block
