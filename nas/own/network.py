"""A user's network as a graph with weights, and its samples by what they are for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import nn

from nas.evaluation.rewrites import makers, post_training
from nas.evaluation.slimming import sorted_tensors
from nas.own.calling import Calling
from nas.own.samples import Samples
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace
from supernets.checkpoint import digest_of, load_state, save_state
from supernets.inputs import Inputs
from supernets.post_training import PostTraining
from supernets.post_training.low_rank import with_branches
from supernets.supernet import Supernet
from supernets.tracing import Traced, trace

_BATCH, _FEW = 64, 2
_LEAST, _MACS = 128, 1 << 36
"""The least samples of a network that takes long, and the multiply-accumulates of all samples: a
search runs them once and more for each of its policies."""


@dataclass(frozen=True, eq=False)
class OwnNetwork:
    """A user's network that was traced, and its samples.

    Attributes:
        model: The network itself.
        held: Its graph and its tensors.
        calling: How it is called.
        rewrites: The names of the rewrites that make networks from it.
        calibration: The samples that calibrate networks.
        judging: The samples by which networks are judged, none of which calibrate: those that guide
            the search, then those that the search does not see.
        tuned: All its widths and precisions after a few epochs; None without such.
    """

    model: nn.Module
    held: Traced
    calling: Calling
    rewrites: tuple[str, ...]
    calibration: Samples
    judging: tuple[Samples, ...]
    tuned: Supernet | None = None

    @property
    def graph(self) -> Graph:
        """The graph, in full precision."""
        return self.held.graph

    def deployment(self, space: SearchSpace) -> PostTraining:
        """The maker of networks of a space that was made from this graph, from its own weights."""
        tensors = with_branches(space, self.held.tensors)
        return post_training(space, tensors, self.batches(), rewrites=self.rewrites)

    def sorted(self, importance: str, folder: Path) -> OwnNetwork:
        """The same function with the most important channels first, in every layer.

        Args:
            importance: The name of the score.
            folder: The folder that keeps the sorted tensors, so that the order stays the same.

        Raises:
            CheckpointError: What the folder keeps is damaged.
        """
        key = f"{self.digest}-{importance}"
        path = folder / f"channels-{key}.safetensors"
        if not path.exists():
            read = self.batches()
            found = sorted_tensors(self.graph, self.held.tensors, read, importance=importance)
            save_state(path, found, {"fingerprint": key})
        tensors, _ = load_state(path, fingerprint=key)
        return replace(self, held=replace(self.held, tensors=tensors))

    def batches(self) -> list[Inputs]:
        """The calibration samples by the names of the graph's inputs."""
        return [self.calling.named(one) for one in self.calibration.batches(_BATCH)]

    def with_few_samples(self) -> OwnNetwork:
        """The network with no more samples than a search affords, by its multiply-accumulates."""
        shapes = self.graph.shapes()
        nodes = self.graph.nodes.values()
        macs = sum(node.op.macs(*(shapes[read] for read in node.inputs)) for node in nodes)
        parts = (self.calibration, *self.judging)
        share = max(_LEAST, _MACS // max(macs, 1)) / sum(map(len, parts))
        if share >= 1:
            return self
        calibration, *judging = (part.at(slice(math.ceil(share * len(part)))) for part in parts)
        return replace(self, calibration=calibration, judging=tuple(judging))

    @cached_property
    def digest(self) -> str:
        """A digest of all that decides the figures of a policy, but the metric."""
        found = hashlib.sha256(",".join(self.rewrites).encode())
        read = [one for part in (self.calibration, *self.judging) for one in part.tensors]
        for key, tensor in [*sorted(self.held.tensors.items()), *enumerate(read)]:
            found.update(f"{key} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().contiguous().numpy().tobytes())
        if self.tuned is not None:
            found.update(digest_of(self.tuned.state_dict()).encode())
        return found.hexdigest()[:16]


def traced(
    model: nn.Module,
    calibration: Samples,
    *judging: Samples,
    rewrites: Sequence[str],
    names: Sequence[str] = (),
    folded: bool = False,
) -> OwnNetwork:
    """A user's network after tracing it on a few of its samples.

    Args:
        model: The network.
        calibration: The samples that calibrate networks.
        judging: The samples by which they are judged.
        rewrites: The names of the rewrites that make networks from it.
        names: Names for its inputs, in their order; those of its arguments if left out.
        folded: Whether its norms become part of the operators before, so that it can be trained.

    Raises:
        TraceError: The network cannot become a graph; the message says what torch said, and where.
        PartError: There is no rewrite of a name.
    """
    makers(rewrites)
    few = calibration.at(slice(0, _FEW))
    held = trace(model, few.given())
    held = held.folded() if folded else held
    if names:
        held = replace(held, graph=_renamed(held.graph, names))
    calling = Calling.of(model, held.graph, few)
    return OwnNetwork(model, held, calling, tuple(rewrites), calibration, judging)


def _renamed(graph: Graph, names: Sequence[str]) -> Graph:
    """The graph with other names of its inputs."""
    given = dict(zip(graph.inputs, names, strict=True))
    return Graph.from_nodes(
        {
            address: replace(node, op=replace(node.op, name=given[address]))
            if address in given
            else node
            for address, node in graph.nodes.items()
        }
    )
