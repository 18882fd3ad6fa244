"""Coupled channels: which channels of a network can only be kept, moved or removed together.

A walk over a resolved graph gives every channel that an operator makes a label, and merges the
labels of channels that belong together: an addition merges the channels that it adds, a depthwise
convolution hands on those that it reads, and attention merges all features of a head. What is left
are units: the smallest sets of channels that can be removed. The units of one operator, and of all
operators that share units with it, form a group, whose units can change places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import numpy as np

from search_spaces.following import follow
from search_spaces.graph import Graph
from search_spaces.ops import Op
from search_spaces.units import Site, Units, Vector


@dataclass(frozen=True)
class Part:
    """A run of one vector of channels, all of which belong to one group or to none.

    The channel at place `(o * count + u) * inner + i` belongs to unit `u`.

    Attributes:
        group: The name of the group; None for channels that have to stay.
        outer: How often all units of the group come one after the other.
        count: The number of units.
        inner: The number of neighbouring channels of each unit.
    """

    group: str | None
    outer: int
    count: int
    inner: int

    @property
    def length(self) -> int:
        """The number of channels."""
        return self.outer * self.count * self.inner


@dataclass(frozen=True)
class Along:
    """The channels along an axis of a parameter.

    Attributes:
        address: The address of the node.
        name: The name of the parameter.
        axes: The positions of the axes: several where an axis is described by its factors.
        reads: Whether the node reads the channels, by sums over them; else it makes or keeps them.
        parts: The runs of channels, in order.
    """

    address: str
    name: str
    axes: tuple[int, ...]
    reads: bool
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Length:
    """A field of an operator that counts channels, such as the width of a convolution.

    Attributes:
        address: The address of the node.
        field: The field.
        index: The position in the field, if the field is a shape; else None.
        parts: What the number counts, in runs.
    """

    address: str
    field: str
    index: int | None
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Group:
    """Channels that several operators write or read, in units that can change places.

    Attributes:
        name: The address of the first operator that writes the channels, and what a unit is:
            `layer1.0.conv1.width`, `blocks.0.query.heads` or `layer2.0.conv2.groups`.
        count: The number of units.
        channels: The number of channels of each unit in the output of the first writer.
        fixed: Why the units have to stay in place; an empty text where they can move.
    """

    name: str
    count: int
    channels: int
    fixed: str = ""


@dataclass(frozen=True, eq=False)
class Coupling:
    """The groups of coupled channels of a graph.

    Attributes:
        groups: All groups by name, in the order of the graph.
        alongs: The axes of parameters along which channels of groups lie.
        lengths: The fields that count channels of groups.
    """

    groups: Mapping[str, Group]
    alongs: tuple[Along, ...]
    lengths: tuple[Length, ...]

    @property
    def free(self) -> list[str]:
        """The names of the groups whose units can move."""
        return [name for name, group in self.groups.items() if not group.fixed]

    def of(self, group: str) -> list[Along]:
        """The axes along which channels of a group lie."""
        return [along for along in self.alongs if any(p.group == group for p in along.parts)]

    def lengths_at(self, address: str) -> list[Length]:
        """The fields of a node that count channels of groups."""
        return [length for length in self.lengths if length.address == address]

    def without(self, fixed: Mapping[str, str]) -> Coupling:
        """The coupling with groups that have to stay, each with the reason."""
        groups = {
            name: replace(group, fixed=fixed.get(name, group.fixed))
            for name, group in self.groups.items()
        }
        alongs = [replace(a, parts=_pinned(a.parts, fixed)) for a in self.alongs]
        lengths = [replace(a, parts=_pinned(a.parts, fixed)) for a in self.lengths]
        return Coupling(
            groups,
            tuple(a for a in alongs if any(part.group for part in a.parts)),
            tuple(a for a in lengths if any(part.group for part in a.parts)),
        )


def _pinned(parts: tuple[Part, ...], fixed: Mapping[str, str]) -> tuple[Part, ...]:
    return tuple(Part(None, 1, part.length, 1) if part.group in fixed else part for part in parts)


def coupling(
    graph: Graph, *, operators: Mapping[str, Op] | None = None, leave: Sequence[str] = ()
) -> Coupling:
    """The groups of coupled channels of `graph`.

    Inputs and outputs of the network keep their channels, as does whatever an operator reads whose
    way with channels is not known; `Group.fixed` then says so.

    Args:
        graph: A resolved graph; or any graph, whose largest `operators` are given.
        operators: The resolved operators by address; those of `graph` if left out. Channels that
            an absent node of `graph` leaves to its readers are coupled too.
        leave: Addresses of nodes, or of modules that hold nodes, of which no parameter changes.
    """
    walk = _Walk(graph, operators or {a: node.op for a, node in graph.nodes.items()})
    walk.leave(leave)
    return walk.result()


class _Walk:
    """A walk over a graph, which gives labels to all channels and merges those that are coupled."""

    def __init__(self, graph: Graph, operators: Mapping[str, Op]) -> None:
        self.units = Units()
        self.sites: dict[str, Site] = {}
        for address, node in graph.nodes.items():
            reads = [self.sites[read] for read in node.inputs if read in self.sites]
            if address in operators and len(reads) == len(node.inputs):
                site = Site(address, operators[address], tuple(reads), self.units)
                site.labels = follow(site.op, site)
                self.sites[address] = site
                continue
            for site in reads:
                self.units.pin(site.given, f"{address!r} is missing in the largest network")
        for address, source in handed_on(graph):
            if {address, source} <= self.sites.keys():
                self._hand_on(self.sites[address], self.sites[source])
        self.units.pin(self.sites[graph.output].given, "they are the output of the network")

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
        fixed = broken | named.pinned
        groups = {
            name: Group(name, count, named.widths[name] // count, fixed.get(name, ""))
            for name, count in named.counts.items()
        }
        free = groups.keys() - fixed.keys()
        placed = [(vector, named.parts(vector, free)) for vector in vectors]
        found = [(v, parts) for v, parts in placed if any(part.group for part in parts)]
        alongs = (Along(v.address, v.name, v.axes, v.reads, p) for v, p in found if not v.counts)
        lengths = (Length(v.address, v.name, v.index, p) for v, p in found if v.counts)
        return Coupling(groups, tuple(alongs), tuple(lengths))


def inside(addresses: Iterable[str], module: str) -> Iterator[str]:
    """Those of `addresses` that are `module` or stand in the module of this name."""
    return (a for a in addresses if a == module or a.startswith(f"{module}."))


class _Named:
    """The units of a finished walk, numbered inside groups that have names.

    Attributes:
        counts: The number of units of each group, by name.
        widths: The number of channels of its first writer, by name.
        pinned: Why a group has to stay, by name, for groups that have to.
    """

    def __init__(self, walk: _Walk) -> None:
        written = {a: s.written for a, s in walk.sites.items() if s.written is not None}
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

    def varies(self, vector: Vector) -> bool:
        """Whether the length of a vector depends on units; an axis inside of each unit does not."""
        return vector.axis is None or len({*self._roots[vector.axis].tolist()}) > 1

    def parts(self, vector: Vector, free: Set[str]) -> tuple[Part, ...]:
        """The runs of a vector, where only groups in `free` count as groups."""
        found: list[Part] = []
        for name, numbers in self._runs(vector):
            if name is not None and name in free:
                found.append(Part(name, *_pattern(numbers, self.counts[name])))
            else:
                found.append(Part(None, 1, len(numbers), 1))
        return tuple(found)

    def unlike(self, vector: Vector) -> Iterator[tuple[str, str]]:
        """The groups whose units do not come as a whole and in order, each with a reason."""
        for name, numbers in self._runs(vector):
            if name is not None and not _pattern(numbers, self.counts[name])[0]:
                yield name, f"they come in another order or in part at {vector.address!r}"

    def _runs(self, vector: Vector) -> Iterator[tuple[str | None, list[int]]]:
        pairs = [(self._names[n], int(self._numbers[n])) for n in vector.labels.tolist()]
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
