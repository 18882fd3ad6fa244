"""Float weights from outside, checked as the largest parameters of a space, by name.

The statistics of batch norms are no part of a supernet: training takes those of the batch, and
extraction takes those of the calibration batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from search_spaces.ops import Shape
from search_spaces.space import SearchSpace
from supernets.largest import largest_parameters


class WeightsError(ValueError):
    """The error for float weights that are not those of a space."""


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
