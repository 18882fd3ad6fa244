"""Inter-layer terms: what two rounded tensors lose together beyond what each loses alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from predictors.proxies.sensitivity.curvature import hessian_product
from predictors.proxies.sensitivity.outputs import together
from predictors.proxies.sensitivity.study import Entry, Site, Study
from search_spaces.choice import resolve
from search_spaces.lookups import Lookups, tabulate
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
_CHUNK = 512


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


class InteractionCost:
    """The second-order loss of every genotype, with the inter-layer terms of all its precisions.

    A tensor in full precision, or of a node that is absent, loses nothing.

    Args:
        space: The space whose precisions were measured.
        found: The terms; an entry of a precision that the space does not offer is passed over.

    Raises:
        ValueError: If the space offers a precision whose terms are not known at an address where
            others are.
    """

    def __init__(self, space: SearchSpace, found: Interactions) -> None:
        numbers = {entry: number for number, entry in enumerate(found.entries)}
        self._matrix = np.pad(found.matrix, (0, 1))  # the last one is full precision
        counts = {made.name: len(made.options) for made in space.choices}
        sites = dict.fromkeys(entry.site for entry in found.entries)
        tables = [
            tabulate(
                f"the precision of {site.address!r}", counts, _number(space, site, numbers), int
            )
            for site in sites
        ]
        self._lookups = Lookups(tables, space.column)

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The loss of every row of `genotypes` `(n, choices)`, as `(n,)`."""
        result = np.empty(len(genotypes))
        for start in range(0, len(genotypes), _CHUNK):
            rows = slice(start, start + _CHUNK)
            at = self._lookups(genotypes[rows]).T
            result[rows] = self._matrix[at[:, :, None], at[:, None, :]].sum(axis=(1, 2)) / 2
        return result


def _number(
    space: SearchSpace, site: Site, numbers: Mapping[Entry, int]
) -> Callable[[Mapping[str, int]], int]:
    node = space.graph.nodes[site.address]

    def number(picks: Mapping[str, int]) -> int:
        if not all(resolve(condition, picks) for condition in node.present):
            return len(numbers)
        quant = getattr(resolve(node.op, picks), site.tensor)
        if quant is None:
            return len(numbers)
        if Entry(site, quant) not in numbers:
            raise ValueError(
                f"the terms of {site.address!r} in {quant.name} are not known; measure every "
                "precision that `open_precisions(space.graph, ...)` lists"
            )
        return numbers[Entry(site, quant)]

    return number
