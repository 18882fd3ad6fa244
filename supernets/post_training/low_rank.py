"""Rewrites that fill low-rank branches with what rounded weights have lost.

`search_spaces.compensation` puts the branches into a graph. In the float network they give zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from search_spaces.compensation import DOWN, UP
from search_spaces.space import SearchSpace
from supernets.deployed import Deployed, Rewrite, values
from supernets.largest import largest_parameters
from supernets.post_training.error_feedback import damped
from supernets.post_training.post_training import Filling
from supernets.post_training.reference import Reference
from supernets.post_training.walk import Layer, walked


def with_branches(space: SearchSpace, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` of a space's network, and zeros for the low-rank branches of the space."""
    zeros = {
        f"{address}.{name}": torch.zeros(parameter.shape)
        for address, parameters in largest_parameters(space).items()
        if address.endswith((f".{DOWN}", f".{UP}"))
        for name, parameter in parameters.items()
    }
    return {**zeros, **tensors}


@Filling
def lorc(reference: Reference) -> Rewrite:
    """The rewrite that gives each branch the part of its rank of a weight's error.

    The part is that of the largest singular values (LoRC, Yao et al. 2023, section 4). Biases
    follow, so that means are those of the float network. Behind roundings and repairs.
    """

    def halves(layer: Layer, rank: int) -> tuple[Tensor, Tensor]:
        exact = reference.network.weight(layer.address)
        assert isinstance(exact, np.ndarray)
        lost = (torch.from_numpy(exact) - layer.base).flatten(1)
        left, sizes, right = torch.linalg.svd(lost, full_matrices=False)
        return left[:, :rank] * sizes[:rank], right[:rank]

    return _filling(reference, halves)


@Filling
def eora(reference: Reference) -> Rewrite:
    """The rewrite that gives each branch what its layer misses most, for the inputs that arrive.

    A walk through the network measures at each layer what the rounded layer misses. The best
    correction of a given rank is known: the part of the largest singular values, in the eigenspace
    of the inputs' covariance, of the least-squares solution (EoRA, Liu et al. 2024, section 3). A
    direction with more variance counts more. Biases follow. Behind roundings and repairs.
    """

    def halves(layer: Layer, rank: int) -> tuple[Tensor, Tensor]:
        return best_of_rank(layer.moments.gram[0], layer.moments.cross[0], rank)

    return _filling(reference, halves)


def _filling(
    reference: Reference, halves: Callable[[Layer, int], tuple[Tensor, Tensor]]
) -> Rewrite:
    """The rewrite that fills each branch with the `halves` of a layer and of a rank."""

    def change(deployed: Deployed, layer: Layer) -> Deployed:
        if f"{layer.address}.{DOWN}" not in deployed.graph.nodes:
            return deployed
        rank = len(values(deployed.parameters[f"{layer.address}.{DOWN}"]["weight"]))
        up, down = halves(layer, rank)
        bias = layer.fitting_bias(layer.base + (up @ down).reshape(layer.base.shape))
        return _filled(deployed, layer.address, (up, down)).changed(layer.address, bias=bias)

    def filled(deployed: Deployed) -> Deployed:
        if not any(address.endswith(f".{DOWN}") for address in deployed.graph.nodes):
            return deployed
        return walked(deployed, reference.network, reference.batches, change, base=deployed)

    return filled


def best_of_rank(gram: Tensor, cross: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The map of a rank that, added to a layer, leaves the least squared error of its outputs.

    Args:
        gram: The covariance of the inputs, `(columns, columns)`.
        cross: The covariance of what the layer misses and of the inputs, `(out, columns)`.
        rank: The rank.

    Returns:
        Matrices `(out, rank)` and `(rank, columns)`, whose product is the map.
    """
    sizes, basis = torch.linalg.eigh(damped(gram[None])[0])
    root = sizes.clamp_min(torch.finfo(torch.float32).tiny).sqrt()
    # With the map M = cross / gram, the error of another map N is that of (N - M) basis * root.
    left, strengths, right = torch.linalg.svd((cross.double() @ basis) / root, full_matrices=False)
    up = left[:, :rank] * strengths[:rank]
    return up.float(), ((right[:rank] / root) @ basis.T).float()


def _filled(deployed: Deployed, address: str, halves: tuple[Tensor, Tensor]) -> Deployed:
    """`deployed` with the branch of a layer that multiplies by both `halves`, one after another."""
    for part, half in zip((UP, DOWN), halves, strict=True):
        here = f"{address}.{part}"
        shape = values(deployed.parameters[here]["weight"]).shape
        whole = torch.zeros(shape).flatten(1)
        whole[: len(half), : half.shape[1]] = half  # a rank above that of the matrix stays unused
        deployed = deployed.changed(here, weight=whole.reshape(shape).numpy())
    return deployed
