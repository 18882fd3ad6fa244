"""Nesting of a flat graph: blocks within blocks that follow the dots in addresses."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from torch import nn

from search_spaces.graph import Graph

Slot = tuple[str, int]

_TAKEN = {"self", "torch", "nn"}
_PLAIN = nn.Module()


@dataclass(frozen=True)
class Leaf:
    """A node of the graph inside a block; `name` is the node's attribute in the block's class."""

    name: str
    address: str


@dataclass(frozen=True)
class Nested:
    """A block: consecutive nodes that become a module of their own in the generated source.

    Attributes:
        name: The attribute of the block in the class of the surrounding block.
        path: The common start of the addresses in the block, such as `stage1.block0`.
        items: The nodes and inner blocks, in execution order.
        reads: The addresses outside the block whose results the block reads.
        output: The only address in the block whose result is read outside.
    """

    name: str
    path: str
    items: tuple[Leaf | Nested, ...]
    reads: tuple[str, ...] = ()
    output: str = ""


def blocks_of(graph: Graph) -> Nested:
    """The whole graph as a block with inner blocks, which reads the inputs of the network.

    Nodes with a common start of their addresses become a block if they are consecutive and only one
    of their results is read by other nodes. Otherwise, they stay in the surrounding block and have
    longer names.
    """
    paths = {a: _path(a, graph.nodes) for a in graph.nodes if a not in graph.inputs}
    whole = _Grouping(graph, paths).block("", "", [*paths], 0)
    return replace(whole, reads=tuple(graph.inputs))


def _path(address: str, addresses: Mapping[str, object]) -> tuple[str, ...]:
    """The parts of an address; `stem.relu` is the single part `stem_relu` if `stem` is a node."""
    parts: list[str] = []
    walked = ""
    for part in address.split("."):
        if walked in addresses:
            parts[-1] += f"_{part}"
        else:
            parts.append(part)
        walked = f"{walked}.{part}".lstrip(".")
    return tuple(parts)


@dataclass(frozen=True)
class _Grouping:
    graph: Graph
    paths: Mapping[str, tuple[str, ...]]
    readers: Mapping[str, Sequence[str]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "readers", self.graph.consumers())

    def block(self, name: str, path: str, addresses: list[str], depth: int) -> Nested:
        runs = [(key, list(run)) for key, run in groupby(addresses, lambda a: self._key(a, depth))]
        counts = [key for key, _ in runs]
        items: list[Leaf | Nested] = []
        names = Names()
        for key, run in runs:
            whole = len(run) > 1 and counts.count(key) == 1 and len(self._outputs(run)) == 1
            if whole:
                inner = f"{path}.{key[0]}".lstrip(".")
                items.append(self.block(names.fresh(key[0]), inner, run, depth + 1))
            else:
                items += (Leaf(names.fresh("_".join(self.paths[a][depth:])), a) for a in run)
        inside = set(addresses)
        reads = [r for a in addresses for r in self.graph.nodes[a].inputs if r not in inside]
        (output,) = self._outputs(addresses)
        return Nested(name, path, tuple(items), tuple(dict.fromkeys(reads)), output)

    def _key(self, address: str, depth: int) -> tuple[str, str]:
        """A key that is equal for nodes of the same inner block, and unique for any other node."""
        path = self.paths[address]
        return (path[depth], "" if len(path) > depth + 1 else address)

    def _outputs(self, addresses: Iterable[str]) -> list[str]:
        inside = set(addresses)
        return [
            address
            for address in addresses
            if address == self.graph.output or not inside.issuperset(self.readers[address])
        ]


@dataclass(frozen=True)
class Attributes:
    """The attribute paths of layers and quantizers in a generated network.

    Attributes:
        layers: The path of every node but the inputs, by address; a node without a layer has no
            attribute there.
        quantizers: The path of every input's quantizer, by address and position.
    """

    layers: Mapping[str, str]
    quantizers: Mapping[Slot, str]

    @classmethod
    def of(cls, graph: Graph) -> Attributes:
        """The attribute paths in the network that `source_of` generates for `graph`."""
        layers: dict[str, str] = {}
        quantizers: dict[Slot, str] = {}
        _place(blocks_of(graph), graph, "", layers, quantizers)
        return cls(layers, quantizers)


def _place(
    block: Nested,
    graph: Graph,
    path: str,
    layers: dict[str, str],
    quantizers: dict[Slot, str],
) -> None:
    names = Names(item.name for item in block.items)
    for item in block.items:
        if isinstance(item, Nested):
            _place(item, graph, f"{path}{item.name}.", layers, quantizers)
            continue
        layers[item.address] = path + item.name
        op = graph.nodes[item.address].op
        for slot in range(0 if op.activation is None else op.arity):
            name = f"{item.name}_input{slot if op.arity > 1 else ''}"
            quantizers[item.address, slot] = path + names.fresh(name)


class Names:
    """A source of unique identifiers for generated code."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*_TAKEN, *taken}

    def fresh(self, wanted: str) -> str:
        """An unused identifier like `wanted`, of ASCII letters, digits and `_`."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", wanted) or "x"
        name = f"n{name}" if name[0].isdigit() or name.startswith("__") else name
        while name in self._taken or keyword.iskeyword(name) or hasattr(_PLAIN, name):
            name += "_"
        self._taken.add(name)
        return name


# The names that the generated file uses besides the classes of blocks.
_MODULE = ("Network", "Quantize", "Path", "Tensor", "WEIGHTS")


def class_names(whole: Nested) -> dict[str, str]:
    """The name of the class of every block, by the path of the block; the whole is `Network`."""
    names = Names(_MODULE)
    found = {whole.path: "Network"}
    waiting = [whole]
    while waiting:
        blocks = [item for item in waiting.pop().items if isinstance(item, Nested)]
        for block in blocks:
            words = re.split(r"[._]+", block.path)
            found[block.path] = names.fresh("".join(word[:1].upper() + word[1:] for word in words))
        waiting += blocks
    return found
