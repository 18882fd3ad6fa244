"""Latency tables of large spaces: a sample of the kernels is measured, all others are predicted.

A predicted row has the count 0 and the error of the model as its spread.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.profiling.kernel_features import features, log_size
from nas.profiling.kernel_latency import FEWEST, KernelLatency, fit
from nas.profiling.rows_file import PREDICTED, write_table
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from search_spaces.kernels import Kernel

Kernels = Sequence[tuple[Kernel, Numerics]]
OperatorNumerics = tuple[str, str]  # operator and formats
_SEED = 0


def sample(kernels: Kernels, count: int) -> Kernels:
    """A representative sample of `count` distinct kernels; equal kernels give an equal sample.

    Every operator in all its formats has a share of the sample. The kernels of such a group are
    ordered by size and divided into as many strata as the share, and a kernel is drawn from each.

    Raises:
        TargetError: If `count` is too small to fit a model for every operator and its formats.
    """
    groups = _grouped(kernels)
    shares = _shares({group: len(members) for group, members in groups.items()}, count)
    rng = np.random.default_rng(_SEED)
    return [one for g, members in groups.items() for one in _spread(members, shares[g], rng)]


def complete(path: Path, kernels: Kernels) -> LatencyTable:
    """The table at `path`, completed by a predicted row for each of `kernels` without a row.

    A note of the table says how many rows are predicted, and the error by operator and formats.

    Raises:
        TargetError: If too few kernels of an operator were measured.
    """
    table = LatencyTable.read(path)
    measured = {key: row for key, row in table.rows.items() if row.count}
    models: dict[OperatorNumerics, KernelLatency] = {}
    predicted: dict[KernelKey, Row] = {}
    for group, members in _grouped(kernels).items():
        keys = [KernelKey.of(kernel, numerics) for kernel, numerics in members]
        known = np.array([key in measured for key in keys])
        if known.all():
            continue
        if known.sum() < FEWEST:
            raise TargetError(
                f"{known.sum()} kernels of {' at '.join(group)} were measured, a model takes "
                f"{FEWEST}; measure more"
            )
        described = features(members)
        latencies = [measured[key].latency_ms for key in keys if key in measured]
        models[group] = model = fit(described[known], latencies)
        guesses = model.predict_ms(described[~known]).tolist()
        unknown = [key for key in keys if key not in measured]
        predicted |= {k: _row(ms, model) for k, ms in zip(unknown, guesses, strict=True)}
    notes = {**table.notes, PREDICTED: described_errors(len(predicted), models)}
    rows = {**measured, **predicted}
    write_table(path, rows, notes)
    return LatencyTable(rows, notes)


def described_errors(count: int, models: Mapping[OperatorNumerics, KernelLatency]) -> str:
    """A text that says how many rows are predicted, and with which errors."""
    errors = "; ".join(
        f"{operator} {numerics} {model.error.median:.1%} median, {model.error.tail:.1%} at the "
        f"90th percentile, by {model.name}"
        for (operator, numerics), model in models.items()
    )
    return f"{count} rows, those with count 0. Relative error on kernels held out: {errors}"


def _row(latency_ms: float, model: KernelLatency) -> Row:
    return Row(round(latency_ms, 6), round(latency_ms * model.error.typical, 6), 0)


def _grouped(
    kernels: Iterable[tuple[Kernel, Numerics]],
) -> dict[OperatorNumerics, list[tuple[Kernel, Numerics]]]:
    """The distinct kernels by operator and formats, in ascending order of size."""
    distinct = {KernelKey.of(kernel, numerics): (kernel, numerics) for kernel, numerics in kernels}
    groups: dict[OperatorNumerics, list[tuple[Kernel, Numerics]]] = {}
    for key, (kernel, numerics) in sorted(distinct.items(), key=lambda item: log_size(item[1][0])):
        groups.setdefault((key.operator, str(numerics)), []).append((kernel, numerics))
    return groups


def _shares(sizes: Mapping[OperatorNumerics, int], count: int) -> dict[OperatorNumerics, int]:
    """The number of kernels to draw from each group.

    Each group gets as many kernels as a model needs; the rest of `count` is shared in proportion to
    the kernels that are left.
    """
    shares = {group: min(size, FEWEST) for group, size in sizes.items()}
    spare = count - sum(shares.values())
    if spare < 0:
        raise TargetError(
            f"a sample of {count} kernels is too small for {len(sizes)} operators and formats; "
            f"take {sum(shares.values())} or more"
        )
    rest = {group: size - shares[group] for group, size in sizes.items()}
    total = max(sum(rest.values()), 1)
    for group, size in rest.items():
        shares[group] += min(size, round(spare * size / total))
    return shares


def _spread(
    members: Sequence[tuple[Kernel, Numerics]], count: int, rng: np.random.Generator
) -> list[tuple[Kernel, Numerics]]:
    """A kernel from each of `count` strata; the first and the last kernel are always included."""
    edges = np.linspace(0, len(members), count + 1).round().astype(int).tolist()
    places = [int(rng.integers(low, high)) for low, high in itertools.pairwise(edges)]
    places[0], places[-1] = 0, len(members) - 1
    return [members[place] for place in places]
