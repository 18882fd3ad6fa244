"""Calibration: initial quantizer steps for every precision of every tensor of a supernet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from search_spaces.space import Genotype
from supernets.inputs import Inputs, inputs_of
from supernets.supernet import Supernet, subnet_of

_SAMPLED_VALUES = 1 << 15
_TRIED_SUBNETS = 256


def initialise_steps(supernet: Supernet, batches: Iterable[Inputs | Tensor]) -> None:
    """Set all steps and zero points to the least squared error on weights and on `batches`.

    Activations are those of the largest subnet in full precision. The activations of a node that is
    absent there come from the first other subnet in which the node is present.

    Args:
        supernet: A supernet, best trained in full precision before; its steps and zero points are
            overwritten.
        batches: Batches of inputs as `Supernet.forward` takes them; at least one.

    Raises:
        ValueError: If there is no batch.
    """
    shown = [inputs_of(supernet.space.graph, batch) for batch in batches]
    if not shown:
        raise ValueError("initialise_steps needs at least one batch of inputs, given none")
    for address in supernet.space.graph.nodes:
        shared = supernet.node(address)
        if shared.weight is not None:
            shared.weight.initialise(shared.tensors["weight"])
    for genotype, addresses in _covering(supernet):
        for (address, position), values in _observed(supernet, genotype, shown).items():
            if address in addresses:
                supernet.node(address).input_quantizer(position).initialise(values)


def _covering(supernet: Supernet) -> Iterator[tuple[Genotype, set[str]]]:
    """Subnets that together contain every node, each with the nodes to observe in this subnet."""
    space = supernet.space
    pending = {address for address in space.graph.nodes if len(supernet.node(address).inputs)}
    rng = np.random.default_rng(0)
    candidates = [space.largest, space.smallest]
    candidates += [space.sample(rng) for _ in range(_TRIED_SUBNETS)]
    for genotype in candidates:
        found = pending & subnet_of(space, genotype).graph.nodes.keys()
        pending -= found
        if found:
            yield genotype, found
        if not pending:
            return


def _observed(
    supernet: Supernet, genotype: Genotype, shown: list[Inputs]
) -> dict[tuple[str, int], Tensor]:
    """A sample of the full-precision values of every input with a quantizer, `(1, values)`."""
    seen: dict[tuple[str, int], list[Tensor]] = {}

    def observe(address: str, position: int, value: Tensor) -> None:
        values = value.detach().reshape(-1)
        stride = max(1, len(values) * len(shown) // _SAMPLED_VALUES)
        seen.setdefault((address, position), []).append(values[::stride])

    with torch.no_grad():
        for batch in shown:
            supernet.run(batch, genotype, quantize=False, observe=observe)
    return {slot: torch.cat(parts).unsqueeze(0) for slot, parts in seen.items()}
