"""The input and the output that a space needs of a task, or the space refuses the task."""

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


def only_input(inputs: Sequence[Input], *, space: str) -> Input:
    """The single input of a task.

    Raises:
        ValueError: In the name of `space`: there are other numbers of inputs.
    """
    if len(inputs) != 1:
        given = ", ".join(op.name for op in inputs) or "none"
        raise ValueError(
            f"the space {space!r} reads one input, but the task has {len(inputs)} ({given}); "
            "choose another space for this task"
        )
    return inputs[0]


def numbers_given(output: Shape, *, space: str) -> int:
    """The length of `output`, such as the number of classes.

    Raises:
        ValueError: In the name of `space`: the output is no vector.
    """
    if len(output) != 1:
        raise ValueError(
            f"the space {space!r} gives a vector per sample, such as a number per class, but the "
            f"task wants an output of the shape {output}; choose another space for this task"
        )
    return output[0]
