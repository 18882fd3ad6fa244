"""The repair of all layers of a narrower network together, without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from search_spaces.graph import Graph
from search_spaces.ops import Outputs
from search_spaces.runs import runs_of
from supernets.assemble import module_name, steps_of
from supernets.deployed import Deployed, Rewrite, values
from supernets.inputs import Inputs, arguments, count, rows
from supernets.post_training.observing import Watch
from supernets.post_training.post_training import OfLargest
from supernets.post_training.reference import Reference
from supernets.post_training.walk import affordable, first_samples
from supernets.slimming.least_squares import behind_cuts, narrowed

_ROUNDS, _BATCH = 200, 64
_RATE = 0.004  # of the size of a layer's weights
_SHIFT = 1 / 8  # of the side of an image


def joint_repair(reference: Reference, *, rounds: int = _ROUNDS) -> Rewrite:
    """The rewrite that lets all layers of a narrower network learn together, without labels.

    The network learns to give the last features of the whole network: the largest tensor before the
    last layer, which has many numbers for each sample, while the outputs alone soon fit the few
    samples but no others (Wang et al. 2022, "Compressing models with few samples: mimicking then
    replacing"). Images are mirrored and shifted at random, and both networks see the same. The
    network stays as it is if it does not come nearer on the samples as they are.

    Args:
        reference: The whole network, whose calibration batches are used.
        rounds: The number of steps of Adam, of 64 samples each.
    """

    def repaired(deployed: Deployed) -> Deployed:
        if not behind_cuts(deployed.graph, reference.network.graph):
            return deployed
        taken = [*first_samples(reference.batches, affordable(reference.network.graph))]
        seen = {name: torch.cat([batch[name] for batch in taken]) for name in taken[0]}
        pair = _Pair(deployed, reference.network)
        before = pair.error(seen)
        with torch.enable_grad():
            pair.learn(seen, rounds)
        return pair.deployed() if pair.error(seen) < before else deployed

    return repaired


JOINT_REPAIR = OfLargest(joint_repair)
"""The maker of the repair, for `PostTraining`."""


def features(graph: Graph) -> list[str]:
    """The addresses of the last features: for each output, the largest tensor before its layer.

    An output without a layer that only the last tensors lead to is its own feature.
    """
    shapes, node = graph.shapes(), graph.nodes[graph.output]
    found: list[str] = []
    for end in node.inputs if isinstance(node.op, Outputs) else (graph.output,):
        chain = [*_back(graph, end)]
        if graph.nodes[chain[-1]].op.mixes_channels:
            chain = [*_back(graph, graph.nodes[chain[-1]].inputs[0])]
        found.append(max(chain, key=lambda address: math.prod(shapes[address])))
    return [*dict.fromkeys(found)]


def _back(graph: Graph, address: str) -> Iterator[str]:
    """The addresses from here back to the first operator that is a layer or reads several."""
    yield address
    node = graph.nodes[address]
    while len(node.inputs) == 1 and not node.op.mixes_channels:
        (address,) = node.inputs
        yield address
        node = graph.nodes[address]


class _Pair:
    """A narrower network that learns, beside the whole one.

    Args:
        deployed: The narrower network.
        whole: The whole network.
    """

    def __init__(self, deployed: Deployed, whole: Deployed) -> None:
        self._deployed, self._narrow, self._whole = deployed, deployed.module(), whole.module()
        self._runs = runs_of(deployed.graph)
        self._watched = [a for a in features(whole.graph) if a in deployed.graph.nodes]
        here, there = deployed.graph.shapes(), whole.graph.shapes()
        if not self._watched or any(here[a] != there[a] for a in self._watched):
            self._watched.append(whole.graph.output)  # the last layer has to learn too
        self._random = torch.Generator().manual_seed(0)

    def learn(self, seen: Inputs, rounds: int) -> None:
        """Change all layers such that the features come nearer to those of the whole network."""
        layers = self._layers().values()
        sizes = [float(n.get_parameter("weight").detach().square().mean()) ** 0.5 for n in layers]
        groups = [
            {"params": [*layer.parameters()], "lr": _RATE * size}
            for layer, size in zip(layers, sizes, strict=True)
        ]
        optimizer = torch.optim.Adam(groups)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
        for _ in range(rounds):
            chosen = torch.randperm(count(seen), generator=self._random)[:_BATCH]
            loss = self._loss(varied(rows(seen, chosen), self._random))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()

    def error(self, seen: Inputs) -> float:
        """The distance of the features, as a share of their variance, for samples as they are."""
        with torch.no_grad():
            parts = torch.arange(count(seen)).split(_BATCH)
            return sum(float(self._loss(rows(seen, part))) * len(part) for part in parts)

    def deployed(self) -> Deployed:
        """The narrower network with what its layers have learned."""
        made = self._deployed
        for address, layer in self._layers().items():
            weight, bias = (layer.get_parameter(n).detach().numpy() for n in ("weight", "bias"))
            shape = values(made.parameters[address]["weight"]).shape
            made = made.changed(address, weight=weight.reshape(shape), bias=bias)
        return made

    def _layers(self) -> dict[str, torch.nn.Module]:
        layers = dict(self._narrow.named_children())
        return {
            step.address: layers[module_name(step.address)]
            for step in steps_of(self._deployed.graph)
            if step.op.absorbs
        }

    def _loss(self, batch: Inputs) -> Tensor:
        with torch.no_grad():
            wanted = self._features(self._whole, batch)
        given = self._features(self._narrow, batch)
        losses = []
        for address in self._watched:
            runs = self._runs.get(address)
            target = narrowed(wanted[address], given[address].shape, runs)
            spread = target.var().clamp(min=torch.finfo(target.dtype).tiny)
            losses.append((given[address] - target).square().mean() / spread)
        return torch.stack(losses).mean()

    def _features(self, module: fx.GraphModule, batch: Inputs) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        Watch(module, self._watched, found.__setitem__).run(*arguments(module, batch))
        return found


def varied(batch: Inputs, random: torch.Generator) -> Inputs:
    """Images mirrored with even odds and shifted by up to an eighth of their side.

    What is no image, `(samples, channels, height, width)` of floats, stays, as do several inputs.
    """
    ((name, images), *others) = batch.items()
    if others or images.dim() != 4 or not images.is_floating_point():
        return batch
    samples, _, high, wide = images.shape
    most = int(_SHIFT * min(high, wide))
    mirrored = torch.rand(samples, generator=random) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    room = F.pad(images, (most, most, most, most))
    places = torch.randint(2 * most + 1, (samples, 2), generator=random).tolist()
    shifted = [
        one[:, top : top + high, left : left + wide]
        for one, (top, left) in zip(room, places, strict=True)
    ]
    return {name: torch.stack(shifted)}
