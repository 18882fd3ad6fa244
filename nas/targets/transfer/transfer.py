"""Few-shot transfer: known devices and about ten measured networks give a new device's latency.

    known = KnownTargets([phone_a, phone_b, phone_c], space)
    transfer = Transfer(known)
    latency = transfer.fit(transfer.choose(10), milliseconds)    # measure these, in this order
    Goal("new-phone", {"latency_ms": latency}, ("latency_ms",))

What is predicted is whole networks; `predicted` beside it makes a target of it, kernel by kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas.targets.errors import TargetError
from nas.targets.target import HardwareTarget, space_kernels
from nas.targets.transfer.additive import Additive
from nas.targets.transfer.regression import LatencyTransfer, Transferred
from search_spaces.kernels import Kernel
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]
T = TypeVar("T")

POOL = 1000
_CHUNK = 1 << 14


class Known(Protocol):
    """Devices whose latency is known for every network of a space.

    Attributes:
        space: The space.
        names: The devices.
        sample: Networks that stand for the space, `(networks, choices)`.
    """

    @property
    def space(self) -> SearchSpace: ...  # noqa: D102

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def sample(self) -> IntArray: ...  # noqa: D102

    def parts(self, genotypes: IntArray) -> FloatArray:
        """Milliseconds by class of operators, `(networks, devices, classes)`."""
        ...


class KnownTargets:
    """Targets, by class of operator; their compiled costs say all there is to know.

    Args:
        targets: The known devices; each must run the whole space.
        space: The space.
        seed: Draws the sample.

    Raises:
        TargetError: If a target lacks rows or refuses networks of the space.
    """

    def __init__(
        self, targets: Sequence[HardwareTarget], space: SearchSpace, *, seed: int = 0
    ) -> None:
        self.space = space
        self.names = tuple(target.name for target in targets)
        self.sample = _distinct(space.sample_array(np.random.default_rng(seed), POOL))
        if not targets:
            raise TargetError("a transfer needs at least one known target, given none")
        kinds = {kind_of(k) for t in targets for k in space_kernels(space, t.fusion).distinct()}
        self.classes = tuple(sorted(kinds))
        self._costs = [_by_class(target, space, self.classes) for target in targets]
        runs = np.isfinite(self.parts(self.sample)).all(axis=(0, 2))
        if not np.all(runs):
            refusing = [self.names[device] for device in np.flatnonzero(~runs)]
            raise TargetError(
                f"known targets {', '.join(refusing)} refuse networks of space {space.name!r}; "
                "leave them out, or restrict the space with `legal` first"
            )

    def parts(self, genotypes: IntArray) -> FloatArray:
        """Milliseconds by class of operators, `(networks, devices, classes)`."""
        devices = [np.stack([cost(genotypes) for cost in costs], axis=1) for costs in self._costs]
        return np.stack(devices, axis=1)


class KnownTable:
    """Whole networks timed on known devices, as sums over the options that they pick.

    The sums average out the noise of single measurements and reach networks that were not timed;
    `left_out_error` says how well they hold. Options of choices that have the same options are one
    class.

    Args:
        space: The space.
        genotypes: The timed networks, `(networks, choices)`.
        latency_ms: Their latencies, `(networks, devices)`.
        names: The devices.

    Raises:
        TargetError: If anything is missing, not finite or negative, or not of the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        genotypes: IntArray,
        *,
        latency_ms: FloatArray,
        names: Sequence[str],
    ) -> None:
        self.space = space
        self.names = tuple(names)
        genotypes = checked_genotypes(space, genotypes)
        latency_ms = np.asarray(latency_ms, dtype=np.float64)
        if latency_ms.shape != (len(genotypes), len(self.names)) or not latency_ms.size:
            raise TargetError(
                f"known latencies are (networks, devices) = ({len(genotypes)}, {len(self.names)}), "
                f"given {latency_ms.shape}"
            )
        wrong = np.argwhere(~(np.isfinite(latency_ms) & (latency_ms >= 0)))
        if len(wrong):
            row, device = (int(i) for i in wrong[0])
            raise TargetError(
                f"known latencies are finite and not negative, given {latency_ms[row, device]} ms "
                f"for network {row} on {self.names[device]!r}; leave out the network or the device"
            )
        self._additive = Additive(space, genotypes, latency_ms)
        self.sample = _distinct(genotypes)[:POOL]

    @property
    def left_out_error(self) -> FloatArray:
        """Root mean squared error of a network left out, in ms, `(devices,)`."""
        return self._additive.left_out_error

    def parts(self, genotypes: IntArray) -> FloatArray:
        """Milliseconds by class of options, `(networks, devices, classes)`."""
        return self._additive.parts(genotypes)


