"""Float weights from outside: set as the largest parameters of a supernet, by name.

The statistics of batch norms are no part of a supernet: training takes those of the batch, and
extraction takes those of the calibration batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from search_spaces.ops import Shape
from search_spaces.space import SearchSpace
from supernets.supernet import Supernet, largest_parameters


class WeightsError(ValueError):
    """The error for float weights that are not those of a space."""


def weights_of(supernet: Supernet) -> dict[str, Tensor]:
    """The largest parameters of `supernet`, without quantizer steps, by `ADDRESS.NAME`.

    `ADDRESS` is the address of a node, such as `stage0.block1.conv1`, and `NAME` the name of one of
    the node's parameters, such as `weight`. The tensors are those of the supernet, not copies.
    """
    return {
        f"{address}.{name}": tensor
        for address in supernet.space.graph.nodes
        for name, tensor in supernet.node(address).parameters_by_name().items()
    }


def set_weights(supernet: Supernet, weights: Mapping[str, Tensor]) -> None:
    """Set the largest parameters of `supernet`, which keeps its quantizer steps.

    Args:
        supernet: The supernet; changed only if all tensors fit.
        weights: The tensors by the names of `weights_of`, in the largest shapes of the space.

    Raises:
        WeightsError: As `require_weights` does.
    """
    require_weights(supernet.space, weights)
    with torch.no_grad():
        for name, tensor in weights_of(supernet).items():
            tensor.copy_(weights[name])


def require_weights(space: SearchSpace, weights: Mapping[str, Tensor]) -> None:
    """Check that tensors are all the largest parameters of a space, by the names of `weights_of`.

    Raises:
        WeightsError: If a name is missing or unknown, or a tensor has another shape or holds
            anything but finite floating-point numbers; all such names are listed.
    """
    largest = largest_parameters(space)
    shapes = {f"{at}.{name}": p.shape for at, held in largest.items() for name, p in held.items()}
    if faults := tuple(_faults(shapes, weights)):
        raise WeightsError(
            f"the weights do not fit space {space.name!r}: {'; '.join(faults)}; give every "
            "parameter of the largest network once, as a tensor called ADDRESS.NAME, and nothing "
            "else (means and variances of batch norms are measured anew)"
        )


def _faults(shapes: Mapping[str, Shape], given: Mapping[str, Tensor]) -> Iterator[str]:
    """What is wrong with the tensors `given`, in words; nothing if all fit."""
    if missing := sorted(shapes.keys() - given.keys()):
        yield f"missing: {', '.join(missing)}"
    if unknown := sorted(given.keys() - shapes.keys()):
        yield f"unknown: {', '.join(unknown)}"
    both = sorted(shapes.keys() & given.keys())
    if other := [name for name in both if shapes[name] != tuple(given[name].shape)]:
        told = (f"{name} {tuple(given[name].shape)} for {shapes[name]}" for name in other)
        yield f"of another shape: {', '.join(told)}"
    if broken := [name for name in both if not _finite(given[name])]:
        yield f"not finite floating-point numbers: {', '.join(broken)}"


def _finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.isfinite().all())
