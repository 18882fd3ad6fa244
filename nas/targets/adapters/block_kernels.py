"""Kernels for published figures of whole blocks, made by the engine's own MobileNet builder.

A published row may be about a block of several layers. The same block in one of our spaces is one
kernel if a fusion has a region for it.
"""

from __future__ import annotations

import functools
import re

from nas.targets.adapters.imported import Unmappable
from nas.targets.adapters.reading import whole
from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, Kernel, kernels
from search_spaces.mobilenet import InvertedResidual, inverted_residual
from search_spaces.ops import Activation, BatchNorm2d, Conv2d, Input, Nonlinearity
from search_spaces.policy import Policy

REGIONS = ("first", "stage*.block*")
BLOCKS = Fusion(
    chains=((Conv2d, BatchNorm2d, Activation), (Conv2d, Activation), (Conv2d, BatchNorm2d)),
    regions=REGIONS,
)
FLOAT = Policy(weight_bits=(None,), activation_bits=(None,), edge_bits=None)
_SHAPE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})x([0-9]{1,5})")


@functools.lru_cache(maxsize=4096)
def block_kernel(channels: int, size: int, block: InvertedResidual) -> Kernel:
    """The single kernel of an inverted-residual block that reads `(channels, size, size)`.

    Raises:
        Unmappable: If the depthwise window is even, or input and output of a residual block differ
            in shape.
    """
    if block.kernel % 2 == 0:
        raise Unmappable(f"kernel = {block.kernel} is even; our convolutions have a middle")
    if block.residual and (block.stride != 1 or channels != block.width):
        raise Unmappable("a shortcut between unlike shapes")
    graph = Graph(Input("image", (channels, size, size)))
    inverted_residual(graph, "input", block, FLOAT)
    *_, (_, found) = kernels(graph, Fusion(regions=(block.address,)))
    return found


def mixed(channels: int, out: int, function: Nonlinearity) -> Kernel:
    """The kernel of a 1x1 convolution without norm, which reads the result of a global pool."""
    return Kernel(Conv2d(out, 1), (Activation(function),), ((channels, 1, 1),))


def square(text: str, name: str) -> tuple[int, int]:
    """The size and the channels of an image written as `HxWxC`.

    Args:
        text: The text, such as `112x112x32`.
        name: The name of the field, for messages.

    Raises:
        Unmappable: If the text has another form, or the image is not square.
    """
    matched = _SHAPE.fullmatch(text)
    if not matched or matched[1] != matched[2]:
        raise Unmappable(f"{name} = {text[:40]!r} is no square image HxWxC")
    return whole(matched[1], name), whole(matched[3], name)
