"""Many image files as one array of pixels; faults of all files are told at once."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nas.memory import shortage
from nas.tasks.picture import (
    COLOUR,
    DEEP_COLOUR,
    GREY,
    TRANSPARENT,
    VANISHED,
    Picture,
    Style,
    read_picture,
)
from nas.tasks.source import Array
from nas.tasks.task import TaskError

_SHOWN = 10  # faulty files of a kind that a message names
_TOP_BIT = 128


@dataclass(frozen=True, eq=False)
class ImagesRead:
    """The images of some splits.

    Attributes:
        pixels: Split -> its images, `(n, h, w, c)`.
        notes: Sentences on what was found in the files.
    """

    pixels: Mapping[str, Array]
    notes: tuple[str, ...]


def read_images(
    where: Path, files: Mapping[str, Sequence[Path]], style: Style, *, remedy: str
) -> ImagesRead:
    """The images of files, all of one size and of one kind of numbers.

    Args:
        where: The folder, for errors.
        files: Split -> its files, at least one.
        style: How images are brought to one form.
        remedy: What to do about images of different or large sizes.

    Raises:
        TaskError: If images cannot be read, differ in size or in kind, or do not fit into memory.
            Every fault of every file is told.
    """
    census, pixels = _Census(where), dict[str, Array]()
    total = sum(map(len, files.values()))
    for split, paths in files.items():
        for row, path in enumerate(paths):
            try:
                picture = read_picture(path, style)
            except ValueError as error:
                census.unread[path] = str(error)
                continue
            if not census.seen:
                _require_room(where, total, picture, remedy=remedy)
            census.add(path, picture)
            if split not in pixels:
                shape = (len(paths), *picture.pixels.shape)
                pixels[split] = np.empty(shape, picture.pixels.dtype)
            if picture.pixels.shape == pixels[split].shape[1:]:
                pixels[split][row] = picture.pixels
    if faults := [*census.faults(style, remedy)]:
        raise TaskError("\n".join(faults))
    return ImagesRead(pixels, tuple(census.notes(style)))


def _require_room(where: Path, count: int, first: Picture, *, remedy: str) -> None:
    height, width, channels = first.pixels.shape
    # As they are read, and in float32 when they are normalised.
    each = (first.pixels.itemsize + 4) * max(height, width) ** 2 * channels
    if missing := shortage(count * each):
        raise TaskError(
            f"to read the {count:,} images of {where} at {_size(first)} {missing}; {remedy}, or "
            "give fewer"
        )


@dataclass
class _Census:
    """What was found in files: sizes, kinds of numbers, further traits, and faults.

    Attributes:
        where: The folder, for errors.
    """

    where: Path
    unread: dict[Path, str] = field(default_factory=dict)
    _sizes: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    _depths: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    _traits: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    _brightest: int = 0

    @property
    def seen(self) -> bool:
        """Whether an image was read."""
        return bool(self._depths)

    def add(self, path: Path, picture: Picture) -> None:
        """Count one image."""
        self._sizes[_size(picture)].append(path)
        self._depths[picture.depth].append(path)
        for trait in picture.traits:
            self._traits[trait].append(path)
        if DEEP_COLOUR in picture.traits:
            self._brightest = max(self._brightest, int(picture.pixels.max()))

    def faults(self, style: Style, remedy: str) -> Iterator[str]:
        """A sentence per kind of fault, with the names of files."""
        if self.unread:
            told = (f"{self._name(path)} ({why})" for path, why in self.unread.items())
            yield (
                f"{self.where} has files that cannot be read as images, {len(self.unread):,} in "
                f"all: {_some(told, len(self.unread))}; repair or remove them"
            )
        if len(self._sizes) > 1:
            sizes = sorted(self._sizes.items(), key=lambda held: -len(held[1]))
            told = (f"{size} ({self._example(paths)})" for size, paths in sizes)
            yield (
                f"{self.where} has images of {len(sizes)} sizes: {_some(told, len(sizes))}; "
                f"{remedy}"
            )
        if len(self._depths) > 1:
            told = (f"{kind} ({self._example(paths)})" for kind, paths in self._depths.items())
            yield (
                f"{self.where} has images of different kinds, so one white is not the other's: "
                f"{'; '.join(told)}; convert all to one kind"
            )
        deep = self._traits[DEEP_COLOUR]
        if deep and self._brightest < _TOP_BIT:
            yield (
                f"{self.where} has images in colour with 16 bits that use the lower bits only, and "
                f"Pillow reads the upper 8 ({self._example(deep)}); save them with 8 bits, or "
                "spread them over all 16"
            )
        drawn, vanished = self._traits[TRANSPARENT], self._traits[VANISHED]
        if vanished and len(vanished) == len(drawn):
            other = "black" if style.background == "white" else "white"
            yield (
                f"{self.where} has images drawn in {style.background} on transparent ground, of "
                f"which nothing is left on {style.background} ({self._example(vanished)}); set "
                f'background = "{other}" if the task has this key'
            )

    def notes(self, style: Style) -> Iterator[str]:
        """A sentence per kind of finding that is no fault."""
        grey, colour = len(self._traits.pop(GREY, ())), len(self._traits.pop(COLOUR, ()))
        if style.channels == 1 and colour:
            yield f"images in colour, read in grey (channels = 1): {colour:,} of {grey + colour:,}"
        if style.channels == 3 and grey:
            alone = "" if colour else "; channels = 1 would read a third of the numbers"
            yield (
                f"images in grey, read as three equal channels (channels = 3): {grey:,} of "
                f"{grey + colour:,}{alone}"
            )
        for trait, paths in sorted(self._traits.items()):
            if paths:
                yield f"images {trait}: {self._example(paths)}"

    def _example(self, paths: Sequence[Path]) -> str:
        first = self._name(paths[0])
        return f"{len(paths):,}, first {first}" if len(paths) > 1 else first

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.where)) if path.is_relative_to(self.where) else str(path)


def _some(told: Iterable[str], count: int) -> str:
    shown = ", ".join(itertools.islice(told, _SHOWN))
    return shown if count <= _SHOWN else f"{shown}, and {count - _SHOWN:,} more"


def _size(picture: Picture) -> str:
    return f"{picture.pixels.shape[1]} x {picture.pixels.shape[0]} pixels"
