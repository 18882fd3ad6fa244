"""A small graph network that learns losses from the operator graphs of networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from predictors.features import Column, OneHot
from predictors.folded import Folded
from predictors.operator_graph import OperatorGraph
from search_spaces.space import SearchSpace

FloatArray = NDArray[np.float64]

CHANNELS, LAYERS = 32, 2
_STEPS, _RATE, _DECAY = 100, 0.02, 0.05
_BATCH = 512


class GraphNetwork(Folded):
    """The mean of five graph networks, each fitted without a fold (see `Folded`).

    A vertex begins with the sum of learned vectors, one for each of its traits (`OperatorGraph`)
    and one for its level, the length of the longest path from the input. In each layer, a vertex
    adds what it makes of its own vector, of the mean over what it reads and of the mean over what
    reads it (Gilmer et al. 2017, section 2, with two kinds of edges). The sum over vertices and the
    extra columns give the loss, by squared error. Networks with equal operator graphs have equal
    predictions.

    Args:
        space: The space of the genotypes.
        columns: Further features of genotypes.
        steps: The number of steps of the training, over all measurements each.
    """

    def __init__(
        self, space: SearchSpace, columns: Sequence[Column] = (), *, steps: int = _STEPS
    ) -> None:
        self._graphs = OperatorGraph(space)
        self._one_hot = OneHot(space, extra=columns)
        self._extra = len(columns)
        self._steps = steps
        super().__init__(lambda genotypes: genotypes.astype(np.float32), self._learn)

    def _learn(
        self, X: NDArray[np.float32], y: FloatArray, seen: NDArray[np.bool_]
    ) -> Callable[[NDArray[np.float32]], FloatArray]:
        network = _Network(self._graphs, models=len(seen), extra=self._extra)
        batch = self._batch(X)
        targets, weight = torch.from_numpy(y).float(), torch.from_numpy(seen).float()
        weight /= weight.sum(1, keepdim=True)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._steps)
        for _ in range(self._steps):
            loss = (weight * (network(batch) - targets) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

        def models(asked: NDArray[np.float32]) -> FloatArray:
            with torch.no_grad():
                parts = [asked[i : i + _BATCH] for i in range(0, len(asked), _BATCH)]
                found = [network(self._batch(part)) for part in parts]
            return torch.cat(found, dim=1).numpy().astype(np.float64)

        return models

    def _batch(self, X: NDArray[np.float32]) -> _Batch:
        rows = X[:, 1:].astype(np.int64)  # behind the constant column of `Folded`
        wired = self._graphs(rows)
        nodes, count = wired.vertex.shape
        # Whose message arrives where: each vertex sends a vector with one 1.
        sent = np.zeros((nodes, count, nodes), dtype=np.float32)
        sent[np.arange(nodes), :, np.arange(nodes)] = wired.vertex
        near = [_means(found) for found in (wired.from_inputs(sent), wired.from_readers(sent))]
        extra = self._one_hot(rows)[:, self._one_hot.columns - self._extra :]
        traits = torch.from_numpy(wired.traits.transpose(2, 1, 0) + 1)
        vertex = torch.from_numpy(wired.vertex.T.astype(np.float32))
        return _Batch(traits, _levels(near[0]), vertex, near[0], near[1], torch.from_numpy(extra))


@dataclass(frozen=True, eq=False)
class _Batch:
    """The operator graphs of `n` networks as tensors.

    Attributes:
        traits: The traits of vertices, from 1; 0 for none; `(n, nodes, traits)`.
        levels: The length of the longest path from the input to a vertex, `(n, nodes)`.
        vertex: 1 where a node is a vertex, `(n, nodes)`.
        reads: The matrices that take means over what a vertex reads, `(n, nodes, nodes)`.
        read: The matrices that take means over what reads a vertex, `(n, nodes, nodes)`.
        extra: The extra columns, `(n, extra)`.
    """

    traits: Tensor
    levels: Tensor
    vertex: Tensor
    reads: Tensor
    read: Tensor
    extra: Tensor


def _means(arrived: NDArray[np.float32]) -> Tensor:
    """The matrices `(n, nodes, nodes)` of means over the messages `(nodes, n, nodes)`."""
    totals = np.maximum(arrived.sum(axis=2, keepdims=True), 1.0)
    return torch.from_numpy(np.ascontiguousarray((arrived / totals).transpose(1, 0, 2)))


def _levels(reads: Tensor) -> Tensor:
    """The level of every vertex, `(n, nodes)`; `reads` `(n, nodes, nodes)` is in their order."""
    levels = torch.zeros(reads.shape[:2], dtype=torch.int64)
    for node in range(reads.shape[1]):
        levels[:, node] = ((reads[:, node] > 0) * (levels + 1)).amax(dim=1)
    return levels


class _Network(nn.Module):
    """Several graph networks side by side.

    Args:
        graphs: The operator graphs.
        models: The number of networks.
        extra: The number of extra columns.
    """

    def __init__(self, graphs: OperatorGraph, *, models: int, extra: int) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(0)

        def drawn(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(shape, generator=source))

        self.models = models
        self.nodes = len(graphs.inputs)
        self.traits = drawn(graphs.traits + 1, models * CHANNELS, scale=0.5)
        self.levels = nn.Parameter(torch.zeros(self.nodes, models, CHANNELS))
        scale = (3 * CHANNELS) ** -0.5
        self.layers = drawn(LAYERS, models, 3 * CHANNELS, CHANNELS, scale=scale)
        self.shifts = nn.Parameter(torch.zeros(LAYERS, models, 1, CHANNELS))
        self.last = nn.Parameter(torch.zeros(models, CHANNELS, 1))  # equal losses stay exact
        self.extra = nn.Parameter(torch.zeros(models, extra, 1))
        self.shift = nn.Parameter(torch.zeros(models, 1))

    def forward(self, batch: _Batch) -> Tensor:
        """The loss of each network by each model, `(models, n)`."""
        count, nodes, traits = batch.traits.shape
        flat = batch.traits.reshape(-1, traits)
        begun = F.embedding_bag(flat, self.traits, mode="sum", padding_idx=0)
        begun = begun.reshape(count, nodes, self.models, CHANNELS) + self.levels[batch.levels]
        hidden = (begun * batch.vertex[:, :, None, None]).permute(2, 0, 1, 3)
        mask = batch.vertex[None, :, :, None]
        for weight, shift in zip(self.layers, self.shifts, strict=True):
            near = [hidden, batch.reads @ hidden, batch.read @ hidden]
            joined = torch.cat(near, dim=-1).flatten(1, 2)
            made = F.gelu(torch.baddbmm(shift, joined, weight))
            hidden = hidden + made.reshape(hidden.shape) * mask
        total = hidden.sum(2) / self.nodes**0.5
        found = total @ self.last + batch.extra @ self.extra
        return found[..., 0] + self.shift


def graph_network(space: SearchSpace, columns: Sequence[Column] = ()) -> GraphNetwork:
    """Graph networks over the operators of a network, with further columns."""
    return GraphNetwork(space, columns)
