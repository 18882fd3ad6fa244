"""Classes as targets: labels of files as class numbers, and orders with the classes in balance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nas.tasks.source import Array, DataSource
from nas.tasks.task import TaskError


def class_labels(where: str, labels: Array) -> Array:
    """The labels of a file, as whole numbers or names.

    Args:
        where: The source, for errors.
        labels: Labels of any type, `(n,)` or `(n, 1)`.

    Raises:
        TaskError: If a sample has several labels, or the labels are neither whole numbers of 64
            bits nor names.
    """
    if labels.size != len(labels):
        raise TaskError(
            f"{where} has labels of shape {labels.shape}; give one class per sample, shape "
            f"({len(labels)},)"
        )
    labels = labels.reshape(-1)
    if labels.dtype.kind in "fu":
        with np.errstate(invalid="ignore"):
            whole = labels.astype(np.int64)
        if (whole != labels).any() or (whole < 0).any() != (labels < 0).any():
            raise TaskError(
                f"{where} has labels that are no whole numbers of 64 bits; give the index of a "
                "class per sample"
            )
        return whole
    if labels.dtype.kind not in "ibUS":
        raise TaskError(
            f"{where} has labels of type {labels.dtype}; give whole numbers or class names"
        )
    return labels


def numbered(source: DataSource) -> tuple[DataSource, tuple[str, ...]]:
    """The source with class numbers from 0 as targets, and the names of the classes by number.

    The classes are the distinct labels of the training samples, sorted.

    Raises:
        TaskError: If there is one class only, or another split has further classes.
    """
    known = np.unique(source.train.targets)
    if len(known) < 2:
        raise TaskError(f"{source.name} has one class only, {known[0]}; give at least two")
    splits = {
        split: replace(
            samples,
            targets=class_codes(f"the {split} split of {source.name}", samples.targets, known),
        )
        for split, samples in source.given.items()
    }
    return replace(source, **splits), tuple(str(name) for name in known)


def class_codes(where: str, labels: Array, known: Array) -> NDArray[np.int64]:
    """The position of each label among the known ones, `(n,)`.

    Args:
        where: The source, for errors.
        labels: Labels, `(n,)`.
        known: The distinct labels of the training samples, sorted.

    Raises:
        TaskError: If a label is not among them.
    """
    if (labels.dtype.kind in "US") != (known.dtype.kind in "US"):
        raise TaskError(
            f"{where} has labels of type {labels.dtype} and the training samples of type "
            f"{known.dtype}; give names to all classes, or numbers"
        )
    foreign = np.setdiff1d(labels, known)
    if len(foreign):
        raise TaskError(
            f"{where} has the class {foreign[0]!s}, of which there is no training sample; "
            f"the training samples have {_some(known)}"
        )
    return np.searchsorted(known, labels).astype(np.int64)


def _some(values: Array, count: int = 12) -> str:
    shown = ", ".join(str(value) for value in values[:count])
    return shown if len(values) <= count else f"{shown}, ... ({len(values)})"


def balanced_order(labels: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """A random order of all positions, `(n,)`, that is balanced between the classes.

    Every beginning of the order has the classes in about the proportion of all labels.
    """
    place = np.empty(len(labels))
    for value in np.unique(labels):
        (members,) = np.nonzero(labels == value)
        place[members] = (rng.permutation(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")
