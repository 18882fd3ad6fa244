"""A flat graph as nested blocks, the way its addresses are dotted and a person would write it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from torch import nn

from search_spaces.graph import Graph

Slot = tuple[str, int]

_TAKEN = {"self", "torch", "nn"}
_PLAIN = nn.Module()


@dataclass(frozen=True)
class Leaf:
    """One node of the graph; `name` is its attribute in the block that holds it."""

    name: str
    address: str


@dataclass(frozen=True)
class Nested:
    """Neighbouring nodes that make one module: what it reads from outside, and its one output."""

    name: str
    path: str
    items: tuple[Leaf | Nested, ...]
    reads: tuple[str, ...] = ()
    output: str = ""


def blocks_of(graph: Graph) -> Nested:
    """The whole graph as a block of blocks.

    Nodes whose addresses share a prefix become a block where they run one behind the other and
    give one tensor to the rest; otherwise they stay where they are, under longer names.
    """
    paths = {address: _path(address, graph.nodes) for address in graph.nodes}
    return _Grouping(graph, paths).block("", "", list(graph.nodes), 0)


def _path(address: str, addresses: Mapping[str, object]) -> tuple[str, ...]:
    """The parts of an address; one that hangs below a node (`stem.relu`) is a part `stem_relu`."""
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
        """What neighbours share to be in one block; a node of this level shares it with none."""
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
    """Where a network's parts are, as attribute paths.

    Attributes:
        layers: Of every node, by address; those that need no layer have none of that name.
        quantizers: Of every quantized input, by address and position.
    """

    layers: Mapping[str, str]
    quantizers: Mapping[Slot, str]

    @classmethod
    def of(cls, graph: Graph) -> Attributes:
        """The paths in the network that `source_of` writes for `graph`."""
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
    """Identifiers for generated source, each given once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*_TAKEN, *taken}

    def fresh(self, wanted: str) -> str:
        """`wanted` as an identifier that a module has free: ASCII letters, digits and `_` only."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", wanted) or "x"
        name = f"n{name}" if name[0].isdigit() or name.startswith("__") else name
        while name in self._taken or keyword.iskeyword(name) or hasattr(_PLAIN, name):
            name += "_"
        self._taken.add(name)
        return name


# What the module around the classes calls its own; `source` puts them there.
_MODULE = ("Network", "Quantize", "Path", "Tensor", "WEIGHTS")


def class_names(whole: Nested) -> dict[str, str]:
    """The name of every block's class, by the block's path; that of the whole is `Network`."""
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
