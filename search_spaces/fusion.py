"""Which operators run as one kernel: patterns, and how they fall on the nodes of a graph."""

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
    """What a runtime, or a table, takes as one kernel.

    Views (`Op.is_view`) stand in no pattern: a chain goes on across one that alone reads what is
    before it. Any other view is a kernel of its own, for which a device runs nothing.

    Attributes:
        chains: Operator classes that run as one kernel where each node is the only reader of the
            one before it. The other operand of an addition in a chain is a further input.
        regions: Globs over address prefixes, such as `stage*.block*`: all nodes whose addresses
            begin with one prefix run as one kernel, whatever is inside.
    """

    chains: tuple[Pattern, ...] = ()
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        views = sorted({kind.__name__ for chain in self.chains for kind in chain if kind.is_view})
        if views:
            raise ValueError(
                f"fusion patterns name {', '.join(views)}, for which a device runs nothing; leave "
                "them out: a chain goes on across them"
            )


UNFUSED = Fusion()


@dataclass(frozen=True)
class Group:
    """Nodes that run as one kernel.

    Attributes:
        members: Their addresses in execution order; the last one is what others read.
        reads: Addresses of the tensors that come from outside, those of the first member first.
        wiring: As in `Kernel`.
        origins: For each of `reads`, the address whose kernel wrote the numbers: another one where
            a view of what several nodes read stands between. None for a kernel of views, which
            reads nothing.
    """

    members: tuple[str, ...]
    reads: tuple[str, ...]
    wiring: Wiring = ()
    origins: tuple[str, ...] = ()


def chained(inputs: int, members: int) -> Wiring:
    """The wiring of a chain: the first member reads every input, each other the one before it."""
    return (tuple(range(inputs)), *((inputs + n,) for n in range(members - 1)))


