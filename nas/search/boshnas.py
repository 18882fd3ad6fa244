"""BOSHNAS, a published method: second-order optimization of a surrogate over graph embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import networkx as nx
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Problem
from nas.search.context import plain
from nas.search.points import Scalar, excess, points
from nas.search.polish import mutants
from nas.search.proposer import Proposer
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]

_REFERENCE = 128
_EPOCHS = 150
_ASCENT = 15
_DRAWS = 8


class GraphEmbedding:
    """Coordinates of networks such that networks with similar graphs are near each other.

    The coordinates are the principal components of subtree counts from Weisfeiler-Lehman
    relabelling (Shervashidze et al. 2011), over random networks of the space. The paper uses the
    graph edit distance instead, which takes minutes per pair of networks.

    Args:
        space: The space of the networks.
        size: The largest number of coordinates.
        rng: The source of the random networks to which the axes are fitted.
    """

    def __init__(self, space: SearchSpace, *, size: int, rng: np.random.Generator) -> None:
        self._space = space
        self._counts: dict[Genotype, Counter[str]] = {}
        rows = as_genotypes(space.sample_array(rng, _REFERENCE))
        labels = sorted(set().union(*map(self._subtrees, rows)))
        self._column = {label: number for number, label in enumerate(labels)}
        counted = self._matrix(rows)
        self._center = counted.mean(axis=0)
        _, scale, axes = np.linalg.svd(counted - self._center, full_matrices=False)
        kept = scale[:size] > 1e-9 * max(float(scale[0]), 1e-12)
        self._axes = axes[:size][kept].T / np.maximum(scale[:size][kept], 1e-12)
        self._axes *= np.sqrt(_REFERENCE)

    def __call__(self, genotypes: Sequence[Genotype]) -> FloatArray:
        """The coordinates of `genotypes`, `(n, size)`, of unit variance over the space."""
        return (self._matrix(genotypes) - self._center) @ self._axes

    def _matrix(self, genotypes: Sequence[Genotype]) -> FloatArray:
        matrix = np.zeros((len(genotypes), len(self._column)))
        for row, genotype in zip(matrix, genotypes, strict=True):
            for label, count in self._subtrees(genotype).items():
                if label in self._column:
                    row[self._column[label]] = count
        return np.sqrt(matrix)

    def _subtrees(self, genotype: Genotype) -> Counter[str]:
        if genotype not in self._counts:
            # Undirected: networkx warns that its hashes of directed graphs changed over time.
            graph = nx.Graph(self._space.decode(genotype).digraph())
            for node in graph.nodes.values():
                node["label"] = repr(node["op"])
            hashes = nx.weisfeiler_lehman_subgraph_hashes(
                graph, node_attr="label", iterations=2, include_initial_labels=True
            )
            self._counts[genotype] = Counter(label for found in hashes.values() for label in found)
        return self._counts[genotype]


class Boshnas(Proposer):
    """The BOSHNAS method (Tuli et al. 2022, FlexiBERT, section 3.4) as a searcher.

    A small neural network predicts mean and noise of a scalar loss from the embedding; dropout at
    prediction measures its own uncertainty. A second-order method optimizes the embedding on the
    acquisition function, and the nearest unseen network is proposed. Every round draws new weights
    of the objectives.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed; with the evaluations told, it determines all proposals.
        initial: The number of random networks that are proposed first.
        uncertain: The share of proposals with the largest uncertainty of the pool instead.
    """

    def __init__(
        self, problem: Problem, *, seed: int, initial: int = 20, uncertain: float = 0.1
    ) -> None:
        super().__init__(problem, seed=seed, initial=initial)
        self._embed = GraphEmbedding(problem.space, size=16, rng=np.random.default_rng(seed))
        self._uncertain = uncertain

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """The networks of the pool that are nearest to the optimized embeddings."""
        rows, found = told.rows, points(self.problem, told)
        worth = Scalar(found, rng)(found, excess(self.problem, told))
        known = self._embed(as_genotypes(rows))
        surrogate = _Surrogate(known.shape[1], seed=int(rng.integers(1 << 31)))
        surrogate.learn(known, worth)
        pool = self._pool(rng, rows[np.argsort(worth)[:5]])
        if not pool:
            return rows[:0]
        places = self._embed(pool)
        starts = known[np.argsort(worth)[rng.integers(0, min(10, len(rows)), size=count)]]
        reached = surrogate.ascended(starts)
        distance = ((reached[:, None] - places[None]) ** 2).sum(axis=2)
        least_known = surrogate.uncertainty(places)
        distance[rng.random(count) < self._uncertain] = -least_known
        chosen: list[int] = []
        for wanted in distance:
            wanted[chosen] = np.inf
            chosen.append(int(wanted.argmin()))
        return np.array([pool[index] for index in chosen])

    def _pool(self, rng: np.random.Generator, best: IntArray) -> list[Genotype]:
        near = mutants(best, self.space)
        near = near[rng.permutation(len(near))[:150]]
        return self._ledger.fresh(np.concatenate([near, self.space.sample_array(rng, 50)]))


boshnas = plain(Boshnas)


class _Surrogate:
    """A small neural network that predicts a mean and a variance, with dropout always on."""

    def __init__(self, inputs: int, *, seed: int) -> None:
        self._draw = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._hidden = nn.Linear(inputs, 64)
            self._last = nn.Linear(64, 2)

    def _forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden = nn.functional.softplus(self._hidden(x)) * mask
        mean, raw = self._last(hidden).unbind(-1)
        return mean, nn.functional.softplus(raw) + 1e-3

    def _masks(self, draws: int) -> Tensor:
        return (torch.rand(draws, 1, 64, generator=self._draw) < 0.9) / 0.9

    def learn(self, places: FloatArray, worth: FloatArray) -> None:
        """Fit mean and variance of `worth` `(n,)` at `places` `(n, inputs)`, by likelihood."""
        x = torch.as_tensor(places, dtype=torch.float32)
        y = torch.as_tensor((worth - worth.mean()) / max(worth.std(), 1e-9), dtype=torch.float32)
        parameters = [*self._hidden.parameters(), *self._last.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=0.02, weight_decay=1e-3)
        for _ in range(_EPOCHS):
            mean, variance = self._forward(x, self._masks(1)[0])
            loss = nn.functional.gaussian_nll_loss(mean, y, variance)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _acquisition(self, x: Tensor, masks: Tensor) -> Tensor:
        """The acquisition, `(n,)`, smaller is better: the mean minus both uncertainties."""
        mean, variance = self._forward(x[None], masks)
        return mean.mean(0) - 0.5 * variance.mean(0).sqrt() - mean.std(0)

    def ascended(self, starts: FloatArray) -> FloatArray:
        """The inputs `(n, inputs)` after descent on the acquisition from `starts`.

        The curvature sets the step size. One Rademacher probe per step estimates the diagonal of
        the Hessian (AdaHessian, Yao et al. 2021, equation 7).
        """
        x = torch.as_tensor(starts, dtype=torch.float32).clone().requires_grad_()
        masks = self._masks(_DRAWS)
        for _ in range(_ASCENT):
            value = self._acquisition(x, masks).sum()
            (gradient,) = torch.autograd.grad(value, x, create_graph=True)
            probe = torch.randint(0, 2, x.shape, generator=self._draw) * 2.0 - 1.0
            (curved,) = torch.autograd.grad((gradient * probe).sum(), x)
            step = gradient.detach() / ((curved * probe).abs() + 0.5)
            x = (x.detach() - 0.5 * step).clamp(-3, 3).requires_grad_()
        return x.detach().numpy().astype(np.float64)

    def uncertainty(self, places: FloatArray) -> FloatArray:
        """The standard deviation of the predicted mean over dropout masks, `(n,)`."""
        with torch.no_grad():
            x = torch.as_tensor(places, dtype=torch.float32)[None]
            return self._forward(x, self._masks(_DRAWS))[0].std(0).numpy().astype(np.float64)
