"""Kernel fusion: patterns of operators that run as one kernel, and where they occur in a graph.

A runtime rarely executes operators one by one. A convolution, the norm behind it and a ReLU are
usually one kernel, and a latency table has one entry for all three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from search_spaces.choice import Choice, resolve
from search_spaces.graph import Graph
from search_spaces.ops import Op

Pattern = tuple[type[Op], ...]
Wiring = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Fusion:
    """The patterns of operators that a runtime, or a latency table, treats as one kernel.

    Attributes:
        chains: Sequences of operator classes, such as `(Conv2d, BatchNorm2d, Activation)`. Nodes
            of these classes run as one kernel if each node is the only reader of the node before
            it. The other operand of an addition in a chain is a further input of the kernel.
        regions: Globs over the beginning of addresses, such as `stage*.block*`. All nodes whose
            addresses begin alike, here those of one block, run as one kernel, whatever operators
            they have.
    """

    chains: tuple[Pattern, ...] = ()
    regions: tuple[str, ...] = ()


UNFUSED = Fusion()


@dataclass(frozen=True)
class Group:
    """The nodes of one network that run as one kernel.

    Attributes:
        members: The addresses of the nodes in execution order. The result of the last member is
            the result of the kernel.
        reads: The addresses of the nodes outside the group whose results the members read; those
            that the first member reads come first.
        wiring: Which tensor each input of each member reads, as in `Kernel`; empty for a chain.
    """

    members: tuple[str, ...]
    reads: tuple[str, ...]
    wiring: Wiring = ()


def chained(inputs: int, members: int) -> Wiring:
    """The wiring of a chain: the first member reads every input, each other its predecessor.

    Args:
        inputs: How many tensors the chain reads from outside.
        members: How many operators the chain has.
    """
    return (tuple(range(inputs)), *((inputs + n,) for n in range(members - 1)))


class Layout:
    """The part of fusion that is the same for all networks of a graph, prepared once.

    Args:
        graph: The graph, placeholders included.
        fusion: The patterns of the runtime.

    Raises:
        ValueError: If a region reads more than one tensor or is read at more than one node.
    """

    def __init__(self, graph: Graph, fusion: Fusion) -> None:
        self.graph = graph
        self.chains = fusion.chains
        self.readers = graph.consumers()
        self.order = {address: place for place, address in enumerate(graph.nodes)}
        self.regions = _regions(graph, fusion.regions)
        exits = [self._checked(members) for members in self.regions]
        self.region_of = {a: members for members in self.regions for a in members}
        self.exits = dict(zip(self.regions, exits, strict=True))

    @cached_property
    def heads(self) -> tuple[type[Op], ...]:
        """The operator classes that can continue a chain; all other nodes are ruled out early."""
        return tuple({kind for chain in self.chains for kind in chain[1:]})

    def _checked(self, members: tuple[str, ...]) -> str:
        """The only node of a region that is read from outside.

        Raises:
            ValueError: If the region reads more than one tensor or is read at more than one node.
        """
        entries: dict[str, str] = {}
        for address in members:
            for read in self.graph.nodes[address].inputs:
                if read not in members:
                    entries.setdefault(read, address)
        if len(entries) != 1:
            culprit = [*entries.values()][-1] if entries else members[0]
            raise ValueError(
                f"the region of {members[0]!r} must read one tensor from outside, but reads "
                f"{', '.join(entries) or 'none'}, the last at node {culprit!r}; choose another glob"
            )
        exits = [
            address
            for address in members
            if address == self.graph.output or not set(members).issuperset(self.readers[address])
        ]
        if len(exits) != 1:
            raise ValueError(
                f"the region of {members[0]!r} must be read from outside at one node, but is at "
                f"{', '.join(map(repr, exits)) or 'none'}; choose another glob"
            )
        return exits[0]


def _regions(graph: Graph, globs: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The addresses of every region, in the order of the graph.

    A node that several globs match belongs to the region of the first of them.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    patterns = [glob.split(".") for glob in globs]
    for address in graph.nodes:
        parts = address.split(".")
        for pattern in patterns:
            prefix = tuple(parts[: len(pattern)])
            if len(prefix) == len(pattern) and all(map(fnmatchcase, prefix, pattern)):
                found.setdefault(prefix, []).append(address)
                break
    return tuple(map(tuple, found.values()))


class Groups:
    """The kernels of one network of a space, found node by node.

    A runtime fuses the network that it is given, in which absent nodes do not exist. A chain
    therefore continues across an absent node.

    Example: `chains=((Conv2d, Activation), (Conv2d, BatchNorm2d, Activation))` on the nodes
    `conv` -> `norm` -> `relu`, where `norm` is present only for option 1 of the choice `normed`:

    - Picks `{"normed": 1}`: `ending_at("relu")` is a group with the members `conv`, `norm` and
      `relu`, since the longest chain that matches is taken.
    - Picks `{"normed": 0}`: `norm` is absent, so `relu` reads the result of `conv`, and
      `ending_at("relu")` is a group with the members `conv` and `relu`.
    - In both cases `ending_at("conv")` and `ending_at("norm")` are None: no kernel ends there.
    - If a fourth node `add` also read the result of `conv`, then `conv` would have two readers.
      Its result would have to be written to memory, and no chain could continue behind it.

    Args:
        layout: The patterns on the graph.
        picks: Choice name -> option index. Only the picks that decide about the node in question
            are read, so that `tabulate` needs a table over few choices only.
    """

    def __init__(self, layout: Layout, picks: Mapping[str, int]) -> None:
        self._layout = layout
        self._nodes = layout.graph.nodes
        self._picks = picks
        self._anchors: dict[str, str] = {}
        self._followers: dict[str, tuple[str, ...]] = {}

    def ending_at(self, address: str) -> Group | None:
        """The group of nodes that ends at `address`.

        None if the node is absent or if the kernel in which it runs ends at a later node.
        """
        if not self.present(address):
            return None
        if address in self._layout.region_of:
            members = self._region(address)
        else:
            anchor = self._anchor(address)
            members = (anchor, *self._chain_behind(anchor))
        return self._wired(members) if members and members[-1] == address else None

    def present(self, address: str) -> bool:
        """Whether the network has the node at `address`."""
        return all(resolve(condition, self._picks) for condition in self._nodes[address].present)

    def source(self, address: str) -> str:
        """The node whose result a reader of `address` gets.

        An absent node hands on its first input, so the search goes back to a present one.
        """
        while not self.present(address):
            address = self._nodes[address].inputs[0]
        return address

    def _reads(self, address: str) -> tuple[str, ...]:
        return tuple(self.source(read) for read in self._nodes[address].inputs)

    def _readers(self, address: str) -> list[str]:
        """The present nodes that read the result of `address`, each once per input that does."""
        found: list[str] = []
        for reader in dict.fromkeys(self._layout.readers[address]):
            inputs = self._nodes[reader].inputs
            if self.present(reader):
                found += [reader] * inputs.count(address)
            elif inputs[0] == address:
                found += self._readers(reader)
        return found

    def _is(self, address: str, kind: type[Op] | tuple[type[Op], ...]) -> bool:
        op = self._nodes[address].op
        while isinstance(op, Choice):
            op = op.options[self._picks[op.name]]
        return isinstance(op, kind) and address not in self._layout.region_of

    def _region(self, address: str) -> tuple[str, ...]:
        """The nodes of the region of `address` that its result needs, in execution order.

        None of them if a later node of the region is the one that is read from outside.
        """
        region = self._layout.region_of[address]
        if self.source(self._layout.exits[region]) != address:
            return ()
        needed, open_ = set[str](), [address]
        while open_:
            member = open_.pop()
            needed.add(member)
            open_ += [read for read in self._reads(member) if read in region]
        return tuple(member for member in region if member in needed)

    def _anchor(self, address: str) -> str:
        """The first node of the kernel in which `address` runs.

        Where chains that begin at different nodes match, the one that begins first is taken.
        """
        if address not in self._anchors:
            takers = (a for a in self._candidates(address) if address in self._chain_behind(a))
            self._anchors[address] = next(takers, address)
        return self._anchors[address]

    def _candidates(self, address: str) -> list[str]:
        """The nodes at which a chain through `address` may begin, in execution order."""
        if not self._layout.heads or not self._is(address, self._layout.heads):
            return []
        parts = {p[: n + 1] for p in self._layout.chains for n in range(1, len(p))}
        found = {head for part in parts for head in self._back(address, part)}
        return sorted(found, key=self._layout.order.__getitem__)

    def _back(self, address: str, pattern: Pattern) -> set[str]:
        """The nodes at which chains of `pattern` begin that end at `address`."""
        if not self._is(address, pattern[-1]):
            return set()
        if len(pattern) == 1:
            return {address}
        found = set[str]()
        for read in dict.fromkeys(self._reads(address)):
            heads = self._back(read, pattern[:-1])
            if heads and self._readers(read) == [address]:
                found |= heads
        return found

    def _chain_behind(self, anchor: str) -> tuple[str, ...]:
        """The nodes that are fused behind `anchor`, without `anchor` itself.

        They are the longest matching chain that has no node of a chain that begins earlier.
        """
        if anchor not in self._followers:
            begins = self._layout.chains and self._anchor(anchor) == anchor
            chains = [self._chain(anchor, p) for p in self._layout.chains] if begins else []
            free = [chain for chain in chains if not any(self._taken(f, anchor) for f in chain)]
            self._followers[anchor] = max(free, key=len, default=())
        return self._followers[anchor]

    def _taken(self, follower: str, anchor: str) -> bool:
        """Whether `follower` belongs to a chain that begins before `anchor`."""
        place = self._layout.order
        earlier = [a for a in self._candidates(follower) if place[a] < place[anchor]]
        return any(follower in self._chain_behind(a) for a in earlier)

    def _chain(self, anchor: str, pattern: Pattern) -> tuple[str, ...]:
        """The nodes behind `anchor` that complete `pattern`; empty where it does not match."""
        if not self._is(anchor, pattern[0]):
            return ()
        chain = [anchor]
        for kind in pattern[1:]:
            readers = self._readers(chain[-1])
            if len(readers) != 1 or not self._is(readers[0], kind):
                return ()
            chain.append(readers[0])
        return tuple(chain[1:])

    def _wired(self, members: tuple[str, ...]) -> Group:
        reads = [self._reads(member) for member in members]
        outside = list(reads[0])
        for read in (read for slots in reads[1:] for read in slots if read not in members):
            if read not in outside:
                outside.append(read)
        places = {read: outside.index(read) for read in outside}
        places |= {member: len(outside) + n for n, member in enumerate(members)}
        first = tuple(range(len(reads[0])))
        wiring = (first, *(tuple(places[read] for read in slots) for slots in reads[1:]))
        plain = wiring == chained(len(outside), len(members))
        return Group(members, tuple(outside), () if plain else wiring)
