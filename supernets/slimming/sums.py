"""Second moments of what layers read, over a bounded number of places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from supernets.inputs import count
from supernets.post_training.moments import Draw, columns, places_of
from supernets.post_training.observing import Watch
from supernets.post_training.reference import Reference


def covariances(reference: Reference, addresses: Collection[str]) -> dict[str, Tensor]:
    """The covariance of the columns that layers read, `(columns, columns)`, by their addresses.

    Layers with groups, and those whose output is no product of a matrix with columns, are left out.
    """
    graph, shapes = reference.network.graph, reference.network.graph.shapes()
    samples = sum(map(count, reference.batches))
    draws: dict[str, Draw] = {}
    readers: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        places = places_of(graph.nodes[address].op, shapes[address])
        if places is not None and graph.nodes[address].op.sums_all_channels:
            readers[graph.nodes[address].inputs[0]].append(address)
            draws[address] = Draw(places, samples)
    sums: dict[str, Tensor] = {}

    def see(source: str, output: Tensor) -> None:
        for address in readers[source]:
            (read,) = columns(graph.nodes[address].op, output, draws[address]())
            read = torch.cat([read, torch.ones_like(read[:1])]).double()
            sums[address] = sums.get(address, 0.0) + read @ read.mT

    watch = Watch(reference.module, readers, see)
    for batch in reference.batches:
        watch.show(batch)
    return dict(_centred(sums))


def _centred(sums: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The sums, less what the means explain; the last row and column are those of ones."""
    for address, total in sums.items():
        mean = total / total[-1, -1]
        yield address, mean[:-1, :-1] - mean[:-1, -1:] @ mean[-1:, :-1]
