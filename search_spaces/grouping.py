"""The search for the groups of nodes that a runtime runs as one kernel each."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.choice import Choice, resolve
from search_spaces.fusion import Group, Layout, Pattern, chained
from search_spaces.ops import Op


class Groups:
    """The kernels of one network of a space: groups of nodes that a runtime runs together.

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
        """The node whose result a node that reads `address` really gets.

        An absent node hands on its first input, so the search goes back to a present one.
        """
        while not self.present(address):
            address = self._nodes[address].inputs[0]
        return address

    def _reads(self, address: str) -> tuple[str, ...]:
        return tuple(self.source(read) for read in self._nodes[address].inputs)

    def _readers(self, address: str) -> list[str]:
        """The present nodes that read the result of `address`.

        A node occurs as often as it has inputs that read this result.
        """
        found: list[str] = []
        for reader in dict.fromkeys(self._layout.readers[address]):
            inputs = self._nodes[reader].inputs
            if self.present(reader):
                found += [reader] * inputs.count(address)
            elif inputs[0] == address:
                found += self._readers(reader)
        return found

    def _op(self, address: str) -> Op:
        """The operator picked at `address`; its fields may still be choices."""
        op = self._nodes[address].op
        while isinstance(op, Choice):
            op = op.options[self._picks[op.name]]
        return op

    def _is(self, address: str, kind: type[Op] | tuple[type[Op], ...]) -> bool:
        return isinstance(self._op(address), kind) and address not in self._layout.region_of

    def _is_view(self, address: str) -> bool:
        """Whether the node is a view, for which nothing runs; always False inside a region."""
        may_be = address in self._layout.views and address not in self._layout.region_of
        return may_be and self._op(address).is_view

    def _past_views(self, address: str) -> str:
        """The node before the views that end at `address`, as long as each has only one reader."""
        while self._is_view(address) and len(self._readers(address)) == 1:
            (address,) = self._reads(address)
        return address

    def _origin(self, address: str) -> str:
        """The node whose kernel writes the numbers that are read at `address`, before any views."""
        while self._is_view(address) and self._anchor(address) == address:
            (address,) = self._reads(address)
        return address

    def _region(self, address: str) -> tuple[str, ...]:
        """The nodes of the region of `address` that its result needs, in execution order.

        Empty if another node of the region gives the result that is read from outside.
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
        if self._layout.heads and self._is_view(address):
            behind = self._only_reader(address)
            return [] if behind is None else self._candidates(behind)
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
            before = self._past_views(read)
            heads = self._back(before, pattern[:-1])
            if heads and len(self._readers(before)) == 1 and self._readers(read) == [address]:
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
