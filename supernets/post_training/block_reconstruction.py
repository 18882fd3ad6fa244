"""Blocks of a network, each rounded as a whole towards the block's output in floats.

BRECQ (Li et al. 2021): the weights of all layers of a block are rounded up or down together. What
counts is the error of the block's output, each place weighted by how much the network's output
depends on it (the diagonal of the Fisher information there, section 3.3). Layers that lie between
blocks are blocks of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from search_spaces.graph import Graph
from search_spaces.layers import blocks_of
from supernets.assemble import Step, module_name, steps_of
from supernets.deployed import Deployed, Rewrite, values
from supernets.elastic import compute
from supernets.encoded import ActivationScale, EncodedTensor
from supernets.inputs import Inputs
from supernets.post_training.adaround import opened, pull, started
from supernets.post_training.lattice import Lattice, encoded_again, lattice_of, matrices
from supernets.post_training.layerwise import adaquant
from supernets.post_training.observing import Watch
from supernets.post_training.reference import Reference
from supernets.post_training.walk import Pair, affordable, first_samples
from supernets.rounding import snapped

_ROUNDS, _BATCH, _START, _PULL = 200, 32, 0.1, 3.0
_RATE, _BIAS_RATE = 0.05, 1e-3


@dataclass(frozen=True)
class Block:
    """A part of a network that reads some tensors and gives one.

    Attributes:
        members: The addresses of its operators, in execution order; the last gives the output.
        reads: The addresses of the tensors that it reads.
    """

    members: tuple[str, ...]
    reads: tuple[str, ...]


def brecq(reference: Reference, *, rounds: int = _ROUNDS) -> Rewrite:
    """The rewrite that rounds all weights of a block together, after `adaquant` found the steps.

    Args:
        reference: The float network, whose calibration batches are used.
        rounds: The number of steps of Adam for each block.
    """
    first = adaquant(reference)

    def rewritten(deployed: Deployed) -> Deployed:
        exact = Deployed(deployed.graph, deployed.parameters, {})
        taken = [*first_samples(reference.batches, affordable(deployed.graph))]
        return _block_by_block(first(deployed), exact, taken, rounds)

    return rewritten


def blocks(graph: Graph) -> list[Block]:
    """The blocks of a graph that have a weight, in execution order.

    A block of a graph's addresses is used if its operators give one tensor to others, and if all
    that it reads is computed before; else its operators are blocks of their own.
    """
    names, order = blocks_of(graph), {a: n for n, a in enumerate(graph.nodes)}
    members: dict[str, list[str]] = {}
    for address, node in graph.nodes.items():
        if node.inputs:
            members.setdefault(names[address], []).append(address)
    found: list[Block] = []
    for those in members.values():
        whole = _block(graph, those, order)
        parts = [whole] if whole else [_block(graph, [one], order) for one in those]
        found += [part for part in parts if part]
    weighted = [b for b in found if any(graph.nodes[a].op.weight is not None for a in b.members)]
    return sorted(weighted, key=lambda block: order[block.members[0]])


def _block(graph: Graph, members: Sequence[str], order: Mapping[str, int]) -> Block | None:
    """The block of these operators; None if they give several tensors or read later ones."""
    inside, readers = {*members}, graph.consumers()
    given = [a for a in members if a == graph.output or {*readers[a]} - inside]
    reads = dict.fromkeys(r for a in members for r in graph.nodes[a].inputs if r not in inside)
    late = any(order[read] > order[members[0]] for read in reads)
    return None if given != [members[-1]] or late else Block(tuple(members), tuple(reads))


def _block_by_block(
    deployed: Deployed, exact: Deployed, batches: Sequence[Inputs], rounds: int
) -> Deployed:
    found = blocks(deployed.graph)
    weights = _influence(exact, [block.members[-1] for block in found], batches)
    modules = deployed.module(), exact.module()
    runs = [Pair.of(*modules, batch) for batch in batches]
    steps = {step.address: step for step in steps_of(deployed.graph)}
    for block in found:
        end = block.members[-1]
        with torch.no_grad():
            for run in runs:
                for read in block.reads:
                    run.rounded.run_to(read, inclusive=True)
                run.exact.run_to(end, inclusive=True)
        reads = [torch.cat([run.given(read) for run in runs]) for read in block.reads]
        wanted = torch.cat([run.wanted(end) for run in runs])
        learned = _Learned(deployed, exact, block, steps)
        named = dict(zip(block.reads, reads, strict=True))
        before = learned.error(named, wanted, weights[end])
        with torch.enable_grad():
            learned.fit(named, wanted, weights[end], rounds)
        if learned.error(named, wanted, weights[end]) < before:
            deployed = learned.deployed()
            for address in learned.gates:
                modules[0].add_module(module_name(address), deployed.stock_layer(steps[address]))
    return deployed


def _influence(
    exact: Deployed, addresses: Sequence[str], batches: Sequence[Inputs]
) -> dict[str, Tensor]:
    """How much the network's output depends on each place of some tensors, with a mean of 1.

    The square of a gradient of the outputs, taken with random signs, is on average the diagonal of
    the Fisher information of outputs with unit noise, for which no labels are needed.
    """
    random = torch.Generator().manual_seed(0)
    total: dict[str, Tensor] = {}
    for batch in batches:
        seen: dict[str, Tensor] = {}

        def see(address: str, output: Tensor, seen: dict[str, Tensor] = seen) -> None:
            seen[address] = output

        module = exact.module()
        with torch.enable_grad():
            run = Watch(module, addresses, see)
            output = run.run(*(batch[str(n.target)] for n in _placeholders(module)))
            signs = torch.randint(2, output.shape, generator=random) * 2.0 - 1
            found = torch.autograd.grad((output * signs).sum(), [seen[a] for a in addresses])
        for address, slope in zip(addresses, found, strict=True):
            total[address] = total.get(address, 0.0) + slope.square().sum(0)
    return {a: held / held.mean().clamp_min(1e-30) for a, held in total.items()}


def _placeholders(module: torch.fx.GraphModule) -> list[torch.fx.Node]:
    return [node for node in module.graph.nodes if node.op == "placeholder"]


class _Learned:
    """The weights of a block while they are learned.

    Attributes:
        gates: How far each weight is rounded up, by address, see `adaround.opened`.
    """

    def __init__(
        self, deployed: Deployed, exact: Deployed, block: Block, steps: Mapping[str, Step]
    ) -> None:
        self._deployed, self._block, self._steps = deployed, block, steps
        self.gates: dict[str, Tensor] = {}
        self._soft = False
        self._lattices: dict[str, Lattice] = {}
        self._ends: dict[str, tuple[Tensor, Tensor]] = {}
        self._held: dict[str, dict[str, Tensor]] = {}
        for address in block.members:
            held = deployed.parameters.get(address, {})
            self._held[address] = {n: torch.from_numpy(values(s).copy()) for n, s in held.items()}
            encoded = held.get("weight")
            if not isinstance(encoded, EncodedTensor) or steps[address].op.looks_up:
                continue
            if not encoded.quant.format.scaled:  # the nearest number is near enough
                continue
            lattice = lattice_of(encoded, 1)
            near = matrices(torch.from_numpy(encoded.values()), 1)
            self._lattices[address] = lattice
            weight = matrices(torch.from_numpy(values(exact.parameters[address]["weight"])), 1)
            towards = near + _START * lattice.step * (weight - near).sign()
            self._ends[address] = lattice.neighbours(towards)
            self.gates[address] = started(towards, *self._ends[address]).requires_grad_()

    def fit(self, reads: Mapping[str, Tensor], wanted: Tensor, weight: Tensor, rounds: int) -> None:
        """Learn gates and biases such that the block gives what is `wanted`, and round."""
        if not self.gates:
            return
        self._soft, random = True, torch.Generator().manual_seed(0)
        biases = [self._held[address]["bias"].requires_grad_() for address in self.gates]
        groups = [{"params": [*self.gates.values()], "lr": _RATE}]
        optimizer = torch.optim.Adam([*groups, {"params": biases, "lr": _BIAS_RATE}])
        scale = (wanted.square() * weight).mean().clamp_min(1e-12)
        for done in range(rounds):
            chosen = torch.randint(len(wanted), (min(_BATCH, len(wanted)),), generator=random)
            given = self._run({name: read[chosen] for name, read in reads.items()})
            loss = ((given - wanted[chosen]).square() * weight).mean() / scale
            for gate in self.gates.values():
                loss = loss + _PULL * pull(opened(gate), done / rounds)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        self._soft = False
        for address, gate in self.gates.items():
            below, above = self._ends[address]
            held = self._held[address]
            found = torch.where(opened(gate.detach()) >= 0.5, above, below)
            held["weight"] = found.reshape(held["weight"].shape)
            held["bias"] = held["bias"].detach()

    def error(self, reads: Mapping[str, Tensor], wanted: Tensor, weight: Tensor) -> float:
        """The weighted squared error of the block's output over all samples."""
        total = 0.0
        for start in range(0, len(wanted), _BATCH):
            part = slice(start, start + _BATCH)
            with torch.no_grad():
                given = self._run({name: read[part] for name, read in reads.items()})
            total += float(((given - wanted[part]).square() * weight).sum())
        return total

    def deployed(self) -> Deployed:
        """The network with the weights rounded as was learned."""
        deployed = self._deployed
        for address in self.gates:
            encoded, held = deployed.weight(address), self._held[address]
            assert isinstance(encoded, EncodedTensor)
            weight = encoded_again(encoded, matrices(held["weight"], 1), self._lattices[address])
            deployed = deployed.changed(address, weight=weight, bias=held["bias"].numpy())
        return deployed

    def _run(self, reads: Mapping[str, Tensor]) -> Tensor:
        """The output of the block."""
        seen = dict(reads)
        for address in self._block.members:
            step, held = self._steps[address], dict(self._held[address])
            if self._soft and address in self.gates:
                below, above = self._ends[address]
                soft = below + opened(self.gates[address]) * (above - below)
                held["weight"] = soft.reshape(held["weight"].shape)
            x = [seen[read] for read in step.reads]
            for position, value in enumerate(x):
                scale = self._deployed.inputs.get((address, position))
                x[position] = value if scale is None else _passed_through(value, scale)
            seen[address] = compute(step.op, held, *x)
        return seen[self._block.members[-1]]


def _passed_through(x: Tensor, scale: ActivationScale) -> Tensor:
    """`x` quantized, with the gradient of `x` itself inside the bounds."""
    bounded = x.clamp(*(bound * scale.scale for bound in scale.bounds))
    near = snapped(scale.quant.format, x.detach() / scale.scale, scale.bounds) * scale.scale
    return bounded + (near - bounded).detach()
