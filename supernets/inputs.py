"""The inputs of a network: tensors by name, each with the batch as its first axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, fx

from search_spaces.graph import Graph

Inputs = Mapping[str, Tensor]
"""The tensors that a network reads, by the names of its `Input` operators."""
_IMAGES = 4  # axes: batch, channels, height, width


class InputError(ValueError):
    """The error for tensors that do not fit the inputs of a network."""


def inputs_of(graph: Graph, given: Inputs | Tensor) -> Inputs:
    """The inputs of `graph` by name, checked; a bare tensor is the only input.

    Raises:
        InputError: If a name, a type or a shape is wrong, or the tensors differ in their number of
            samples.
    """
    wanted = {op.name: op for op in graph.inputs.values()}
    if isinstance(given, Tensor):
        if len(wanted) != 1:
            raise InputError(
                f"the network reads {len(wanted)} inputs, {', '.join(wanted)}, given one tensor "
                "without a name; give a mapping from names to tensors"
            )
        given = dict.fromkeys(wanted, given)
    if given.keys() != wanted.keys():
        raise InputError(
            f"the network reads {', '.join(wanted)}, given {', '.join(given) or 'nothing'}; give "
            "one tensor for each of these names"
        )
    for name, op in wanted.items():
        tensor = given[name]
        if tensor.dtype != getattr(torch, op.dtype) or tuple(tensor.shape[1:]) != op.shape:
            raise InputError(
                f"input {name!r} is {op.dtype} of the shape (batch, "
                f"{', '.join(map(str, op.shape))}), given {str(tensor.dtype).split('.')[-1]} of "
                f"the shape {tuple(tensor.shape)}"
            )
    if len({len(tensor) for tensor in given.values()}) != 1:
        counts = ", ".join(f"{len(tensor)} of {name}" for name, tensor in given.items())
        raise InputError(f"inputs of one batch have equal numbers of samples, given {counts}")
    return {name: given[name] for name in wanted}


def count(inputs: Inputs) -> int:
    """The number of samples in a batch."""
    return len(next(iter(inputs.values())))


def rows(inputs: Inputs, index: slice | Tensor) -> Inputs:
    """The samples at `index`."""
    return {name: tensor[index] for name, tensor in inputs.items()}


def to_device(inputs: Inputs, device: torch.device | str) -> Inputs:
    """The inputs on `device`."""
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def channels_last(inputs: Inputs) -> Inputs:
    """The inputs with the channels of images as their last axis in memory; shapes are the same."""
    return {
        name: t.contiguous(memory_format=torch.channels_last) if t.dim() == _IMAGES else t
        for name, t in inputs.items()
    }


def batches(inputs: Inputs, size: int) -> Iterator[Inputs]:
    """The samples in their order, in batches of `size`; the last batch may be smaller."""
    for start in range(0, count(inputs), size):
        yield rows(inputs, slice(start, start + size))


def zeros(graph: Graph, samples: int) -> Inputs:
    """Inputs of `graph` that consist of zeros, which are valid tokens too."""
    return {
        op.name: torch.zeros(samples, *op.shape, dtype=getattr(torch, op.dtype))
        for op in graph.inputs.values()
    }


def arguments(module: fx.GraphModule, inputs: Inputs) -> list[Tensor]:
    """The inputs in the order in which an assembled module takes them."""
    return [inputs[str(node.target)] for node in module.graph.nodes if node.op == "placeholder"]
