"""A look at samples before any training: what no network can learn from, and what looks wrong."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.facts.noise import FEW_SAMPLES
from nas.tasks.clean import IMAGE, pixel_statistics
from nas.tasks.source import Array, Samples
from nas.tasks.task import TaskError

_REFUSED = 8.0  # times the spread of the training samples: no other sample of the same data
_ODD = 2.0
_FEWEST = 10  # samples whose spread says something
_FEW_OF_A_CLASS = 10
_CHUNK = 1024
_SHOWN = 10
Splits = Mapping[str, Samples]


def about_scale(name: str, given: Splits) -> Iterator[str]:
    """Warnings about splits whose values are spread or placed unlike those of the training split.

    Args:
        name: The source, for errors.
        given: The splits that the source has; splits that are drawn from others need no look.

    Raises:
        TaskError: If a split is in another scale, such as 0 to 1 where the training samples are 0
            to 255.
    """
    train = given["train"]
    columns = {**train.inputs, "targets": train.targets}
    for key, values in columns.items():
        if not _measurable(values):
            continue
        center, spread = _statistics(key, values)
        for split in [other for other in given if other != "train"]:
            samples = given[split]
            others = samples.targets if key == "targets" else samples.inputs[key]
            if not _measurable(others) or len(others) < _FEWEST:
                continue
            mean, std = _statistics(key, others)
            ratio = float(np.median(std / spread))
            shift = float(np.median(np.abs(mean - center) / spread))
            where = (
                f"the values of {key} in the {split} split are {_range(others)}, those of the "
                f"training samples {_range(values)}"
            )
            if not 1 / _REFUSED < ratio < _REFUSED:
                raise TaskError(
                    f"{name}: {where}: another scale, {max(ratio, 1 / ratio):.0f} times "
                    f"{'wider' if ratio > 1 else 'narrower'}; bring all splits to one scale"
                )
            if not 1 / _ODD < ratio < _ODD or shift > 1:
                yield (
                    f"{where}; their spread is {ratio:.2g} times that of the training samples and "
                    f"their mean lies {shift:.2g} deviations away: are all splits prepared alike?"
                )


def _measurable(values: Array) -> bool:
    return values.ndim > 1 and values.dtype.kind in "uif"


def _statistics(key: str, values: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation per channel of images `(n, c, h, w)`, else of each last-axis value."""
    is_image = key == IMAGE or values.ndim == len("nchw")
    return pixel_statistics(values if is_image else values.reshape(-1, values.shape[-1], 1, 1))


def _range(values: Array) -> str:
    return f"from {values.min():g} to {values.max():g}"


def about_content(name: str, splits: Splits) -> Iterator[str]:
    """Warnings about images of one colour and features that never change.

    Raises:
        TaskError: If all training inputs are the same.
    """
    for key, values in splits["train"].inputs.items():
        if values.dtype.kind in "uifb" and len(values) > 1 and not _differ(values):
            raise TaskError(
                f"{name}: all {len(values)} training samples have the same {key}, from which "
                "nothing can be learnt; give samples that differ"
            )
        if key != IMAGE and values.dtype.kind in "uif":
            flat = values.reshape(-1, values.shape[-1])
            still = np.flatnonzero(flat.min(axis=0) == flat.max(axis=0))
            if len(still) and flat.shape[1] > 1:
                yield f"{key} that are the same in all training samples: {_listed(still)}"
    for split, samples in splits.items():
        if IMAGE in samples.inputs:
            blank = np.flatnonzero(_blank(samples.inputs[IMAGE]))
            if len(blank):
                yield (
                    f"{len(blank)} of {len(samples)} images of the {split} split have one colour "
                    "only; are they empty?"
                )


def _differ(values: Array) -> bool:
    """Whether some sample differs from the first."""
    return any(
        bool((values[start : start + _CHUNK] != values[0]).any())
        for start in range(0, len(values), _CHUNK)
    )


def _blank(images: Array) -> NDArray[np.bool_]:
    """Whether each image `(c, h, w)` has the same value at all places of each channel, `(n,)`."""
    flat = images.reshape(len(images), images.shape[1], -1)
    return (flat.min(axis=2) == flat.max(axis=2)).all(axis=1)


