"""The space in a file, as a recipe names it."""

from __future__ import annotations

from pathlib import Path

from search_spaces.ops import Input, Shape
from search_spaces.space import SearchSpace


def saved(inputs: tuple[Input, ...], output: Shape, *, path: Path) -> SearchSpace:
    """The space in a file that `SearchSpace.to_json` wrote.

    Args:
        inputs: The inputs of the task.
        output: The shape of the task's output per sample.
        path: The file.

    Raises:
        UnreadableFile: The file holds no space.
        ValueError: The space is for other inputs or another output.
    """
    space = SearchSpace.read(path)
    graph = space.decode(space.largest)
    read, given = (*graph.inputs.values(),), graph.shapes()[graph.output]
    if ({*read}, given) != ({*inputs}, output):
        raise ValueError(
            f"space.path = {path} reads {', '.join(map(str, read))} and gives {given}; the task "
            f"has {', '.join(map(str, inputs))} and wants {output}"
        )
    return space
