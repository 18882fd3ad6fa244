"""The order of channels by importance, by which the first channels of every layer matter most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from search_spaces.channel_groups import Along, Coupling
from search_spaces.coupling import coupling
from search_spaces.graph import Graph
from supernets.channels import moved
from supernets.inputs import Inputs
from supernets.post_training.float_network import float_network
from supernets.post_training.reference import Reference
from supernets.slimming.readings import Importance


def sorted_by(
    importance: Importance,
    graph: Graph,
    *,
    tensors: Mapping[str, Tensor],
    batches: Sequence[Inputs | Tensor],
) -> dict[str, Tensor]:
    """The tensors of a network with its channels in descending order of importance.

    The network computes the same as before. `search_spaces.slimming.slimmed` then keeps the most
    important channels of each group.

    Args:
        importance: The score.
        graph: The resolved graph, without precisions.
        tensors: The parameters and the statistics of norms, by `ADDRESS.NAME`.
        batches: Batches of inputs, which need no labels; at least one.

    Raises:
        WeightsError: If a tensor is missing or holds a number that is not finite.
        ValueError: If there is no batch, or the score of a group has the wrong form.
    """
    found = coupling(graph)
    reference = Reference(float_network(graph, tensors), batches)
    scores = importance(reference, found)
    for name, numbers in scores.items():
        wanted = (found.groups[name].count,)
        if tuple(numbers.shape) != wanted or not bool(numbers.isfinite().all()):
            raise ValueError(
                f"the importance of group {name!r} must be {wanted[0]} finite numbers, given the "
                f"shape {tuple(numbers.shape)}; give one number for every unit"
            )
    orders = found.orders({name: numbers.tolist() for name, numbers in scores.items()})
    return reordered(found, tensors, {name: torch.tensor(order) for name, order in orders.items()})


def reordered(
    found: Coupling, tensors: Mapping[str, Tensor], orders: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of a network, by `ADDRESS.NAME`, with the units of groups in new orders."""
    keyed = {_key(name): tensor for name, tensor in tensors.items()}
    alongs = [*found.alongs]
    for along in found.alongs:
        if along.name == "scale":  # a norm's statistics have the order of its scale
            alongs += [
                Along(along.address, name, (0,), along.reads, along.parts)
                for name in ("mean", "variance")
                if (along.address, name) in keyed
            ]
    whole = Coupling(found.groups, tuple(alongs), found.lengths)
    return {".".join(key): tensor for key, tensor in moved(whole, keyed, orders).items()}


def _key(name: str) -> tuple[str, str]:
    """The address and the name of a parameter in the name `ADDRESS.NAME` of a tensor."""
    address, _, parameter = name.rpartition(".")
    return address, parameter