class Layout:
    """Patterns laid on a graph, as far as that needs no choice to be picked."""

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
        """The classes at which a chain can go on, for a quick no."""
        return tuple({kind for chain in self.chains for kind in chain[1:]})

    def _checked(self, members: tuple[str, ...]) -> str:
        """The node of a region that is read from outside, once its borders are found sound."""
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
    """The members of every region, in the order of the graph; the first glob that fits counts."""
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
    """The kernels of the network that `picks` stand for, found node by node.

    Fusion is what the runtime does to the network it is given, so it is decided on what is
    present: a chain goes on across a node that is absent. Only what bears on the node in question
    is looked at, so that few picks decide it.
    """

    def __init__(self, layout: Layout, picks: Mapping[str, int]) -> None:
        self._layout = layout
        self._nodes = layout.graph.nodes
        self._picks = picks
        self._anchors: dict[str, str] = {}
        self._followers: dict[str, tuple[str, ...]] = {}

    def ending_at(self, address: str) -> Group | None:
        """The kernel whose result is that of the node `address`, or None if there is none."""
        if not self.present(address):
            return None
        if address in self._layout.region_of:
            members = self._region(address)
        else:
            anchor = self._anchor(address)
            members = (anchor, *self._chain_behind(anchor))
        return self._wired(members) if members and members[-1] == address else None

    def present(self, address: str) -> bool:
        """Whether the node is there."""
        return all(resolve(condition, self._picks) for condition in self._nodes[address].present)

    def source(self, address: str) -> str:
        """The node whose result a reader of `address` gets: absent ones hand on what they read."""
        while not self.present(address):
            address = self._nodes[address].inputs[0]
        return address

    def _reads(self, address: str) -> tuple[str, ...]:
        return tuple(self.source(read) for read in self._nodes[address].inputs)

    def _readers(self, address: str) -> list[str]:
        """Who reads the result of `address`, once per slot."""
        found: list[str] = []
        for reader in dict.fromkeys(self._layout.readers[address]):
            inputs = self._nodes[reader].inputs
            if self.present(reader):
                found += [reader] * inputs.count(address)
            elif inputs[0] == address:
                found += self._readers(reader)
        return found

    def _op(self, address: str) -> Op:
        """The operator at `address`, its fields as they are."""
        op = self._nodes[address].op
        while isinstance(op, Choice):
            op = op.options[self._picks[op.name]]
        return op

    def _is(self, address: str, kind: type[Op] | tuple[type[Op], ...]) -> bool:
        return isinstance(self._op(address), kind) and address not in self._layout.region_of

    def _is_view(self, address: str) -> bool:
        """Whether nothing runs for a node; within a region it is a member as any other."""
        return self._op(address).is_view and address not in self._layout.region_of

    def _past_views(self, address: str) -> str:
        """The node before a row of views that ends at `address` and that nothing else reads."""
        while self._is_view(address) and len(self._readers(address)) == 1:
            (address,) = self._reads(address)
        return address

    def _origin(self, address: str) -> str:
        """The node that wrote what a reader of `address` gets, past the views between."""
        while self._is_view(address) and self._anchor(address) == address:
            (address,) = self._reads(address)
        return address

    def _region(self, address: str) -> tuple[str, ...]:
        """What the result of `address` needs within its region, if that is read from outside."""
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
        """The node that the kernel of `address` begins with; the earliest that can take it does."""
        if address not in self._anchors:
            takers = (a for a in self._candidates(address) if address in self._chain_behind(a))
            self._anchors[address] = next(takers, address)
        return self._anchors[address]

    def _candidates(self, address: str) -> list[str]:
        """Nodes at which a chain through `address` may begin, in order."""
        if self._layout.heads and self._is_view(address):
            behind = self._only_reader(address)
            return [] if behind is None else self._candidates(behind)
        if not self._layout.heads or not self._is(address, self._layout.heads):
            return []
        parts = {p[: n + 1] for p in self._layout.chains for n in range(1, len(p))}
        found = {head for part in parts for head in self._back(address, part)}
        return sorted(found, key=self._layout.order.__getitem__)

    def _back(self, address: str, pattern: Pattern) -> set[str]:
        """Where chains of `pattern` that end at `address` begin."""
        if not self._is(address, pattern[-1]):
            return set()
        if len(pattern) == 1:
            return {address}
        found = set[str]()
        for read in dict.fromkeys(self._reads(address)):
            before = self._past_views(read)
            heads = self._back(before, pattern[:-1])
            if heads and len(self._readers(before)) == 1 and self._readers(read) == [address]:
                found |= heads
        return found

    def _chain_behind(self, anchor: str) -> tuple[str, ...]:
        """What is fused behind `anchor`: the longest chain of which no earlier one took a part."""
        if anchor not in self._followers:
            begins = self._layout.chains and self._anchor(anchor) == anchor
            chains = [self._chain(anchor, p) for p in self._layout.chains] if begins else []
            free = [chain for chain in chains if not any(self._taken(f, anchor) for f in chain)]
            self._followers[anchor] = max(free, key=len, default=())
        return self._followers[anchor]

    def _taken(self, follower: str, anchor: str) -> bool:
        """Whether a chain that begins before `anchor` has `follower`."""
        place = self._layout.order
        earlier = [a for a in self._candidates(follower) if place[a] < place[anchor]]
        return any(follower in self._chain_behind(a) for a in earlier)

    def _chain(self, anchor: str, pattern: Pattern) -> tuple[str, ...]:
        """The nodes behind `anchor` that complete `pattern`, or none."""
        if not self._is(anchor, pattern[0]):
            return ()
        chain = [anchor]
        for kind in pattern[1:]:
            behind = self._only_reader(chain[-1])
            while behind is not None and self._is_view(behind):
                chain.append(behind)
                behind = self._only_reader(behind)
            if behind is None or not self._is(behind, kind):
                return ()
            chain.append(behind)
        return tuple(chain[1:])

    def _only_reader(self, address: str) -> str | None:
        readers = self._readers(address)
        return readers[0] if len(readers) == 1 else None

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
        views = all(self._op(member).is_view for member in members)
        origins = () if views else tuple(map(self._origin, outside))
        return Group(members, tuple(outside), () if plain else wiring, origins)
