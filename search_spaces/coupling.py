"""Coupled channels: which channels of a network can only be kept, moved or removed together.

A walk over a resolved graph gives every channel that an operator makes a label, and merges the
labels of channels that belong together: an addition merges the channels that it adds, a depthwise
convolution hands on those that it reads, and attention merges all features of a head. What is left
are units: the smallest sets of channels that can be removed. The units of one operator, and of all
operators that share units with it, form a group, whose units can change places.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby
from operator import itemgetter

import numpy as np

from search_spaces.channel_groups import Along, Coupling, Group, Length, Nested, Part
from search_spaces.following import follow
from search_spaces.graph import Graph
from search_spaces.units import Labels, Site, Units, Vector


def coupling(graph: Graph, *, largest: Graph | None = None, leave: Sequence[str] = ()) -> Coupling:
    """The groups of coupled channels of `graph`.

    Inputs and outputs of the network keep their channels, as does whatever an operator reads whose
    way with channels is not known; `Group.fixed` then says so.

    Args:
        graph: A resolved graph; or that of a whole space, whose largest network is given.
        largest: The resolved graph of the largest network; `graph` if left out. Channels that an
            absent node of `graph` leaves to its readers are coupled too; channels that a node
            beside the largest network reads, writes or stands in for keep their places.
        leave: Addresses of nodes, or of modules that hold nodes, of which no parameter changes.
    """
    walk = _Walk(graph, largest or graph)
    walk.leave(leave)
    return walk.result()


class _Walk:
    """A walk over a graph, which gives labels to all channels and merges those that are coupled."""

    def __init__(self, graph: Graph, largest: Graph) -> None:
        self.units = Units()
        self.sites: dict[str, Site] = {}
        for address, node in largest.nodes.items():
            site = Site(address, node.op, tuple(self.sites[r] for r in node.inputs), self.units)
            site.labels = follow(site.op, site)
            self.sites[address] = site
        for address, node in graph.nodes.items():
            if address not in self.sites:
                self._pin(node.inputs, f"{address!r} is missing in the largest network")
        for address, source in handed_on(graph):
            if source not in self.sites:
                self._pin((address,), f"{source!r} is missing in the largest network")
            elif address in self.sites:
                self._hand_on(self.sites[address], self.sites[source])
        self.units.pin(self.sites[largest.output].given, "they are the output of the network")

    def _pin(self, addresses: Sequence[str], why: str) -> None:
        for site in (self.sites[address] for address in addresses if address in self.sites):
            self.units.pin(site.given, why)

    def _hand_on(self, site: Site, source: Site) -> None:
        if site.shape == source.shape:
            self.units.merge(site.given, source.given)
            return
        for given in (site.given, source.given):
            self.units.pin(given, f"{site.address!r} can be absent, which changes the shape")

    def leave(self, addresses: Sequence[str]) -> None:
        """Pin all channels along parameters of the nodes at `addresses` or in modules there."""
        held = {left: [*inside(self.sites, left)] for left in addresses}
        if unknown := [left for left, found in held.items() if not found]:
            raise ValueError(
                f"{', '.join(map(repr, unknown))} cannot be left alone, since no node has such an "
                f"address or stands in such a module; nodes are {', '.join(self.sites)}"
            )
        for address in (address for found in held.values() for address in found):
            for vector in self.sites[address].vectors:
                self.units.pin(vector.labels, f"{address!r} is to be left alone")

    def result(self) -> Coupling:
        """The groups that the walk has found."""
        named = _Named(self)
        held = (vector for site in self.sites.values() for vector in site.vectors)
        vectors = [vector for vector in held if named.varies(vector)]
        broken = {name: why for vector in vectors for name, why in named.unlike(vector)}
        fixed = named.handed_in(broken | named.pinned)
        groups = {
            name: Group(
                name,
                count,
                named.widths[name] // count,
                fixed.get(name, ""),
                tuple(named.nested[name]),
            )
            for name, count in named.counts.items()
        }
        free = groups.keys() - fixed.keys()
        alongs = (
            Along(v.address, v.name, v.axes, v.reads, named.parts(v.labels, free))
            for v in vectors
            if not v.counts
        )
        lengths = (
            Length(v.address, v.name, v.index, *(named.parts(n, free) for n in _counted(v)))
            for v in vectors
            if v.counts
        )
        return Coupling(
            groups,
            tuple(a for a in alongs if any(part.group for part in a.parts)),
            tuple(a for a in lengths if any(part.group for part in (*a.parts, *a.less))),
        )


def _counted(vector: Vector) -> Iterator[Labels]:
    yield vector.labels
    if vector.less is not None:
        yield vector.less


def inside(addresses: Iterable[str], module: str) -> Iterator[str]:
    """Those of `addresses` that are `module` or stand in the module of this name."""
    return (a for a in addresses if a == module or a.startswith(f"{module}."))


class _Named:
    """The units of a finished walk, numbered inside groups that have names.

    Attributes:
        counts: The number of units of each group, by name.
        widths: The number of channels of its first writer, by name.
        nested: The groups that are padded to units of each group, by name.
        pinned: Why a group has to stay, by name, for groups that have to.
    """

    def __init__(self, walk: _Walk) -> None:
        written = {a: s.written for a, s in walk.sites.items() if s.written is not None}
        # A group has the name of a layer, where it has any, rather than of a padding before it.
        written = dict(sorted(written.items(), key=lambda one: not walk.sites[one[0]].has_numbers))
        roots, joined = walk.units.roots(), Units()
        joined.new(len(roots))
        joined.merge(np.arange(len(roots)), roots)
        for labels in written.values():
            joined.tie(labels)
        self._roots, group_of = roots, joined.roots()
        names: dict[int, str] = {}
        self.widths: dict[str, int] = {}
        for address, labels in written.items():
            word = walk.units.word(np.flatnonzero(np.isin(roots, roots[labels])))
            name = names.setdefault(int(group_of[labels[0]]), f"{address}.{word}")
            self.widths.setdefault(name, len(labels))
        self._names = [names.get(group) for group in group_of.tolist()]
        self._numbers = np.zeros(len(roots), np.int64)
        self.counts: dict[str, int] = {}
        for group, name in names.items():
            units, numbers = np.unique(roots[group_of == group], return_inverse=True)
            self._numbers[group_of == group] = numbers
            self.counts[name] = len(units)
        tied = {name: "they can only be kept together" for name, n in self.counts.items() if n < 2}
        told = {self._names[label]: why for label, why in reversed(walk.units.pinned)}
        self.pinned = tied | {name: why for name, why in told.items() if name is not None}
        self.nested: defaultdict[str, list[Nested]] = defaultdict(list)
        for address, inner, outer in walk.units.padded:
            self._nest(address, inner, outer)

    def _nest(self, address: str, inner: Labels, outer: Labels) -> None:
        """Note the group that is padded; groups that are padded in another way have to stay."""
        inside, outside = [*self._runs(inner)], [*self._runs(outer)]
        names = [name for name, _ in (*inside, *outside) if name is not None]
        if len(inside) == len(outside) == 1 and len(names) == 2:
            (within, units), (around, places) = inside[0], outside[0]
            first, taken = places[0] - units[0], self.nested[names[1]]
            one = Nested(names[0], first)
            alone = all(first >= self._end(n) or n.first >= self._end(one) for n in taken)
            follows = places == [first + unit for unit in units]
            whole = _pattern(units, self.counts[names[0]])[0] == 1
            if one in taken:
                return
            if within != around and alone and follows and whole:
                taken.append(one)
                return
        why = f"{address!r} pads them in part or in another order"
        self.pinned |= {name: self.pinned.get(name, why) for name in names}

    def _end(self, one: Nested) -> int:
        return one.first + self.counts[one.group]

    def handed_in(self, fixed: Mapping[str, str]) -> dict[str, str]:
        """`fixed` with the groups that are padded to groups that have to stay."""
        found = dict(fixed)
        for name in sorted(self.nested, key=lambda name: -self.counts[name]):
            for one in self.nested[name] if name in found else ():
                found.setdefault(one.group, f"they are padded to {name!r}, which stay in place")
        return found

    def varies(self, vector: Vector) -> bool:
        """Whether the length of a vector depends on units; an axis inside of each unit does not."""
        return vector.axis is None or len({*self._roots[vector.axis].tolist()}) > 1

    def parts(self, labels: Labels, free: Set[str]) -> tuple[Part, ...]:
        """The runs of some labels, where only groups in `free` count as groups."""
        found: list[Part] = []
        for name, numbers in self._runs(labels):
            if name is not None and name in free:
                found.append(Part(name, *_pattern(numbers, self.counts[name])))
            else:
                found.append(Part(None, 1, len(numbers), 1))
        return tuple(found)

    def unlike(self, vector: Vector) -> Iterator[tuple[str, str]]:
        """The groups whose units do not come as a whole and in order, each with a reason."""
        for name, numbers in self._runs(vector.labels):
            if name is not None and not _pattern(numbers, self.counts[name])[0]:
                yield name, f"they come in another order or in part at {vector.address!r}"

    def _runs(self, labels: Labels) -> Iterator[tuple[str | None, list[int]]]:
        pairs = [(self._names[n], int(self._numbers[n])) for n in labels.tolist()]
        for name, run in groupby(pairs, key=itemgetter(0)):
            yield name, [number for _, number in run]


def _pattern(numbers: list[int], count: int) -> tuple[int, int, int]:
    """How often all `count` units come, their number, and how many neighbours each has.

    The first is 0 if the units do not come as a whole and in order.
    """
    inner = sum(1 for _ in next(groupby(numbers))[1])
    outer = len(numbers) // (count * inner)
    fits = numbers == [u for _ in range(outer) for u in range(count) for _ in range(inner)]
    return outer * fits, count, inner


def handed_on(graph: Graph) -> Iterator[tuple[str, str]]:
    """Pairs of a conditional node and the node whose output its readers get in its absence.

    Nodes are left out whose readers are all absent with them.
    """
    readers = graph.consumers()
    for address, node in graph.nodes.items():
        needed = set(node.present)
        others = [graph.nodes[reader].present for reader in readers[address]]
        if not needed or (others and all(needed <= set(other) for other in others)):
            continue
        source = node.inputs[0]
        while needed <= set(graph.nodes[source].present):
            source = graph.nodes[source].inputs[0]
        yield address, source