def about_copies(splits: Splits) -> Iterator[str]:
    """Warnings about samples of other splits that are training samples too."""
    known = {*_contents(splits["train"])}
    for split in ("validation", "test"):
        if copies := sum(content in known for content in _contents(splits[split])):
            yield (
                f"{copies:,} of {len(splits[split]):,} samples of the {split} split are training "
                "samples too, so its figures are better than they would be on new ones"
            )


def _contents(samples: Samples) -> Iterator[int]:
    """A number per sample, equal for equal inputs."""
    columns = [samples.inputs[name] for name in sorted(samples.inputs)]
    for row in range(len(samples)):
        cells = (column[row] for column in columns)
        yield hash(tuple(c.tobytes() if isinstance(c, np.ndarray) else c for c in cells))


def about_size(splits: Splits, *, shares: bool, drawn: Collection[str]) -> Iterator[str]:
    """Warnings about a validation or a test split that is too small to tell networks apart.

    Args:
        splits: The samples of all splits.
        shares: Whether figures are shares of right answers.
        drawn: The splits that are drawn from the training samples.
    """
    for split in ("validation", "test"):
        if (count := len(splits[split])) < FEW_SAMPLES:
            points = 196 * math.sqrt(0.9 * 0.1 / count)
            example = f", by {points:.0f} points at an accuracy of 90 %" if shares else ""
            cure = f"raise {split}_fraction, or give more" if split in drawn else "give more"
            yield (
                f"the {split} split has {count} samples, so a figure measured on these is "
                f"uncertain{example}, and small differences between networks are chance; {cure}"
            )


def about_classes(name: str, splits: Splits, classes: Sequence[str]) -> Iterator[str]:
    """Warnings about classes that a split lacks, or that have few training samples.

    Args:
        name: The source, for errors.
        splits: The samples of all splits, with class numbers as targets.
        classes: The names of the classes.

    Raises:
        TaskError: If training samples of a class are missing, or the validation split has one
            class only.
    """
    counts = {
        split: np.bincount(samples.targets, minlength=len(classes))
        for split, samples in splits.items()
    }

    def named(numbers: Iterable[int]) -> str:
        return _listed([classes[number] for number in numbers])

    if len(none := np.flatnonzero(counts["train"] == 0)):
        raise TaskError(
            f"{name} has {len(none)} of {len(classes)} classes without a sample among its "
            f"{counts['train'].sum()} training samples: {named(none)}; raise limit or lower the "
            "held-out fractions"
        )
    if len(there := np.flatnonzero(counts["validation"])) == 1:
        raise TaskError(
            f"{name} has one class only in its validation split, {named(there)}, by which "
            "no search can compare networks; give samples of all classes, or leave the "
            "split out, and one is drawn"
        )
    for split in ("validation", "test"):
        if len(none := np.flatnonzero(counts[split] == 0)):
            yield f"the {split} split has no sample of {named(none)}"
    if len(few := np.flatnonzero(counts["train"] < _FEW_OF_A_CLASS).tolist()):
        told = _listed([f"{classes[c]} ({counts['train'][c]})" for c in few])
        yield f"classes of fewer than {_FEW_OF_A_CLASS} training samples: {told}"


def require_enough(
    name: str, targets: Array, *, classes: Sequence[str], drawn: Sequence[str]
) -> None:
    """Raise `TaskError` if a class has too few samples for one in every split.

    Args:
        name: The source, for errors.
        targets: The class numbers of all samples from which splits are drawn.
        classes: The names of the classes.
        drawn: The names of the splits that are drawn.
    """
    counts = np.bincount(targets, minlength=len(classes))
    rare = np.flatnonzero(counts < 1 + len(drawn)).tolist()
    if drawn and len(rare):
        told = _listed([f"{classes[c]} ({counts[c]})" for c in rare])
        raise TaskError(
            f"{name} has classes of fewer than {1 + len(drawn)} samples, one each for "
            f"{', '.join(['train', *drawn])}: {told}; give more samples, join these classes with "
            "others, or leave them out"
        )


def _listed(items: Sequence[object] | NDArray[np.intp]) -> str:
    """The first few items as text, and the number of all others."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(str(item) for item in items[:_SHOWN]) + more
