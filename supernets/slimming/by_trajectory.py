"""Importance by the error that the removal of a unit makes in all later layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from search_spaces.channel_groups import Coupling
from supernets.assemble import ADDRESS
from supernets.inputs import arguments
from supernets.post_training.reference import Reference
from supernets.slimming.readings import Changing, Reading, by_source, readings

SAMPLES = 64
"""The number of samples that are looked at, since the network runs once for every unit."""


def trajectory(reference: Reference, found: Coupling) -> Mapping[str, Tensor]:
    """The error of all later layers and of the output without a unit (OPTIN).

    A unit is set to zero where it is read. The error of a layer's output is its square, as a share
    of the square of the output; errors are summed over layers. The first samples of the first batch
    are used.
    """
    whole = _Whole(reference)
    with torch.no_grad():
        return {
            name: torch.tensor(
                [
                    whole.error(by_source(here), name, unit)
                    for unit in range(found.groups[name].count)
                ]
            )
            for name, here in readings(reference.network, found).items()
        }


class _Whole:
    """A network and all that it computes for some samples."""

    def __init__(self, reference: Reference) -> None:
        graph = reference.network.graph
        batch = {name: tensor[:SAMPLES] for name, tensor in reference.batches[0].items()}
        self._module, self._batch = reference.module, batch
        self._compared = {a for a, node in graph.nodes.items() if node.op.mixes_channels}
        self._compared.add(graph.output)
        run = Changing(self._module, lambda _address, _read, output: output)
        run.garbage_collect_values = False
        with torch.no_grad():
            run.run(*arguments(self._module, batch))
        self._held = dict(run.env)
        self._order = {node: n for n, node in enumerate(self._module.graph.nodes)}
        self._nodes = {n.meta[ADDRESS]: n for n in self._order if ADDRESS in n.meta}

    def error(self, sources: Mapping[str, Reading], group: str, unit: int) -> float:
        """The summed error of layers where a unit is zero in the tensors at `sources`."""
        total = 0.0

        def change(address: str, _: list[Tensor], output: Tensor) -> Tensor:
            nonlocal total
            if address in self._compared:
                exact = self._held[self._nodes[address]]
                power = float(exact.square().sum())
                total += float((output - exact).square().sum()) / power if power else 0.0
            if address in sources:
                return sources[address].without(output, group, unit)
            return output

        first = min(self._order[self._nodes[source]] for source in sources)
        before: dict[fx.Node, Any] = {
            n: value for n, value in self._held.items() if self._order[n] < first
        }
        Changing(self._module, change).run(
            *arguments(self._module, self._batch), initial_env=before
        )
        return total