class Transfer:
    """Chooses the networks to measure on a new device, and learns from their latencies.

    Args:
        known: Devices whose latency is known all over the space.

    Raises:
        TargetError: If no known device tells the networks apart.
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self._transfer = _refused(lambda: LatencyTransfer(known.parts(known.sample)))

    def choose(self, count: int) -> list[Genotype]:
        """The networks whose measurement tells most about the others; the first tell most."""
        rows = _refused(lambda: self._transfer.choose(count))
        return as_genotypes(self.known.sample[rows])

    def fit(self, genotypes: Sequence[Genotype] | IntArray, latency_ms: FloatArray) -> Latency:
        """The new device, from the networks that were measured on it and their latencies in ms.

        Any networks of the space will do; those that `choose` names tell more than random ones.

        Raises:
            TargetError: If a genotype is not of the space, or a latency cannot be right.
        """
        rows = checked_genotypes(self.known.space, np.asarray(genotypes))
        fitted = _refused(
            lambda: self._transfer.fit(self.known.parts(rows), np.asarray(latency_ms, float))
        )
        return Latency(self.known, fitted)


@dataclass(frozen=True, eq=False)
class Latency:
    """The predicted latency of a new device: called with `(n, choices)`, gives ms as `(n,)`."""

    known: Known
    fitted: Transferred

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The expected latency of every row of `(n, choices)` in ms, never below zero."""
        factors, constant = self._linear
        result = np.empty(len(genotypes))
        for start in range(0, len(genotypes), _CHUNK):
            rows = slice(start, start + _CHUNK)
            result[rows] = np.tensordot(self.known.parts(genotypes[rows]), factors, 2) + constant
        return np.maximum(result, 0.0)

    def spread(self, genotypes: IntArray) -> FloatArray:
        """The standard deviation of a measurement of every row, in ms as `(n,)`."""
        chunks = range(0, len(genotypes), _CHUNK)
        parts = (self.known.parts(genotypes[start : start + _CHUNK]) for start in chunks)
        return np.concatenate([self.fitted.predict(part)[1] for part in parts] or [np.empty(0)])

    @property
    def relative_error(self) -> float:
        """Median relative error of the measured networks, each predicted from the others."""
        return self.fitted.relative_error

    @property
    def source(self) -> str:
        """Where the figures come from, in words."""
        return (
            f"predicted from {', '.join(self.known.names)} and {len(self.fitted.measured_ms)} "
            f"measured networks; median error of a network left out {self.relative_error:.1%}"
        )

    @cached_property
    def _linear(self) -> tuple[FloatArray, float]:
        return self.fitted.linear()


def checked_genotypes(space: SearchSpace, genotypes: IntArray) -> IntArray:
    """The canonical form of `(n, choices)` rows; raises `TargetError` naming a row out of place."""
    rows = np.asarray(genotypes)
    if rows.ndim != 2 or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise TargetError(
            f"genotypes are whole numbers (networks, {len(space.choices)}), given {rows.dtype} "
            f"{rows.shape}"
        )
    fits = rows.shape[1] == len(space.counts)
    wrong = np.any((rows < 0) | (rows >= space.counts), axis=1) if fits else np.ones(len(rows))
    for number in np.flatnonzero(wrong)[:1]:
        try:
            space.validate(rows[number].tolist())
        except ValueError as error:
            raise TargetError(f"network {number} is not of this space: {error}") from error
    return space.canonical_array(rows)


def _by_class(
    target: HardwareTarget, space: SearchSpace, classes: Sequence[str]
) -> list[Callable[[IntArray], FloatArray]]:
    """The latency of each class of kernels, then what the target adds beyond single kernels."""
    total = target.compile(space)["latency_ms"]
    kernels = space_kernels(space, target.fusion)
    price = target.kernel_cost
    compiled = [
        kernels.compile(lambda kernel, kind=kind: price(kernel) if kind_of(kernel) == kind else 0.0)
        for kind in classes
    ]

    def rest(genotypes: IntArray) -> FloatArray:
        beyond = total(genotypes)
        runs = np.isfinite(beyond)
        beyond[runs] -= np.sum([cost(genotypes[runs]) for cost in compiled], axis=0)
        return beyond

    return [*compiled, rest]


def kind_of(kernel: Kernel) -> str:
    """The class of operator that a kernel counts as: that of its anchor."""
    return type(kernel.op).__name__


def _distinct(genotypes: IntArray) -> IntArray:
    """The rows without repetitions, in order of first appearance."""
    return genotypes[np.sort(np.unique(genotypes, axis=0, return_index=True)[1])]


def _refused(make: Callable[[], T]) -> T:
    """What `make` gives, its complaints as those of a target."""
    try:
        return make()
    except ValueError as error:
        raise TargetError(str(error)) from error
