"""Units of channels: labels of channels that a walk over a graph gives and merges."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search_spaces.ops import Op, Shape

if TYPE_CHECKING:
    from networkx.utils import UnionFind

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Vector:
    """The labels of channels along axes of a parameter, or of those that a field counts.

    Attributes:
        address: The address of the node.
        name: The name of the parameter or of the field.
        labels: The labels, `(channels,)`.
        axes: The positions of the axes of the parameter; empty for a field.
        reads: Whether the node sums over the channels.
        index: The position in the field, if the field is a shape.
        axis: The labels of the whole axis of which a field counts some channels; None for all.
        less: The labels of channels that the field leaves out of the count; None for none.
    """

    address: str
    name: str
    labels: Labels
    axes: tuple[int, ...] = ()
    reads: bool = False
    index: int | None = None
    axis: Labels | None = None
    less: Labels | None = None

    @property
    def counts(self) -> bool:
        """Whether a field counts the channels."""
        return not self.axes


class Units:
    """Labels of channels that are merged into units.

    Attributes:
        pinned: Labels that have to stay, each with the reason.
        padded: For each padding of channels, its address, the labels of the channels that it reads,
            and those that these have behind it.
    """

    def __init__(self) -> None:
        from networkx.utils import UnionFind

        self._joined: UnionFind[int] = UnionFind()
        self._words: dict[int, str] = {}
        self.pinned: list[tuple[int, str]] = []
        self.padded: list[tuple[str, Labels, Labels]] = []

    def __len__(self) -> int:
        return len(self._joined.parents)

    def new(self, count: int) -> Labels:
        """Labels for new channels, `(count,)`."""
        first = len(self)
        for label in range(first, first + count):
            self._joined[label]
        return np.arange(first, first + count)

    def merge(self, first: Labels, second: Labels) -> None:
        """Merge the labels that stand at equal places of arrays, which are broadcast."""
        pairs = np.stack(np.broadcast_arrays(first, second)).reshape(2, -1)
        for one, other in np.unique(pairs, axis=1).T.tolist():
            self._joined.union(one, other)

    def tie(self, labels: Labels, word: str = "") -> None:
        """Merge all `labels` into one unit, which is called a `word`."""
        found = np.unique(labels).tolist()
        self._joined.union(*found)
        if word:
            self._words.update(dict.fromkeys(found, word))

    def pin(self, labels: Labels, why: str) -> None:
        """Let all units among `labels` stay, for the reason `why`."""
        self.pinned += [(label, why) for label in np.unique(labels).tolist()]

    def roots(self) -> Labels:
        """The smallest label of the unit of every label."""
        units = [self._joined[label] for label in range(len(self))]
        smallest: dict[int, int] = {}
        return np.array([smallest.setdefault(unit, label) for label, unit in enumerate(units)])

    def word(self, labels: Labels) -> str:
        """What the units of these labels are called: `heads`, `groups` or `width`."""
        return next((self._words[n] for n in labels.tolist() if n in self._words), "width")


@dataclass
class Site:
    """A node during the walk.

    Attributes:
        address: The address of the node.
        op: The resolved operator.
        reads: The sites whose outputs are the inputs.
        units: The units of the whole graph.
        shape: The shape of the output.
        labels: The labels of the output; None while those of a constant are not known.
        vectors: The channels along parameters of the node and behind its fields.
    """

    address: str
    op: Op
    reads: tuple[Site, ...]
    units: Units
    shape: Shape = ()
    labels: Labels | None = None
    vectors: list[Vector] = field(default_factory=list)
    written: Labels | None = None

    def __post_init__(self) -> None:
        self.shape = self.op.infer(*(read.shape for read in self.reads))

    @property
    def has_numbers(self) -> bool:
        """Whether channels lie along parameters of the node."""
        return not all(vector.counts for vector in self.vectors)

    @property
    def given(self) -> Labels:
        """The labels of the output; constants that nothing has given labels to have to stay."""
        if self.labels is None:
            self.labels = self.stay(f"they are added to the constants {self.address!r}")
        return self.labels

    def adopt(self, labels: Labels) -> None:
        """Give the labels of a tensor to constants that are combined with it number by number."""
        varying = [axis for axis, length in enumerate(labels.shape) if length > 1]
        if any(self.shape[axis] == 1 for axis in varying) or len(varying) != 1:
            return
        self.labels = labels
        for name in self.op.parameters(*(read.shape for read in self.reads)):
            self.note(name, labels.reshape(-1), *varying)
        self.count("shape", labels.reshape(-1), *varying)

    def whole(self, position: int = 0) -> Labels:
        """The labels of an input with every axis at full length."""
        read = self.reads[position]
        return np.broadcast_to(read.given, read.shape)

    def channels(self, axis: int, position: int = 0) -> Labels:
        """The labels along an axis of an input; those of all other places are merged into them."""
        read = self.reads[position]
        rows = np.moveaxis(read.given, axis, 0).reshape(read.given.shape[axis], -1)
        for column in rows.T[1:]:
            self.units.merge(rows[:, 0], column)
        return np.broadcast_to(rows[:, 0], (read.shape[axis],))

    def laid(self, labels: Labels, axis: int) -> Labels:
        """The labels of an output whose channels lie along `axis`."""
        form = [1] * len(self.shape)
        form[axis] = len(labels)
        return labels.reshape(form)

    def made(self) -> Labels:
        """Labels for the channels that the node makes."""
        return self.made_along(self.op.channel_axis)

    def made_along(self, axis: int) -> Labels:
        """Labels for the channels along an axis that the node makes."""
        self.written = self.units.new(self.shape[axis])
        return self.written

    def stay(self, why: str) -> Labels:
        """Labels of an output whose channels have to stay, as do those of all inputs."""
        for read in self.reads:
            self.units.pin(read.given, why)
        one = self.units.new(1)
        self.units.pin(one, why)
        return one.reshape([1] * len(self.shape))

    def note(self, name: str, labels: Labels, *axes: int, reads: bool = False) -> None:
        """Note the channels along axes of a parameter."""
        self.vectors.append(Vector(self.address, name, labels, axes, reads))

    def count(
        self,
        name: str,
        labels: Labels,
        index: int | None = None,
        *,
        axis: Labels | None = None,
        less: Labels | None = None,
    ) -> None:
        """Note the channels that a field of the operator counts, `less` some of them."""
        self.vectors.append(Vector(self.address, name, labels, index=index, axis=axis, less=less))

    def parameters(self, *, read: Labels | None = None, given: Labels) -> None:
        """Note the channels along all axes of parameters whose lengths fit."""
        shapes = [site.shape for site in self.reads]
        for name, parameter in self.op.parameters(*shapes).items():
            for role, labels in (("out", given), ("in", read)):
                axes = [n for n, found in enumerate(parameter.roles) if found == role]
                length = math.prod(parameter.shape[axis] for axis in axes)
                if axes and labels is not None and length == len(labels):
                    self.note(name, labels, *axes, reads=role == "in")
