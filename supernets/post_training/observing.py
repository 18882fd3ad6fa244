"""The numbers that flow through a network: whole tensors one by one, or samples of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import networkx as nx
import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from search_spaces.graph import Graph
from supernets.assemble import ADDRESS
from supernets.deployed import Deployed
from supernets.inputs import Inputs, arguments

SAMPLED_VALUES = 1 << 15
"""The number of values of a tensor that are kept, over all batches."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the values of a tensor, drawn at random, with the least and the greatest of all.

    Infinite numbers, such as those of a mask, are left out.

    Attributes:
        values: `(n,)`, the values.
        low: The least of all values.
        high: The greatest of all values.
    """

    values: Tensor
    low: float
    high: float


class Watch(fx.Interpreter):
    """A run of an assembled module that shows the outputs of some operators.

    Args:
        module: The module, as `supernets.assemble.assemble` makes it.
        addresses: The addresses of the operators.
        see: A function of an address and of the output there, in the order of execution.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        addresses: Collection[str],
        see: Callable[[str, Tensor], None],
    ) -> None:
        super().__init__(module)
        self._assembled, self._addresses, self._see = module, addresses, see

    def run_node(self, n: fx.Node) -> object:
        """The result of a node, shown if the node is the output of a watched operator."""
        output = super().run_node(n)
        address = n.meta.get(ADDRESS, "")
        if address in self._addresses:
            assert isinstance(output, Tensor)
            self._see(address, output)
        return output

    def show(self, inputs: Inputs) -> object:
        """The output of the module for a batch, without gradients."""
        with torch.no_grad():
            return self.run(*arguments(self._assembled, inputs))


@dataclass(frozen=True, eq=False)
class _Chunks:
    """A tensor in parts along the batch."""

    parts: list[Tensor]


class LayerByLayer(fx.Interpreter):
    """A run of an assembled module in which each node runs on all chunks of a batch in turn.

    A layer can thereby be changed by what it gives on all samples, before any other layer reads it,
    while convolutions run on chunks that fit the cache.

    Args:
        module: The module, as `supernets.assemble.assemble` makes it.
        addresses: The addresses of the operators that are shown.
        change: A function of an address and of the chunks of the output there, which returns the
            chunks that others read.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        addresses: Collection[str],
        change: Callable[[str, list[Tensor]], list[Tensor]],
    ) -> None:
        super().__init__(module)
        self._assembled, self._addresses, self._change = module, addresses, change
        self._chunks = 0

    def run_node(self, n: fx.Node) -> object:
        """The result of a node on all chunks."""
        if n.op in ("placeholder", "get_attr", "output"):
            return super().run_node(n)
        given = self.fetch_args_kwargs_from_env(n)
        run = getattr(self, n.op)
        parts: list[Tensor] = []
        for number in range(self._chunks):
            args, kwargs = map_aggregate(
                given, lambda a, i=number: a.parts[i] if isinstance(a, _Chunks) else a
            )
            parts.append(run(n.target, args, kwargs))
        address = n.meta.get(ADDRESS, "")
        return _Chunks(self._change(address, parts) if address in self._addresses else parts)

    def show(self, chunks: Sequence[Inputs]) -> None:
        """Run the module on the chunks of a batch, without gradients."""
        self._chunks = len(chunks)
        given = zip(*(arguments(self._assembled, chunk) for chunk in chunks), strict=True)
        with torch.no_grad():
            self.run(*(_Chunks([*parts]) for parts in given))


def until(network: Deployed, address: str) -> Deployed:
    """The part of a network whose output is that of the operator at `address`."""
    graph = network.graph
    needed = {address, *nx.ancestors(graph.digraph(), address)}
    nodes = {at: node for at, node in graph.nodes.items() if at in needed}
    return replace(
        network,
        graph=Graph.from_nodes(nodes),
        parameters={at: held for at, held in network.parameters.items() if at in needed},
        inputs={slot: scale for slot, scale in network.inputs.items() if slot[0] in needed},
    )


def outputs_at(network: Deployed, address: str, batches: Sequence[Inputs]) -> Iterator[Tensor]:
    """The output of the operator at `address`, batch by batch; only one batch is in memory."""
    module = until(network, address).module()
    for batch in batches:
        with torch.no_grad():
            yield module(**{name: batch[name] for name in _arguments(module)})


def _arguments(module: fx.GraphModule) -> list[str]:
    return [str(node.target) for node in module.graph.nodes if node.op == "placeholder"]


def behind_views(graph: Graph, address: str) -> str:
    """The operator whose numbers the operator at `address` gives, which may only be a view."""
    while graph.nodes[address].op.is_view:
        (address,) = graph.nodes[address].inputs
    return address


def sources(graph: Graph) -> set[str]:
    """The addresses of the operators whose outputs other operators could quantize."""
    return {
        behind_views(graph, read)
        for node in graph.nodes.values()
        if "activation" in {field.name for field in fields(node.op)}
        for read in node.inputs
    }


def outputs_of_ops(graph: Graph) -> dict[str, int]:
    """How many numbers each operator of a resolved graph gives for one sample, by address."""
    return {address: math.prod(shape) for address, shape in graph.shapes().items()}


def samples(network: Deployed, batches: Sequence[Inputs]) -> Mapping[str, Sample]:
    """A sample of the output of each operator that others could quantize, by address."""
    quota = math.ceil(SAMPLED_VALUES / len(batches))
    drawn, places = torch.Generator().manual_seed(0), sources(network.graph)
    parts: dict[str, list[Tensor]] = {address: [] for address in places}
    ends: dict[str, list[Tensor]] = {address: [] for address in places}

    def see(address: str, output: Tensor) -> None:
        values = output.reshape(-1)
        if not bool(values.isfinite().all()):
            values = values[values.isfinite()]
        if len(values) > quota:
            index = torch.randint(len(values), (quota,), generator=drawn)
            parts[address].append(values[index.to(values.device)].cpu())
        else:
            parts[address].append(values.cpu().clone())
        if len(values):
            ends[address].append(torch.stack(values.aminmax()).cpu())

    watch = Watch(network.module(), places, see)
    for batch in batches:
        watch.show(batch)
    return {address: _sample(parts[address], ends[address]) for address in parts}


def _sample(parts: list[Tensor], ends: list[Tensor]) -> Sample:
    both = torch.stack(ends) if ends else torch.zeros(1, 2)
    return Sample(torch.cat(parts), float(both[:, 0].min()), float(both[:, 1].max()))
