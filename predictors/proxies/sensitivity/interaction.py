"""Inter-layer terms: what two rounded tensors lose together beyond what each loses alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from predictors.proxies.sensitivity.curvature import hessian_product
from predictors.proxies.sensitivity.outputs import together
from predictors.proxies.sensitivity.study import Entry, Study

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Interactions:
    """The second-order loss of every set of rounded tensors.

    Attributes:
        entries: Tensors in precisions.
        matrix: Twice the loss of each pair of entries, `(entries, entries)`, without negative
            eigenvalues: d_i' H d_j, where d_i is the change of the output by entry i and H the
            Hessian of the distance by the output.
    """

    entries: Sequence[Entry]
    matrix: FloatArray

    @property
    def alone(self) -> FloatArray:
        """The predicted loss of every entry alone, `(entries,)`."""
        return np.diag(self.matrix) / 2

    def loss(self, chosen: Iterable[int]) -> float:
        """The predicted loss of the entries of these numbers together."""
        at = np.array(list(chosen), dtype=np.intp)
        return float(self.matrix[np.ix_(at, at)].sum() / 2)


def interactions(study: Study, entries: Sequence[Entry] | None = None) -> Interactions:
    """The inter-layer terms of all pairs, from one forward pass per entry and batch.

    The change of the output by several rounded tensors is taken as the sum of the changes by each,
    and the distance as its second-order form. A measurement of each pair, as in CLADO (Deng et al.
    2023), needs the square of this number of passes. Memory holds the outputs of one batch for
    every entry.
    """
    entries = list(study.entries if entries is None else entries)
    total = np.zeros((len(entries), len(entries)))
    samples = sum(map(len, study.references()))
    for batch, reference in zip(study.batches, study.references(), strict=True):
        target = reference.double().clone()
        product = hessian_product(lambda y, target=target: study.distance(y, target), target)
        changes = [study.run(batch, [entry]).double() - target for entry in entries]
        turned = torch.stack([product(change).flatten() for change in changes])
        flat = torch.stack([change.flatten() for change in changes])
        total += len(reference) / samples * (flat @ turned.T).cpu().numpy()
    return Interactions(entries, (total + total.T) / 2)


def pairwise(
    study: Study, pairs: Sequence[tuple[Entry, Entry]], alone: Mapping[Entry, float]
) -> Iterator[tuple[tuple[Entry, Entry], float]]:
    """The measured loss of each pair together, less those of both alone (CLADO, equation 5).

    Args:
        study: The network.
        pairs: Pairs of tensors in precisions, such as those of `neighbours`.
        alone: The distance of each entry alone, from `output_distance`.
    """
    for one, other in pairs:
        yield (one, other), together(study, [one, other]) - alone[one] - alone[other]


def neighbours(study: Study) -> list[tuple[str, str]]:
    """The pairs of addresses between which no other layer of the study stands, in order."""
    layers = {node: address for address, node in study.nodes.items()}
    behind: dict[str, frozenset[str]] = {}
    found: dict[tuple[str, str], None] = {}
    for node in study.module.graph.nodes:
        nearest = frozenset().union(*(behind[read.name] for read in node.all_input_nodes))
        if node.name in layers:
            found |= {(before, layers[node.name]): None for before in sorted(nearest)}
            nearest = frozenset([layers[node.name]])
        behind[node.name] = nearest
    return list(found)
