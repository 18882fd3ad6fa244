"""Importance by gradients of the outputs, which need no labels.

A loss needs labels, and its gradient vanishes where a network is compared with itself. The outputs
are therefore added up with random signs, several times: the expected square of such a gradient is
the Fisher information of outputs with Gaussian noise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from search_spaces.channel_groups import Coupling
from supernets.inputs import Inputs, arguments
from supernets.post_training.reference import Reference
from supernets.slimming.readings import Changing, Reading, by_source, readings

_SIGNS = 4


def activation_gradient(reference: Reference, found: Coupling) -> Mapping[str, Tensor]:
    """The size of activation times gradient (Molchanov et al. 2017, equation 8)."""
    return _summed(reference, found, torch.abs)


def fisher(reference: Reference, found: Coupling) -> Mapping[str, Tensor]:
    """The square of activation times gradient (Theis et al. 2018, equation 7)."""
    return _summed(reference, found, torch.square)


def _summed(
    reference: Reference, found: Coupling, size: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """The mean over samples and signs of the size of activation times gradient, per unit."""
    places = readings(reference.network, found)
    random, total = (
        torch.Generator().manual_seed(0),
        defaultdict[str, Tensor](lambda: torch.zeros(())),
    )
    for batch in reference.batches:
        for effects in _effects(reference, places, batch, random):
            for name, effect in effects.items():
                total[name] = total[name] + size(effect).sum(0)
    return dict(total)


def _effects(
    reference: Reference,
    places: Mapping[str, list[Reading]],
    batch: Inputs,
    random: torch.Generator,
) -> list[dict[str, Tensor]]:
    """Activation times gradient of every unit, `(samples, count)`, for each draw of signs."""
    sources = {reading.source for found in places.values() for reading in found}
    seen: dict[str, Tensor] = {}

    def keep(address: str, _: list[Tensor], output: Tensor) -> Tensor:
        if address in sources:
            seen[address] = output if output.requires_grad else output.requires_grad_()
        return output

    output = Changing(reference.module, keep).run(*arguments(reference.module, batch))
    found: list[dict[str, Tensor]] = []
    for _ in range(_SIGNS):
        signs = torch.randint(2, output.shape, generator=random).to(output) * 2 - 1
        held = [*seen.items()]
        gradients = torch.autograd.grad(output, [t for _, t in held], signs, retain_graph=True)
        effects = {a: (t * g).detach() for (a, t), g in zip(held, gradients, strict=True)}
        found.append(
            {
                name: torch.stack(
                    [one.summed(effects[at], name) for at, one in by_source(here).items()]
                ).sum(0)
                for name, here in places.items()
            }
        )
    return found
