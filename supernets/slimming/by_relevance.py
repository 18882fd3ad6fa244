"""Importance by relevance, which is handed back from the output layer by layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from search_spaces.channel_groups import Coupling
from supernets.deployed import Deployed
from supernets.elastic import compute
from supernets.inputs import arguments
from supernets.post_training.reference import Reference
from supernets.slimming.readings import Changing, by_source, readings, weight_of

_LEAST = 1e-9


def relevance(reference: Reference, found: Coupling) -> Mapping[str, Tensor]:
    """The relevance of a unit for the outputs (Yeom et al. 2021, "Pruning by explaining").

    A layer that sums over channels shares the relevance of its output among its inputs by their
    positive contributions (the z+ rule of Montavon et al. 2017, section 4.1); all other operators
    hand back activation times gradient. The relevance of an output is its square.
    """
    network, module = reference.network, reference.module
    places = readings(network, found)
    sources = {reading.source for here in places.values() for reading in here}
    total = defaultdict[str, Tensor](lambda: torch.zeros(()))
    for batch in reference.batches:
        seen: dict[str, Tensor] = {}

        def hand_on(
            address: str, read: list[Tensor], output: Tensor, seen: dict[str, Tensor] = seen
        ) -> Tensor:
            if network.graph.nodes[address].op.absorbs and read[-1].requires_grad:
                output = _shared_out(network, address, read[-1], output.detach())
            if address in sources:
                seen[address] = output if output.requires_grad else output.requires_grad_()
            return output

        output = Changing(module, hand_on).run(*arguments(module, batch))
        held = [*seen.items()]
        gradients = torch.autograd.grad(output, [t for _, t in held], output.detach())
        relevant = {a: (t * g).detach() for (a, t), g in zip(held, gradients, strict=True)}
        for name, here in places.items():
            for source, one in by_source(here).items():
                total[name] = total[name] + one.summed(relevant[source], name).sum(0)
    return dict(total)


def _shared_out(network: Deployed, address: str, read: Tensor, output: Tensor) -> Tensor:
    """`output`, whose gradient shares it out among inputs by their positive contributions."""
    op, weight = network.graph.nodes[address].op, weight_of(network, address)
    nothing = torch.zeros(len(weight))
    both = [
        compute(op, {"weight": signed(weight), "bias": nothing}, signed(read))
        for signed in (_positive, _negative)
    ]
    positive = both[0] + both[1]
    return positive * (output / (positive + _LEAST)).detach()


def _positive(tensor: Tensor) -> Tensor:
    return tensor.clamp(min=0)


def _negative(tensor: Tensor) -> Tensor:
    return tensor.clamp(max=0)
