"""The facts of what was read, and the digests of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from nas.facts.data_facts import DataFacts, SplitFacts, ValueFacts
from nas.tasks.source import Array, Reading, Samples

if TYPE_CHECKING:
    from nas.tasks.task import Task

_CHUNK = 1024  # samples that are made contiguous at a time


def facts_of(name: str, splits: Mapping[str, Samples], reading: Reading) -> DataFacts:
    """The facts of samples that are divided already.

    Args:
        name: The name of the source.
        splits: The samples of every split, as the source has them; class numbers as targets where
            the reading has classes.
        reading: What the source tells beyond its samples.
    """
    return DataFacts(
        source=name,
        kind=reading.kind,
        splits={split: _split_facts(split, samples, reading) for split, samples in splits.items()},
        notes=reading.notes,
        passed_over=reading.passed_over,
        warnings=reading.warnings,
    )


def facts_of_task(task: Task) -> DataFacts:
    """The facts of a task: those of its source, or of the tensors of a task without a source."""
    if task.facts is not None:
        return task.facts
    splits = {
        split: Samples({n: x.cpu().numpy() for n, x in inputs.items()}, targets.cpu().numpy())
        for split, (inputs, targets) in task.content().items()
    }
    classes = task.usage.output.names
    numbers = [samples.targets for samples in splits.values()]
    if not all(x.ndim == 1 and x.dtype.kind == "i" and x.max() < len(classes) for x in numbers):
        classes = ()  # the names are of something else than one class per sample
    return facts_of(task.name, splits, Reading(classes=classes))


def _split_facts(split: str, samples: Samples, reading: Reading) -> SplitFacts:
    counts = np.zeros(0, dtype=np.int64)
    if reading.classes:
        counts = np.bincount(samples.targets, minlength=len(reading.classes))
    return SplitFacts(
        samples=len(samples),
        digest=digest(samples),
        origin=reading.origins.get(split, ""),
        classes=dict(zip(reading.classes, counts.tolist(), strict=True)),
        inputs={name: _value_facts(values) for name, values in samples.inputs.items()},
        targets=None if reading.classes else _value_facts(samples.targets),
    )


def _value_facts(values: Array) -> ValueFacts:
    if values.dtype.kind not in "uifb" or not values.size:
        return ValueFacts(values.shape[1:], "text")
    return ValueFacts(values.shape[1:], str(values.dtype), float(values.min()), float(values.max()))


def digest(samples: Samples) -> str:
    """The SHA-256 of inputs and targets with their names, types and order, hexadecimal."""
    state = hashlib.sha256()
    for name, values in (*sorted(samples.inputs.items()), ("", samples.targets)):
        state.update(repr((name, values.shape, values.dtype.str)).encode())
        for start in range(0, len(values), _CHUNK):
            part = values[start : start + _CHUNK]
            if part.dtype.kind == "O":
                state.update(repr(part.tolist()).encode())
            else:
                state.update(np.ascontiguousarray(part).data)
    return state.hexdigest()
