"""Float weights from outside: set as the largest parameters of a supernet, by name.

The statistics of batch norms are no part of a supernet: training takes those of the batch, and
extraction takes those of the calibration batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from supernets.supernet import Supernet


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
        WeightsError: If a name is missing or unknown, or a tensor has another shape or holds
            anything but finite numbers; all such names are listed.
    """
    held = weights_of(supernet)
    faults = tuple(_faults(held, weights))
    if faults:
        raise WeightsError(
            f"the weights do not fit space {supernet.space.name!r}: {'; '.join(faults)}; give "
            "every parameter of the largest network once, as a tensor called ADDRESS.NAME, and "
            "nothing else (means and variances of batch norms are measured anew)"
        )
    with torch.no_grad():
        for name, tensor in held.items():
            tensor.copy_(weights[name])


def _faults(held: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    """What is wrong with the tensors `given`, in words; nothing if all fit."""
    if missing := sorted(held.keys() - given.keys()):
        yield f"missing: {', '.join(missing)}"
    if unknown := sorted(given.keys() - held.keys()):
        yield f"unknown: {', '.join(unknown)}"
    both = sorted(held.keys() & given.keys())
    other = [name for name in both if held[name].shape != given[name].shape]
    if other:
        shapes = (f"{n} {tuple(given[n].shape)} for {tuple(held[n].shape)}" for n in other)
        yield f"of another shape: {', '.join(shapes)}"
    if broken := [name for name in both if not _finite(given[name])]:
        yield f"not finite floating-point numbers: {', '.join(broken)}"


def _finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.isfinite().all())
