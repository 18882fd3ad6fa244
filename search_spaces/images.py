"""The input and output of spaces on images: one image, and a vector, such as numbers per class."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import Input, Resize, Shape


def reading_image(
    inputs: Sequence[Input], *, space: str, sizes: Sequence[int] | None = None
) -> Graph:
    """A graph that begins with the only input, an image, resized to a choice of `sizes`.

    Args:
        inputs: The inputs of the task.
        space: The name of the space, for errors.
        sizes: Heights and widths to choose from, ascending; the image as it comes where left out.

    Raises:
        ValueError: If the inputs are not a single image in float32.
    """
    if [(len(op.shape), op.dtype) for op in inputs] != [(3, "float32")]:
        given = ", ".join(f"{op.name} {op.dtype} {op.shape}" for op in inputs) or "no input"
        raise ValueError(
            f"the space {space!r} reads one image, float32 (channels, height, width), given "
            f"{given}; choose another space for this task"
        )
    (image,) = inputs
    graph = Graph(image)
    if sizes is not None and {(size, size) for size in sizes} != {image.shape[1:]}:
        graph.add("resize", Resize(choice("resolution", sizes)))
    return graph


def numbers_given(output: Shape, *, space: str) -> int:
    """The length of `output`, such as the number of classes.

    Raises:
        ValueError: In the name of `space`: the output is no vector.
    """
    if len(output) != 1:
        raise ValueError(
            f"the space {space!r} gives a vector per sample, one number per class, but the task "
            f"wants an output of the shape {output}; choose another space for this task"
        )
    return output[0]
