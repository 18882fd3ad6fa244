"""Groups of coupled channels: what they are called, where they lie, and which fields count them.

`search_spaces.coupling` finds the groups of a graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


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
        less: What the number does not count of these channels, in runs: those that a padding reads.
            The number also leaves out what the padding adds before them.
    """

    address: str
    field: str
    index: int | None
    parts: tuple[Part, ...]
    less: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Nested:
    """A group that is padded to channels of a wider group.

    Units that the narrower group has lost are filled up by the padding, so that the two groups have
    their own widths. Their units have the same order.

    Attributes:
        group: The name of the narrower group.
        first: The unit of the wider group that belongs to its first unit; the others follow.
    """

    group: str
    first: int


@dataclass(frozen=True)
class Group:
    """Channels that several operators write or read, in units that can change places.

    Attributes:
        name: The address of the first operator that writes the channels, and what a unit is:
            `layer1.0.conv1.width`, `blocks.0.query.heads` or `layer2.0.conv2.groups`.
        count: The number of units.
        channels: The number of channels of each unit in the output of the first writer.
        fixed: Why the units have to stay in place; an empty text where they can move.
        nested: The groups that are padded to units of this one. These units keep the order of the
            narrower group, and cannot be removed.
    """

    name: str
    count: int
    channels: int
    fixed: str = ""
    nested: tuple[Nested, ...] = ()


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

    def least(self, group: str) -> int:
        """The least number of units that a group can keep: those up to the last nested ones."""
        held = self.groups[group].nested
        return max((one.first + self.groups[one.group].count for one in held), default=1)

    def orders(self, scores: Mapping[str, Sequence[float]]) -> dict[str, list[int]]:
        """The units of each free group in a new order: those with larger scores come first.

        Nested units stay where they are, in the order of their own group; the others share the
        places that are left. A group without scores keeps its order, as far as it is nested.

        Args:
            scores: A number for every unit, by the name of the group.
        """
        found: dict[str, list[int]] = {}
        for name in sorted(self.free, key=lambda name: self.groups[name].count):
            count = self.groups[name].count
            order: dict[int, int] = {}
            for one in self.groups[name].nested:
                units = found.get(one.group, range(self.groups[one.group].count))
                order |= {one.first + place: one.first + unit for place, unit in enumerate(units)}
            left = [unit for unit in range(count) if unit not in order]
            ranked = left
            if name in scores:
                ranked = sorted(left, key=lambda unit, held=scores[name]: -held[unit])
            order |= dict(zip(left, ranked, strict=True))
            found[name] = [order[place] for place in range(count)]
        return found

    def without(self, fixed: Mapping[str, str]) -> Coupling:
        """The coupling with groups that have to stay, each with the reason."""
        groups = {
            name: replace(group, fixed=fixed.get(name, group.fixed))
            for name, group in self.groups.items()
        }
        alongs = [replace(a, parts=_pinned(a.parts, fixed)) for a in self.alongs]
        lengths = [
            replace(a, parts=_pinned(a.parts, fixed), less=_pinned(a.less, fixed))
            for a in self.lengths
        ]
        return Coupling(
            groups,
            tuple(a for a in alongs if any(part.group for part in a.parts)),
            tuple(a for a in lengths if any(part.group for part in (*a.parts, *a.less))),
        )


def _pinned(parts: tuple[Part, ...], fixed: Mapping[str, str]) -> tuple[Part, ...]:
    return tuple(Part(None, 1, part.length, 1) if part.group in fixed else part for part in parts)
