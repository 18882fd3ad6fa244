"""BOSHNAS: second-order ascent on a heteroscedastic surrogate over graph embeddings; a peer."""

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
    """Networks as points whose distance is that of their graphs.

    Subtree counts of Weisfeiler-Lehman relabelling (Shervashidze et al. 2011) stand in for the
    graph edit distance of the paper, which takes minutes a pair; their principal axes over random
    networks of the space are the coordinates.

    Args:
        space: Whose networks.
        size: Coordinates at most.
        rng: Draws the networks that the axes are fitted to.
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
        """Coordinates `(n, size)`, of unit variance over the space."""
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
            # Without directions: networkx warns that those of its hashes have changed over time.
            graph = nx.Graph(self._space.decode(genotype).digraph())
            for node in graph.nodes.values():
                node["label"] = repr(node["op"])
            hashes = nx.weisfeiler_lehman_subgraph_hashes(
                graph, node_attr="label", iterations=2, include_initial_labels=True
            )
            self._counts[genotype] = Counter(label for found in hashes.values() for label in found)
        return self._counts[genotype]


class Boshnas(Proposer):
    """Tuli et al. 2022 (FlexiBERT, section 3.4) behind ask and tell.

    A network predicts mean and noise of a scalar loss from the embedding, dropout at prediction
    tells what it does not know; the input climbs the acquisition by a second-order method and the
    nearest network not yet seen is proposed. Every round weighs the objectives anew.

    Args:
        problem: What to search, and for what.
        seed: Fixes the sequence.
        initial: Random networks to begin with.
        uncertain: Share of proposals that are simply the least known of the pool.
    """

    def __init__(
        self, problem: Problem, *, seed: int, initial: int = 20, uncertain: float = 0.1
    ) -> None:
        super().__init__(problem, seed=seed, initial=initial)
        self._embed = GraphEmbedding(problem.space, size=16, rng=np.random.default_rng(seed))
        self._uncertain = uncertain

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """The pool's networks nearest to where the ascent ended."""
        rows, found = told.rows, points(self.problem, told)
        worth = Scalar(found, rng)(found, excess(self.problem, rows))
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


class _Surrogate:
    """A small network with a mean and a variance, and dropout that stays on."""

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
        """Fit mean and variance by the Gaussian likelihood."""
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
        """What is hoped for, smaller is better: mean less both kinds of uncertainty."""
        mean, variance = self._forward(x[None], masks)
        return mean.mean(0) - 0.5 * variance.mean(0).sqrt() - mean.std(0)

    def ascended(self, starts: FloatArray) -> FloatArray:
        """Where inputs end that follow the acquisition down, its curvature as step size.

        The diagonal of the Hessian comes from one Rademacher probe a step (AdaHessian, Yao et al.
        2021, equation 7).
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
        """The spread over dropout masks, `(n,)`."""
        with torch.no_grad():
            x = torch.as_tensor(places, dtype=torch.float32)[None]
            return self._forward(x, self._masks(_DRAWS))[0].std(0).numpy().astype(np.float64)
